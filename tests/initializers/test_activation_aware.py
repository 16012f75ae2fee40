"""Kernels scaled by their activation keep the signal that it leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_moments, assert_same

LAMBDA = 1.0507009873554804934193349852946
ALPHA = 1.6732632423543772848170429916717


@pytest.mark.parametrize("activation", [jax.nn.gelu, jax.nn.sigmoid, "squared_relu"])
def test_the_second_moment_of_a_layer_is_one(activation):
    function = jax.nn.relu if isinstance(activation, str) else activation
    power = 2 if isinstance(activation, str) else 1
    x = function(jax.random.normal(jax.random.key(0), (2048, 512))) ** power
    w = ji.scaled_by_activation(activation)(jax.random.key(1), (512, 512))

    # Relative standard error: of E[phi^2] over 2048 * 512 inputs about 0.3%, of the
    # outputs' second moment given the weights about sqrt(2 / 512) / sqrt(512).
    assert float(jnp.mean((x @ w) ** 2)) == pytest.approx(1.0, rel=0.03)


def test_relu_is_he_and_identity_is_lecun():
    key, shape = jax.random.key(0), (64, 32)

    np.testing.assert_allclose(
        ji.scaled_by_activation("relu")(key, shape), ji.he_normal()(key, shape), 1e-6
    )
    assert_same(
        ji.scaled_by_activation("identity")(key, shape), ji.lecun_normal()(key, shape)
    )


def test_the_fans_of_grouped_kernels_are_kept():
    init = ji.scaled_by_activation("relu", "backward", "fan_out", "normal", groups=8)

    w = init(jax.random.key(0), (3, 3, 32, 256))

    # Fan-out 9 * 256 / 8.
    assert_moments(w, mean=0.0, std=np.sqrt(2 / 288))


def test_a_wrong_mode_is_named():
    with pytest.raises(ValueError, match="got 'fan'"):
        ji.scaled_by_activation("relu", mode="fan")


# Mean and variance after 1, 5, 10 and 30 layers from (0.1, 1.5), by scipy's quad.
WALK = {
    1: (0.04588450, 1.37862595),
    5: (0.01495717, 1.12831899),
    10: (0.00412986, 1.03609338),
    30: (0.00002993, 1.00026367),
}


def test_selu_moves_mean_and_variance_to_zero_and_one():
    def selu(x):
        return LAMBDA * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0)))

    mean, variance = 0.1, 1.5
    for layer in range(1, 31):
        # Weights of mean 0 and variance 1/n give N(0, variance + mean^2).
        moments = ji.activation_moments(jax.nn.selu, variance + mean**2)
        mean, variance = moments.mean, moments.variance
        if layer in WALK:
            assert (mean, variance) == pytest.approx(WALK[layer], abs=6e-9)
    scale = np.sqrt(1.51)
    by_scipy = integrate.quad(
        lambda z: selu(scale * z) * stats.norm.pdf(z), -12, 12, points=[0]
    )[0]
    assert by_scipy == pytest.approx(WALK[1][0], abs=1e-8)


def test_a_deep_selu_network_keeps_its_signal():
    x = jax.random.normal(jax.random.key(0), (256, 512))
    for layer in range(12):
        w = ji.self_normalizing()(jax.random.key(layer + 1), (512, 512))
        x = jax.nn.selu(x @ w)

    # Each layer's variance has a relative error of about sqrt(2/512) * 0.1 here.
    assert float(x.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(x.var()) == pytest.approx(1.0, abs=0.15)


def test_self_normalizing_weights_are_plain_normal():
    w = ji.self_normalizing()(jax.random.key(0), (256, 256))

    assert stats.kstest(np.asarray(w).ravel() * 16, "norm").pvalue > 1e-6
    assert np.abs(w).max() * 16 > 3  # not cut at two deviations
