"""Convolutions that begin as upsampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from tests.initializers.checks import assert_moments

KEY = jax.random.key(11)


def convolved(x, w):
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def depth_to_space(y, r, block):
    n, height, width, channels = y.shape
    if block == "fastest":
        y = y.reshape(n, height, width, channels // r**2, r, r)
        y = y.transpose(0, 1, 4, 2, 5, 3)
    else:
        y = y.reshape(n, height, width, r, r, channels // r**2)
        y = y.transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, height * r, width * r, channels // r**2)


@pytest.mark.parametrize("block", ["fastest", "slowest"])
@pytest.mark.parametrize("r", [2, 3])
def test_icnr_gives_nearest_neighbor_upsampling(block, r):
    x = jax.random.normal(jax.random.key(1), (1, 4, 5, 3))
    w = ji.icnr(ji.he_normal(), r, block=block)(KEY, (3, 3, 3, 2 * r**2))

    up = depth_to_space(convolved(x, w), r, block)

    small = convolved(x, ji.he_normal()(KEY, (3, 3, 3, 2)))
    expected = jnp.repeat(jnp.repeat(small, r, axis=1), r, axis=2)
    # Convolutions of different widths may sum their 27 terms in another order.
    np.testing.assert_allclose(up, expected, rtol=1e-6, atol=1e-6)


def test_icnr_has_the_fans_of_the_small_kernel():
    w = ji.icnr(ji.glorot_normal())(KEY, (3, 3, 32, 256))

    # One of each four copies, fan-out 9 * 64.
    assert_moments(
        w[..., ::4], mean=0.0, std=np.sqrt(2 / (9 * (32 + 64))), kurtosis=2.2
    )


def test_icnr_along_one_axis():
    w = ji.icnr(ji.normal(), 4, num_spatial=1)(KEY, (3, 2, 8))

    np.testing.assert_array_equal(w[..., 0], w[..., 3])
    assert (w[..., 3] != w[..., 4]).any()


# The taps of a caffe-style filler for k = 2 f - f % 2, from its formula.
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_bilinear_taps_match_the_published_formula(factor):
    size = 2 * factor - factor % 2
    f = -(-size // 2)
    c = (2 * f - 1 - f % 2) / (2 * f)
    taps = 1 - np.abs(np.arange(size) / f - c)

    w = ji.bilinear_upsample()(KEY, (size, size, 3, 3))

    for channel in range(3):
        np.testing.assert_allclose(
            w[:, :, channel, channel], np.outer(taps, taps), atol=1e-6
        )
    off = np.asarray(w)[:, :, ~np.eye(3, dtype=bool)]
    np.testing.assert_array_equal(off, np.zeros_like(off))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_ramp_stays_a_ramp(factor):
    size = 2 * factor - factor % 2
    ramp = jnp.arange(8.0)[None, :, None]
    w = ji.bilinear_upsample()(KEY, (size, 1, 1))

    up = jax.lax.conv_transpose(
        ramp, w, (factor,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )

    inside = np.asarray(up)[0, 2 * factor : -2 * factor, 0]
    np.testing.assert_allclose(np.diff(inside), 1 / factor, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_taps_of_every_size_are_symmetric(size):
    w = ji.bilinear_upsample()(KEY, (size, 1, 1))

    np.testing.assert_array_equal(w, w[::-1])


def test_depthwise_kernels():
    w = ji.bilinear_upsample()(KEY, (4, 4, 1, 6))

    for channel in range(6):
        np.testing.assert_array_equal(w[..., 0, channel], w[..., 0, 0])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"a multiple of 4 .* got \(3, 3, 2, 6\)"):
        ji.icnr(ji.zeros)(KEY, (3, 3, 2, 6))
    with pytest.raises(ValueError, match=r"`factor` .* at least 1, got 0"):
        ji.icnr(ji.zeros, 0)
    with pytest.raises(ValueError, match=r"`block` .* got 'first'"):
        ji.icnr(ji.zeros, block="first")
    with pytest.raises(ValueError, match=r"as many inputs as outputs.* got 2 and 3"):
        ji.bilinear_upsample()(KEY, (4, 4, 2, 3))
    with pytest.raises(ValueError, match=r"must have 3 to 5 axes, got \(3, 3\)"):
        ji.bilinear_upsample()(KEY, (3, 3))
