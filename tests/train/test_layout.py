"""How the runs of a race lie on the cores of a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinit
from jaxinit.roles.structure import NO_HINTS
from jaxinit.schemes.initialize import prepare
from jaxinit.train import layout
from jaxinit.train.layout import Layout, laid_out

KEY = jax.random.key(0)


def network(product, shape, kernel):
    model = jaxinit.Functional(
        lambda key, x: {"w": jax.random.normal(key, kernel)},
        lambda p, x: product(x, p["w"]),
    )
    return prepare(model, (np.zeros(shape, "f4"),), {}, (), KEY, NO_HINTS)[0]


@pytest.fixture(scope="module")
def dense():
    return network(jnp.matmul, (8, 4), (4, 4))


@pytest.fixture(scope="module")
def convolution():
    def convolve(x, w):
        return jax.lax.conv(x, w, (1, 1), "SAME")

    return network(convolve, (2, 1, 4, 4), (1, 1, 3, 3))


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("runs", [1, 2, 5, 24, 97])
def test_cores_have_equal_shares_of_equal_groups(dense, monkeypatch, cores, runs):
    monkeypatch.setattr(layout, "cores", lambda: cores)

    found = laid_out(dense, runs, "auto", None, None, 1)

    groups, rest = divmod(found.chunk, found.group)
    assert (rest, groups % min(cores, runs)) == (0, 0)
    # Filled up by less than a core's share, and a run for each group of a core.
    assert 0 <= found.chunk - runs < cores + groups


def test_a_chunk_that_was_asked_for_is_kept(dense, monkeypatch):
    monkeypatch.setattr(layout, "cores", lambda: 2)

    assert laid_out(dense, 9, "vmap", 3, None, 1) == Layout(3, 3)
    assert laid_out(dense, 9, "vmap", 4, None, 1) == Layout(4, 2)
    assert laid_out(dense, 9, "loop", 4, None, 1) == Layout(1, 0)


def test_no_more_runs_than_fit_into_memory(dense, monkeypatch):
    monkeypatch.setattr(layout, "cores", lambda: 2)
    run = layout._bytes_of_run(dense)

    assert laid_out(dense, 9, "auto", None, 3 * run, 1).chunk == 3
    assert laid_out(dense, 9, "auto", None, 0, 1).chunk == 1


def test_devices_share_what_is_one_product(dense):
    assert laid_out(dense, 9, "auto", 9, None, 4) == Layout(12, 12)


def test_a_convolution_is_trained_alone_on_each_core(convolution, monkeypatch):
    monkeypatch.setattr(layout, "cores", lambda: 2)

    assert laid_out(convolution, 9, "auto", None, None, 1) == Layout(2, 0)
    assert laid_out(convolution, 9, "vmap", 6, None, 1).group == 3


def test_runs_of_convolutions_are_those_of_one_by_one(monkeypatch):
    """Two at once, of three: the last chunk is filled up."""
    monkeypatch.setattr(layout, "cores", lambda: 2)
    model = jaxinit.Functional(
        lambda key, x: {"w": jax.random.normal(key, (1, 1, 3, 3))},
        lambda p, x: jax.lax.conv(x, p["w"], (1, 1), "SAME"),
    )
    x = np.random.default_rng(0).normal(size=(6, 1, 4, 4)).astype("f4")

    def losses(**options):
        return jaxinit.race(
            model,
            (x, 2 * x),
            schemes={"own": None},
            optimizer=optax.adam,
            learning_rates=[0.1],
            steps=3,
            seeds=3,
            batch_size=3,
            solutions=0,
            diagnose=False,
            **options,
        )

    found, single = losses(), losses(strategy="loop")

    assert (found.settings["chunk"], single.settings["chunk"]) == (2, 1)
    np.testing.assert_array_equal(found.losses, single.losses)
