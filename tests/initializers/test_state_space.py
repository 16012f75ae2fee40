"""Matrices and spectra of state-space layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji

KEY = jax.random.key(16)


def hippo(size):
    with jax.enable_x64(True):
        return np.asarray(ji.hippo_legs()(KEY, (size, size), jnp.float64))


def test_hippo_of_three():
    expected = [[-1, 0, 0], [-1.7320508, -2, 0], [-2.2360680, -3.8729833, -3]]

    np.testing.assert_allclose(ji.hippo_legs()(KEY, (3, 3)), expected, atol=1e-7)


def test_hippo_has_the_eigenvalues_of_its_diagonal():
    values = np.linalg.eigvals(hippo(8))

    np.testing.assert_allclose(np.sort(values.real), -np.arange(8.0, 0, -1), atol=1e-9)


@pytest.mark.parametrize("size", [4, 16])
def test_hippo_is_normal_plus_low_rank(size):
    with jax.enable_x64(True):
        p = np.asarray(ji.hippo_legs_low_rank()(KEY, (size,), jnp.float64))
    normal = hippo(size) + np.outer(p, p)

    skew = normal + np.eye(size) / 2
    np.testing.assert_allclose(skew, -skew.T, atol=1e-12)
    values = np.linalg.eigvals(normal)
    np.testing.assert_allclose(values.real, np.full(size, -0.5), atol=1e-10)
    if size == 4:
        np.testing.assert_allclose(
            np.sort(values.imag),
            [-4.60329301, -0.55650112, 0.55650112, 4.60329301],
            atol=5e-9,
        )


def test_hippo_input():
    np.testing.assert_allclose(
        ji.hippo_legs_input()(KEY, (2, 3)),
        np.broadcast_to(np.sqrt([1.0, 3.0, 5.0]), (2, 3)),
        rtol=1e-6,
    )


def test_hippo_follows_the_past():
    # c' = (A c + B f) / t holds the Legendre coefficients of f on [0, t]: for a
    # constant f they are (f, 0, 0, ...), which must be a fixed point.
    a, b = hippo(6), np.sqrt(2 * np.arange(6) + 1)

    np.testing.assert_allclose(a @ np.eye(6)[0] + b, np.zeros(6), atol=1e-12)


def test_spectra():
    lin = ji.s4d_lin()(KEY, (3, 4))
    assert lin.dtype == jnp.complex64
    np.testing.assert_allclose(lin[2], -0.5 + 1j * np.pi * np.arange(4), rtol=1e-6)

    n = np.arange(4)
    inv = -0.5 + 1j * 8 / np.pi * (8 / (2 * n + 1) - 1)
    np.testing.assert_allclose(ji.s4d_inv()(KEY, (4,)), inv, rtol=1e-6)
    np.testing.assert_array_equal(ji.s4d_real()(KEY, (4,)), -(n + 1.0))


@pytest.mark.parametrize("spectrum", [ji.s4d_lin, ji.s4d_inv])
def test_stored_parts_make_the_spectrum(spectrum):
    real = -np.exp(np.asarray(spectrum("log_real")(KEY, (2, 5))))
    imag = np.asarray(spectrum("imag")(KEY, (2, 5)))

    np.testing.assert_allclose(real + 1j * imag, spectrum()(KEY, (2, 5)), rtol=1e-6)


def test_inv_approximates_hippo():
    # The largest imaginary part of the normal part, to 10% at N = 64.
    with jax.enable_x64(True):
        p = np.asarray(ji.hippo_legs_low_rank()(KEY, (64,), jnp.float64))
    largest = np.linalg.eigvals(hippo(64) + np.outer(p, p)).imag.max()

    assert float(ji.s4d_inv("imag")(KEY, (32,))[0]) == pytest.approx(largest, rel=0.1)


def test_mamba_and_s4d_real_agree():
    a_log = ji.mamba_a_log()(KEY, (5, 16))

    np.testing.assert_allclose(-np.exp(a_log), ji.s4d_real()(KEY, (5, 16)), rtol=1e-6)
    np.testing.assert_array_equal(a_log, ji.s4d_real(log=True)(KEY, (5, 16)))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`shape` must be \(..., N, N\), got \(3, 4"):
        ji.hippo_legs()(KEY, (3, 4))
    with pytest.raises(ValueError, match=r"`part` .*got 'real'"):
        ji.s4d_lin("real")
    with pytest.raises(ValueError, match=r"must be complex.* got float32"):
        ji.s4d_lin()(KEY, (4,), jnp.float32)
    with pytest.raises(ValueError, match=r"at least one axis, got \(\)"):
        ji.hippo_legs_input()(KEY, ())
