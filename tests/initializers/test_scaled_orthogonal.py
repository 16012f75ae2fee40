"""Orthogonal kernels scaled by their aspect ratio."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.initializers import (
    scaled_orthogonal,
    spectral_normal,
    spectral_orthogonal,
)
from tests.initializers.checks import widened
from tests.initializers.test_delta_orthogonal import convolve

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(8, 8), (8, 24)])
def test_the_mean_square_is_kept_exactly(shape):
    x = jax.random.normal(KEY, (5, shape[0]))

    y = x @ scaled_orthogonal()(KEY, shape)

    np.testing.assert_allclose(jnp.mean(y**2, 1), jnp.mean(x**2, 1), rtol=1e-5)


def test_fewer_outputs_keep_the_mean_square_on_average():
    x = jax.random.normal(KEY, (24,))
    ws = jax.vmap(lambda key: scaled_orthogonal()(key, (24, 8)))(
        jax.random.split(KEY, 4000)
    )

    ratio = jnp.mean((x @ ws) ** 2) / jnp.mean(x**2)

    # A mean of 8 squares, relative deviation below sqrt(2 / 8), of 4000 kernels.
    assert abs(ratio - 1) < 5 * np.sqrt(2 / 8 / 4000)


@pytest.mark.parametrize("shape", [(3, 3, 4, 4), (3, 3, 4, 12)])
def test_delta_keeps_the_mean_square_of_a_convolution(shape):
    x = jax.random.normal(KEY, (2, 5, 5, 4))

    y = convolve(x, scaled_orthogonal(delta=True)(KEY, shape))

    np.testing.assert_allclose(jnp.mean(y**2), jnp.mean(x**2), rtol=1e-5)


def test_delta_allows_fewer_outputs():
    w = scaled_orthogonal(delta=True)(KEY, (3, 12, 4))

    np.testing.assert_allclose(np.linalg.svd(w[1], compute_uv=False), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (8, 8), (3, 8, 6)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_spectral_norm(shape, scale):
    w = widened(spectral_orthogonal(scale)(KEY, shape)).reshape(-1, shape[-1])

    inputs, outputs = w.shape
    assert np.linalg.norm(w, 2) == pytest.approx(scale * np.sqrt(outputs / inputs))


def test_spectral_norm_of_another_column_axis():
    w = spectral_orthogonal(column_axis=0)(KEY, (8, 24))

    assert np.linalg.norm(w, 2) == pytest.approx(np.sqrt(8 / 24), rel=1e-5)


def test_errors():
    with pytest.raises(ValueError, match=r"odd spatial sizes.*got \(2, 3, 4, 4\)"):
        scaled_orthogonal(delta=True)(KEY, (2, 3, 4, 4))
    with pytest.raises(ValueError, match="`column_axis` must be -1 with `delta=True`"):
        scaled_orthogonal(column_axis=0, delta=True)
    with pytest.raises(ValueError, match="`scale` must be"):
        spectral_orthogonal(-1.0)
    with pytest.raises(ValueError, match=r"two axes or more .*got \(4,\)"):
        scaled_orthogonal()(KEY, (4,))


@pytest.mark.parametrize("shape", [(600, 150), (150, 600), (4, 100, 100)])
def test_the_largest_singular_value_of_a_normal_kernel_is_near(shape):
    w = spectral_normal(2.0)(KEY, shape)

    matrix = widened(w).reshape(-1, shape[-1])
    wanted = 2 * np.sqrt(matrix.shape[1] / matrix.shape[0])
    # It lies below its limit by the order of in^(-2/3).
    largest = np.linalg.norm(matrix, 2)
    assert 0.95 * wanted < largest < 1.02 * wanted
