"""Other layouts and einsums: the matrix that the equation makes of the kernel."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from tests.initializers.checks import assert_moments, assert_orthogonal, assert_same

KEY = jax.random.key(3)


def test_with_axes_moves_axes_and_nothing_else():
    seen = []

    def base(key, shape, dtype):
        seen.append(shape)
        return jnp.arange(math.prod(shape), dtype=dtype).reshape(shape)

    # (out, in1, spatial, in2): the base sees (spatial, in1 * in2, out).
    w = ji.with_axes(base, in_axis=(1, 3), out_axis=0)(KEY, (2, 3, 5, 7))

    assert seen == [(5, 21, 2)]
    expected = np.arange(210.0).reshape(5, 3, 7, 2).transpose(3, 1, 0, 2)
    np.testing.assert_array_equal(w, expected)


def test_with_axes_draws_each_batch_entry_by_itself():
    w = ji.with_axes(ji.orthogonal(), 0, 2, batch_axis=1)(KEY, (8, 3, 8))

    assert_orthogonal(jnp.moveaxis(w, 1, 0))
    assert not np.allclose(w[:, 0], w[:, 1])


def test_with_axes_at_the_default_layout_is_the_base():
    assert_same(
        ji.with_axes(ji.he_normal())(KEY, (3, 8, 4)), ji.he_normal()(KEY, (3, 8, 4))
    )


# equation, kernel, fan-in, fan-out
EINSUMS = [
    ("BTD,DNH->BTNH", (64, 8, 16), 64, 128),
    ("BTNH,NHD->BTD", (8, 16, 64), 128, 64),
    ("BTD,NDH->BTNH", (8, 64, 16), 64, 128),
    ("EBD,EDF->EBF", (4, 64, 32), 64, 32),
    ("...D,CD->...C", (32, 64), 64, 32),
]


@pytest.mark.parametrize(("equation", "shape", "fan_in", "fan_out"), EINSUMS)
def test_einsum_kernels_have_the_fans_of_their_equation(
    equation, shape, fan_in, fan_out
):
    w = ji.from_einsum(equation, ji.he_normal())(KEY, shape)
    v = ji.from_einsum(equation, ji.glorot_uniform())(KEY, shape)

    # Kurtosis of a normal cut at two deviations and rescaled: 2.1337.
    assert_moments(w, mean=0.0, std=math.sqrt(2 / fan_in), kurtosis=2.2)
    assert_moments(v, mean=0.0, std=math.sqrt(2 / (fan_in + fan_out)), kurtosis=1.8)


def test_an_orthogonal_einsum_keeps_norms():
    x = jax.random.normal(jax.random.key(1), (5, 12))
    w = ji.from_einsum("BD,NDH->BNH", ji.orthogonal())(KEY, (4, 12, 6))

    y = jnp.einsum("BD,NDH->BNH", x, w)

    np.testing.assert_allclose(
        jnp.sum(y**2, axis=(1, 2)), jnp.sum(x**2, axis=1), rtol=1e-5
    )


def test_mistakes_are_named():
    with pytest.raises(TypeError, match=r"`base` must be an initializer.*got 1"):
        ji.with_axes(1)
    with pytest.raises(ValueError, match=r"`equation` must read.*got 'BD'"):
        ji.from_einsum("BD", ji.zeros)
    with pytest.raises(ValueError, match=r"its kernel 3 axes, but the shape is \(4,"):
        ji.from_einsum("BTD,DNH->BTNH", ji.zeros)(KEY, (4, 4))
    with pytest.raises(ValueError, match=r"give an axis of the shape \(4, 4\) two"):
        ji.with_axes(ji.zeros, 0, -2)(KEY, (4, 4))
    with pytest.raises(ValueError, match=r"`batch_axis` is \(2,\).* has 2 axes"):
        ji.with_axes(ji.zeros, batch_axis=2)(KEY, (4, 4))
