"""The gains of random walk initialization, and the walk itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import jaxinit.initializers as ji

# width -> (linear formula, exact, relu formula, exact), from another program.
GAINS = {
    10: (1.05127110, 1.05301778, 1.65610478, 1.64922272),
    100: (1.00501252, 1.00502927, 1.43170877, 1.43230357),
    512: (1.00097704, 1.00097768, 1.41754766, 1.41768156),
    1000: (1.00050013, 1.00050029, 1.41591572, 1.41598533),
}


@pytest.mark.parametrize("width", GAINS)
def test_gains_match_the_reference(width):
    got = [
        ji.random_walk_gain(activation, width, exact)
        for activation in ("linear", "relu")
        for exact in (False, True)
    ]

    np.testing.assert_allclose(got, GAINS[width], rtol=0, atol=5.001e-9)


@pytest.mark.parametrize("width", [1, 2, 5, 37, 4096])
def test_exact_gains_match_scipy(width):
    counts = np.arange(1, width + 1)
    weights = stats.binom(width, 0.5).pmf(counts)
    mean = np.sum(weights * special.digamma(counts / 2)) / weights.sum()

    relu = math.exp(-(mean + math.log(2 / width)) / 2)
    linear = math.exp(-(special.digamma(width / 2) + math.log(2 / width)) / 2)
    assert ji.random_walk_gain("relu", width, True) == pytest.approx(relu, rel=1e-11)
    assert ji.random_walk_gain("linear", width, True) == pytest.approx(
        linear, rel=1e-11
    )


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_log_norms_of_gradients_do_not_drift(activation):
    width, depth, seeds = 32, 100, 256

    def log_norm(key):
        def layer(carry, key):
            delta, total = carry
            key_weight, key_mask = jax.random.split(key)
            w = ji.random_walk(activation, exact=True)(key_weight, (width, width))
            delta = w @ delta
            if activation == "relu":
                mask = jax.random.bernoulli(key_mask, 0.5, (width,))
                delta = delta * mask.astype(delta.dtype)
            norm = jnp.linalg.norm(delta)
            return (delta / norm, total + jnp.log(norm)), None

        start = jnp.full((width,), width**-0.5)
        (_, total), _ = jax.lax.scan(
            layer, (start, jnp.float32(0)), jax.random.split(key, depth)
        )
        return total

    totals = np.asarray(
        jax.jit(jax.vmap(log_norm))(jax.random.split(jax.random.key(0), seeds))
    )

    # At He's factor the mean would be -depth / (2 width) = -1.56 for linear units.
    stderr = totals.std() / math.sqrt(seeds)
    assert abs(totals.mean()) < 4 * stderr
    if activation == "linear":
        # The variance of a log-chi-squared / 2 is about 1 / (2 N), a bit more at 32.
        assert totals.var() == pytest.approx(depth / (2 * width), rel=0.4)


def test_weights_have_the_gain_over_the_root_of_the_fan_in():
    w = np.asarray(ji.random_walk("relu")(jax.random.key(0), (3, 3, 16, 100)))

    gain = ji.random_walk_gain("relu", 144)
    assert stats.kstest(w.ravel() * 12 / gain, "norm").pvalue > 1e-6


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`activation` .*'relu', got 'tanh'"):
        ji.random_walk("tanh")
    with pytest.raises(ValueError, match=r"`width` .* at least 1, got 0"):
        ji.random_walk_gain("relu", 0)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        ji.random_walk()(jax.random.key(0), (3,))
