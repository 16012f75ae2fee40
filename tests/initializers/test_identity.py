"""Kernels that return their input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.initializers import dirac, identity, idinit
from tests.initializers.checks import assert_moments
from tests.initializers.test_delta_orthogonal import convolve

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_identity_is_eye(shape):
    np.testing.assert_array_equal(identity()(KEY, shape), np.eye(*shape))


def test_identity_is_repeated_over_leading_axes():
    np.testing.assert_array_equal(
        identity(0.5)(KEY, (2, 3, 4, 4)), np.broadcast_to(0.5 * np.eye(4), (2, 3, 4, 4))
    )


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 5, 4, 4), (4, 1, 3, 4, 4), (3, 4, 6)])
def test_a_dirac_convolution_returns_its_input(shape):
    x = jax.random.normal(KEY, (2, *[6] * (len(shape) - 2), 4))

    y = convolve(x, dirac()(KEY, shape))

    np.testing.assert_array_equal(y[..., :4], x)
    assert (y[..., 4:] == 0).all()


def test_a_dirac_convolution_with_fewer_outputs_returns_the_first():
    x = jax.random.normal(KEY, (2, 6, 4))

    np.testing.assert_array_equal(convolve(x, dirac()(KEY, (3, 4, 2))), x[..., :2])


@pytest.mark.parametrize("groups", [2, 4])
def test_every_group_returns_its_own_inputs(groups):
    x = jax.random.normal(KEY, (2, 6, 4))

    kernel = dirac(groups, gain=2.0)(KEY, (3, 4 // groups, 4))

    np.testing.assert_array_equal(convolve(x, kernel, groups), 2 * x)


def test_errors():
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        identity()(KEY, (3,))
    with pytest.raises(ValueError, match="`gain` must be finite, got inf"):
        identity(math.inf)
    with pytest.raises(ValueError, match=r"`groups` must be .* at least 1, got 0"):
        dirac(0)
    with pytest.raises(ValueError, match=r"divide the 4 outputs.*got 3"):
        dirac(3)(KEY, (3, 1, 4))
    with pytest.raises(ValueError, match="got int16"):
        dirac(dtype=jnp.int16)


@pytest.mark.parametrize(
    ("shape", "out"),
    [((3, 3), [1, 2, 4]), ((3, 5), [1, 2, 4, 1, 2]), ((3, 2), [5, 2])],
)
def test_idinit_repeats_inputs_or_adds_them_up(shape, out):
    w = idinit()(KEY, shape)

    np.testing.assert_array_equal(jnp.array([1.0, 2.0, 4.0]) @ w, out)
    assert np.linalg.matrix_rank(np.asarray(w)) == min(shape)


def test_idinit_is_loosened_by_normal_noise():
    noise = idinit(0.5, 0.1)(KEY, (64, 96)) - idinit(0.5)(KEY, (64, 96))

    assert_moments(noise, mean=0.0, std=0.1)
    with pytest.raises(ValueError, match="Use `dirac`"):
        idinit()(KEY, (3, 4, 4))
