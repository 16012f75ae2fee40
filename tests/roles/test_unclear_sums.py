"""Sums of two weighted paths that a program does not tell apart, and hints on them."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import jaxinit

X = jax.ShapeDtypeStruct((4, 8), jnp.float32)


def dense(name, x):
    return nn.Dense(8, use_bias=False, name=name)(x)


class Unclear(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = dense("enter", x)
        x = x + dense("down", nn.relu(dense("up", x)))
        first = dense("b", nn.relu(dense("a", x)))
        return first + dense("d", nn.relu(dense("c", x)))


class Clear(nn.Module):
    """Two paths inside a branch, and two linear ones."""

    @nn.compact
    def __call__(self, x):
        x = dense("enter", x)
        h = dense("b", nn.relu(dense("a", x))) + dense("d", nn.relu(dense("c", x)))
        x = x + h
        return dense("up", x) + dense("down", x)


MODEL = Unclear()


def ends(**hints):
    found = jaxinit.residual_structure(MODEL, X, **hints)
    return [branch.ends for branch in found.branches], found.unclear


def test_it_is_reported():
    assert ends() == ([("down/kernel",)], ((("b/kernel",), ("d/kernel",)),))
    printed = str(jaxinit.residual_structure(MODEL, X))
    assert "not clear: the sum of (b/kernel) and (d/kernel)" in printed


def test_a_scheme_warns_and_the_line_that_it_shows_works():
    with pytest.warns(UserWarning, match=r"branches=\{'b/kernel': True\}"):
        jaxinit.explain(MODEL, jaxinit.fixup(), X)

    for said in (True, False):
        # Warnings are errors.
        jaxinit.explain(MODEL, jaxinit.fixup(), X, branches={"b/kernel": said})


@pytest.mark.parametrize(
    ("name", "ended"),
    [
        ("b", [("down/kernel",), ("b/kernel",)]),
        ("d", [("down/kernel",), ("d/kernel",)]),
    ],
)
def test_the_user_names_the_branch(name, ended):
    assert ends(branches={f"{name}/kernel": True}) == (ended, ())


def test_the_user_says_that_there_is_none():
    assert ends(branches={"b/kernel": False, "down/kernel": False}) == ([], ())


def test_two_linear_paths_and_paths_inside_a_branch_are_clear():
    found = jaxinit.residual_structure(Clear(), X)

    assert [branch.ends for branch in found.branches] == [("b/kernel", "d/kernel")]
    assert found.unclear == ()


def test_hints_that_are_none():
    with pytest.raises(ValueError, match=r"`branches` must name parameters.*'e/k"):
        ends(branches={"e/kernel": True})
    with pytest.raises(ValueError, match=r"`branches` must name weights.*'up/k"):
        ends(branches={"up/kernel": True})
    with pytest.raises(TypeError, match=r"`branches` must map paths.*\['b'\]"):
        ends(branches=["b"])
