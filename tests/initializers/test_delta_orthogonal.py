"""Convolutions that keep the norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.initializers import delta_orthogonal
from tests.initializers.checks import assert_orthogonal

KEY = jax.random.key(0)


def convolve(x: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """A convolution with stride 1 and padding SAME; channels last."""
    spatial = "DHW"[: kernel.ndim - 2]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(spatial),
        "SAME",
        dimension_numbers=numbers,
        feature_group_count=groups,
    )


@pytest.mark.parametrize("shape", [(3, 4, 8), (4, 4, 4), (3, 2, 4, 6), (3, 1, 5, 2, 4)])
@pytest.mark.parametrize("column_axis", [-1, -2])
def test_the_convolution_keeps_the_norm(shape, column_axis):
    x = jax.random.normal(KEY, (2, *[5] * (len(shape) - 2), shape[-2]))

    y = convolve(x, delta_orthogonal(1.5, column_axis)(KEY, shape))

    np.testing.assert_allclose(jnp.sum(y**2), 1.5**2 * jnp.sum(x**2), rtol=1e-5)


def test_only_the_center_tap_is_used():
    w = np.array(delta_orthogonal()(KEY, (3, 4, 4, 8)))

    assert_orthogonal(jnp.asarray(w[1, 1]))
    w[1, 1] = 0
    assert (w == 0).all()


def test_projection_has_orthonormal_columns():
    w = delta_orthogonal(projection=True)(KEY, (3, 8, 4))

    assert_orthogonal(w[1])


def test_errors():
    with pytest.raises(ValueError, match=r"more inputs \(8\) than outputs \(4\)"):
        delta_orthogonal()(KEY, (3, 8, 4))
    with pytest.raises(ValueError, match=r"one to three spatial axes, got \(8, 8\)"):
        delta_orthogonal()(KEY, (8, 8))
    with pytest.raises(ValueError, match="got 0"):
        delta_orthogonal(column_axis=0)
    with pytest.raises(ValueError, match="`scale` must be"):
        delta_orthogonal(-1.0)
