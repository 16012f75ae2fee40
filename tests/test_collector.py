"""Python's collector is asked to wait while programs are made, and only then."""

import gc

import jax.numpy as jnp
import pytest

import jaxinit
from jaxinit import _collector
from jaxinit._collector import collecting_rarely
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace

pytestmark = pytest.mark.quick
FEW, MANY = (700, 10, 10), (_collector._MANY, 10, 10)


@pytest.fixture(autouse=True)
def _restored():
    before = gc.get_threshold()
    gc.set_threshold(*FEW)
    yield
    gc.set_threshold(*before)


def test_it_waits_inside_and_no_longer():
    with collecting_rarely():
        with collecting_rarely():
            assert gc.get_threshold() == MANY
        assert gc.get_threshold() == MANY
    assert gc.get_threshold() == FEW


def test_an_error_ends_it():
    @collecting_rarely()
    def fails():
        assert gc.get_threshold() == MANY
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fails()
        assert gc.get_threshold() == FEW


@pytest.mark.parametrize("own", [(0, 10, 10), (80_000, 5, 5)])
def test_a_user_who_collects_as_rarely_or_never_goes_on_so(own):
    gc.set_threshold(*own)
    with collecting_rarely():
        assert gc.get_threshold() == own
    assert gc.get_threshold() == own


def test_what_the_user_sets_inside_stays():
    with collecting_rarely():
        gc.set_threshold(900, 3, 3)
    assert gc.get_threshold() == (900, 3, 3)
    with collecting_rarely():
        assert gc.get_threshold() == (_collector._MANY, 3, 3)
    assert gc.get_threshold() == (900, 3, 3)


def test_models_are_traced_within():
    seen = []

    def apply(variables, x):
        seen.append(gc.get_threshold())
        return x @ variables["w"]

    model = jaxinit.Functional(lambda key, x: {"w": jnp.ones((2, 2))}, apply)
    trace(model, arguments((jnp.ones((1, 2)),), {}))

    assert set(seen) == {MANY}
