"""Orthogonal kernels: orthogonality, Haar measure, both factorizations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.initializers import orthogonal
from jaxinit.initializers.orthogonal import _cholesky_qr, _householder_qr
from tests.initializers.checks import assert_orthogonal, widened

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(16, 16), (24, 7), (7, 24), (1, 1), (3, 3, 4, 8)])
def test_singular_values_all_equal_the_scale(shape):
    w = orthogonal(1.7)(KEY, shape)

    assert_orthogonal(w.reshape(-1, shape[-1]), scale=1.7)
    norm = 1.7**2 * min(w.size // shape[-1], shape[-1])
    assert np.sum(widened(w) ** 2) == pytest.approx(norm, rel=1e-5)


def test_column_axis():
    w = orthogonal(column_axis=1)(KEY, (4, 5, 6))

    assert_orthogonal(jnp.moveaxis(w, 1, -1).reshape(24, 5))


def test_batches_are_independent_orthogonal_matrices():
    w = orthogonal(column_axis=2, batch_axis=(0, -1))(KEY, (2, 5, 4, 3))

    matrices = jnp.transpose(w, (0, 3, 1, 2)).reshape(6, 5, 4)
    assert_orthogonal(matrices)
    assert np.abs(matrices[0] - matrices[1]).max() > 0.1


# A cast changes each element by at most half a unit in the last place.
@pytest.mark.parametrize(
    ("dtype", "atol"),
    [(jnp.bfloat16, 2e-2), (jnp.float16, 3e-3), (jnp.float8_e4m3fn, 0.3)],
)
def test_low_precision_is_orthogonal_up_to_rounding(dtype, atol):
    assert_orthogonal(orthogonal()(KEY, (32, 16), dtype), atol=atol)


def test_complex_kernels_are_unitary():
    assert_orthogonal(orthogonal()(KEY, (24, 16), jnp.complex64))
    assert_orthogonal(orthogonal()(KEY, (16, 24), jnp.complex64))


def test_float64_is_orthogonal_to_its_own_precision():
    with jax.enable_x64(True):
        w = orthogonal()(KEY, (24, 16), jnp.float64)

        assert_orthogonal(w, atol=1e-14)


def assert_haar_traces(w):
    """E tr = 0 and E |tr|^2 = 1 within 5 standard errors, and E |w_ij|^2 = 1/n."""
    traces = np.trace(widened(w), axis1=-2, axis2=-1)
    count, n = w.shape[0], w.shape[-1]
    assert abs(traces.mean()) < 5 / math.sqrt(count), f"mean trace {traces.mean()}"
    # |tr|^2 of a Haar matrix of size 8 spreads as that of a normal: by sqrt(2).
    second = np.mean(np.abs(traces) ** 2)
    assert abs(second - 1) < 5 * math.sqrt(2 / count), f"mean |tr|^2 {second}"
    # The squares spread by sqrt(2)/n and each matrix is drawn by itself.
    squares = np.mean(np.abs(widened(w)) ** 2, axis=0)
    assert np.abs(squares - 1 / n).max() < 6 * math.sqrt(2) / n / math.sqrt(count)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
@pytest.mark.parametrize("factor", [_householder_qr, _cholesky_qr])
def test_haar(factor, dtype):
    a = jax.random.normal(KEY, (20000, 8, 8), dtype)

    assert_haar_traces(jax.jit(factor)(a))


def test_haar_notices_missing_signs():
    """What LAPACK returns as Q has a mean trace of -1.58 at this size."""
    a = jax.random.normal(KEY, (20000, 8, 8))

    with pytest.raises(AssertionError, match=r"mean trace -1\.[56]"):
        assert_haar_traces(jnp.linalg.qr(a)[0])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (3, 40, 20), (96, 96)])
def test_cholesky_qr_finds_the_same_factor(shape, dtype):
    a = jax.random.normal(KEY, shape, dtype)

    q = jax.jit(_cholesky_qr)(a)

    assert_orthogonal(q)
    # Rounding errors grow by the condition number, here up to some hundreds, in
    # units of an element's size.
    error = np.abs(q - _householder_qr(a)).max() * math.sqrt(shape[-2])
    assert error < 1e-3


@pytest.mark.parametrize("factor", [_householder_qr, _cholesky_qr])
@pytest.mark.parametrize("shape", [(768, 768), (1536, 512)])
def test_large_matrices_are_as_accurate(shape, factor):
    """The promise is 1e-5 up to 4096 columns, which `benchmarks` measures."""
    a = jax.random.normal(KEY, shape)

    assert_orthogonal(jax.jit(factor)(a))


@pytest.mark.parametrize("condition", [1e2, 1e5, 1e8, math.inf])
def test_cholesky_qr_survives_ill_conditioned_matrices(condition):
    u, v = (
        _householder_qr(jax.random.normal(jax.random.key(seed), (64, 64)))
        for seed in (1, 2)
    )
    singular_values = jnp.geomspace(1.0, 1e-8, 64).at[-1].set(1 / condition)
    a = jnp.matmul(u * jnp.maximum(singular_values, 1 / condition)[None], v) * 16

    assert_orthogonal(jax.jit(_cholesky_qr)(a))


def test_householder_keeps_a_zero_diagonal_finite():
    assert np.isfinite(_householder_qr(jnp.zeros((3, 3)))).all()


def test_a_deep_linear_network_keeps_every_singular_value():
    product = jnp.eye(16)
    for key in jax.random.split(KEY, 50):
        product = product @ orthogonal(1.1)(key, (16, 16))

    # Fifty roundings of the scale and of the products.
    np.testing.assert_allclose(
        np.linalg.svd(widened(product), compute_uv=False), 1.1**50, rtol=1e-4
    )


def test_errors():
    with pytest.raises(ValueError, match=r"`scale` must be .*got -1"):
        orthogonal(-1)
    with pytest.raises(ValueError, match=r"two axes or more .*got \(4,\)"):
        orthogonal()(KEY, (4,))
    with pytest.raises(ValueError, match=r"two axes or more .*got \(2, 4\)"):
        orthogonal(batch_axis=0)(KEY, (2, 4))
    with pytest.raises(ValueError, match="`column_axis` is 2"):
        orthogonal(column_axis=2)(KEY, (4, 4))
    with pytest.raises(ValueError, match="`batch_axis` 2 holds `column_axis` -1"):
        orthogonal(batch_axis=2)(KEY, (4, 4, 4))
