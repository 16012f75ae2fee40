"""Convolutions of many taps that keep the norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinit.initializers import convolutional_orthogonal, delta_orthogonal, normal
from tests.initializers.checks import widened

KEY = jax.random.key(0)


def gains(kernel: jax.Array, size: int) -> np.ndarray:
    """The singular values of the circular convolution of images of ``size``.

    It is a product with one matrix at each frequency.
    """
    axes = range(kernel.ndim - 2)
    at_frequencies = np.fft.fftn(widened(kernel), (size,) * len(axes), axes)
    return np.linalg.svd(at_frequencies, compute_uv=False)


@pytest.mark.parametrize("shape", [(2, 3, 5), (4, 5, 3), (3, 2, 3, 3), (2, 1, 2, 1, 2)])
def test_all_singular_values_are_the_scale(shape):
    w = convolutional_orthogonal(1.5)(KEY, shape)

    np.testing.assert_allclose(gains(w, 7), 1.5, rtol=1e-5)


def test_the_check_notices_other_kernels():
    other = normal(1 / 6)(KEY, (3, 3, 4, 4))

    assert np.ptp(gains(other, 7)) > 0.1


def test_a_circular_layer_keeps_the_norm_of_any_image():
    layer = nn.Conv(
        6, (3, 3), padding="CIRCULAR", kernel_init=convolutional_orthogonal()
    )
    x = jax.random.normal(KEY, (2, 5, 8, 4))

    y, _ = layer.init_with_output(KEY, x)

    np.testing.assert_allclose(jnp.sum(y**2, (1, 2, 3)), jnp.sum(x**2, (1, 2, 3)), 1e-5)


def test_every_tap_is_used_alike():
    draw = jax.vmap(lambda key: convolutional_orthogonal()(key, (3, 8, 8)))
    kernels = draw(jax.random.split(KEY, 200))

    power = np.mean(np.sum(widened(kernels) ** 2, (2, 3)), 0) / 8

    # Two factors, each half before and half after: a quarter, a half, a quarter.
    np.testing.assert_allclose(power, [0.25, 0.5, 0.25], atol=0.03)


def test_one_tap_is_an_orthogonal_matrix():
    w = convolutional_orthogonal()(KEY, (1, 1, 4, 4))
    other = delta_orthogonal()(jax.random.split(KEY)[0], (1, 1, 4, 4))

    np.testing.assert_allclose(w, other, atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"one to three spatial axes, got \(8, 8\)"):
        convolutional_orthogonal()(KEY, (8, 8))
    with pytest.raises(TypeError, match="`scale` must be a number"):
        convolutional_orthogonal(jnp.ones(3))
