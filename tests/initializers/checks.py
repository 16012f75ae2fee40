"""Checks of samples. `test_checks.py` sees each of them fail."""

import math
from collections.abc import Callable

import jax
import numpy as np
from scipy import stats

Floats = np.ndarray


def widened(x: jax.Array) -> Floats:
    """``x`` in float64 or complex128."""
    is_complex = np.iscomplexobj(np.zeros((), x.dtype))
    return np.asarray(x).astype(np.complex128 if is_complex else np.float64)


def assert_same(actual: jax.Array, expected: jax.Array) -> None:
    """The arrays agree in dtype, shape and every bit of their values."""
    assert actual.dtype == expected.dtype, f"{actual.dtype} is not {expected.dtype}"
    np.testing.assert_array_equal(widened(actual), widened(expected))


def assert_rounded_inside(actual: jax.Array, full: jax.Array) -> None:
    """``full`` rounded to nearest, but for what would round onto or past a bound.

    The bounds lie within the largest and the smallest rounded value. What is moved is
    rounded the other way.
    """
    rounded, wide, exact = map(widened, (full.astype(actual.dtype), actual, full))
    moved = wide != rounded
    at_end = (rounded == rounded.max()) | (rounded == rounded.min())
    assert not (moved & ~at_end).any(), "a value inside is not rounded to nearest"
    assert ((wide - exact) * (rounded - exact) <= 0)[moved].all()


def assert_moments(
    x: jax.Array, *, mean: float, std: float, kurtosis: float = 3.0
) -> None:
    """Mean and standard deviation lie within 5 of their standard errors.

    A false alarm has a chance of 6e-7 for each. The error of a sample's variance is
    ``sqrt((kurtosis - 1) / size)`` of it.
    """
    values = widened(x)
    # One part in a million for samples whose law fixes a moment exactly.
    stderr = std / math.sqrt(values.size)
    assert abs(values.mean() - mean) < 5 * stderr, (
        f"mean {values.mean()}, expected {mean}"
    )
    actual = math.sqrt(np.mean(np.abs(values - mean) ** 2))
    stderr = std * math.sqrt((kurtosis - 1) / (4 * values.size))
    assert abs(actual - std) < 5 * stderr, f"std {actual}, expected {std}"


def assert_law(x: jax.Array, cdf: Callable[[Floats], Floats]) -> None:
    """A Kolmogorov-Smirnov test at a false-alarm rate of one in a million."""
    result = stats.kstest(widened(x).ravel(), cdf)
    assert result.pvalue > 1e-6, f"KS distance {result.statistic}, p {result.pvalue}"


def assert_orthogonal(w: jax.Array, *, scale: float = 1.0, atol: float = 1e-5) -> None:
    """The singular values of the matrix ``w`` all equal ``scale``.

    The default tolerance is the promise for float32.
    """
    values = widened(w)
    if values.shape[-2] < values.shape[-1]:
        values = np.swapaxes(values, -1, -2)
    gram = np.conj(np.swapaxes(values, -1, -2)) @ values / scale**2
    error = np.linalg.norm(gram - np.eye(gram.shape[-1]), 2, axis=(-2, -1)).max()
    assert error <= atol, f"|W'W - I| is {error}, allowed {atol}"
