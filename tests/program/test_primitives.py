"""Every primitive of the models in the tests has a row in the table."""

import jax
import jax.extend.core as jex
import pytest

from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from jaxinit.program import primitives
from tests.layers.zoo_analysis import model_of
from tests.zoo import ZOO


def names(jaxpr) -> set[str]:
    """The primitives of a program and of all programs inside."""
    found = set()
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        for value in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda v: isinstance(v, jex.Jaxpr | jex.ClosedJaxpr),
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found |= names(inner)
    return found


@pytest.mark.internals
@pytest.mark.parametrize("name", ZOO)
def test_each_primitive_has_a_row(name):
    entry = ZOO[name]
    given = arguments(entry.args(), dict(entry.kwargs))
    traced = trace(model_of(name), given, entry.streams)

    assert names(traced.apply.jaxpr) - set(primitives.TABLE) == set()


def test_traits_agree():
    for name, row in primitives.TABLE.items():
        assert not (row.whole and not row.layout), name
        assert not (row.identity and not row.layout), name
        assert not (row.random and row.elementwise), name
