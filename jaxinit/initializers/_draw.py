r"""Draws in full precision, cast last: the machinery under every initializer.

A sample drawn directly in bfloat16 has 128 distinct values and a biased mean, and a
variance formed in float8 underflows. So every value is drawn and scaled in float32
(float64 for float64, complex64 for complex64, ...) and rounded once, at the end.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, OutSharding, Scalar
from jaxinit.initializers._dtype import check_dtype as check_dtype
from jaxinit.initializers._dtype import compute_dtype as compute_dtype
from jaxinit.initializers._dtype import is_complex as is_complex
from jaxinit.initializers._dtype import real_dtype as real_dtype
from jaxinit.initializers._jit import jit
from jaxinit.initializers._sharding import Make, constrain, merge_axes, place
from jaxinit.initializers._threefry import fast_key

Sampler: TypeAlias = Make
"""``(key, shape, compute_dtype, sharding) -> array`` of that shape and dtype."""


def from_sampler(
    sampler: Sampler,
    dtype: DTypeLike | None = None,
    *,
    check_shape: Callable[[tuple[int, ...]], None] | None = None,
    allow_complex: bool = True,
) -> Initializer:
    """The initializer of a sampler that works in full precision.

    The result resolves the dtype, refuses integers, returns zero-sized arrays without
    calling the sampler, casts last and honors ``out_sharding``.

    Args:
      sampler: called as ``sampler(key, shape, compute_dtype, sharding)``. The compute
        dtype is float32, float64, complex64 or complex128. ``sharding`` is None or
        what the result will be constrained to; a sampler may pass it on to the draws
        below, or ignore it.
      dtype: the dtype of an initializer that is called without one.
      check_shape: raises if the shape is not supported. It also sees shapes of size
        zero, which the sampler never does.
      allow_complex: whether complex dtypes are supported.

    Returns:
      An initializer.

    Raises:
      ValueError: if ``dtype`` is not a float (or complex) dtype.
    """

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        return sampler(key, shape, compute_dtype(dtype), sharding).astype(dtype)

    make.__qualname__ = getattr(sampler, "__qualname__", make.__qualname__)
    return from_maker(make, dtype, check_shape=check_shape, allow_complex=allow_complex)


def from_maker(
    make: Make,
    dtype: DTypeLike | None = None,
    *,
    check_shape: Callable[[tuple[int, ...]], None] | None = None,
    allow_complex: bool = True,
) -> Initializer:
    """As :func:`from_sampler` for a ``make`` that casts to the final dtype itself."""
    default = dtype
    if default is not None:
        check_dtype(default, allow_complex=allow_complex)

    def init(
        key: jax.Array,
        shape: Sequence[int],
        dtype: DTypeLike | None = default,
        out_sharding: OutSharding = None,
    ) -> jax.Array:
        dims = as_shape(shape)
        chosen = check_dtype(
            default if dtype is None else dtype, allow_complex=allow_complex
        )
        if check_shape is not None:
            check_shape(dims)
        return place(_empty if 0 in dims else make, key, dims, chosen, out_sharding)

    # An initializer goes by the name of the factory that made it.
    init.__qualname__ = getattr(make, "__qualname__", init.__qualname__)
    return init


def as_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple of Python integers."""
    dims = tuple(operator.index(dim) for dim in shape)
    if any(dim < 0 for dim in dims):
        raise ValueError(f"`shape` must not have negative entries, got {dims}.")
    return dims


def check_scale(name: str, value: Scalar, meaning: str) -> None:
    """Raises unless ``value`` is a finite, non-negative scalar; traced ones pass."""
    if isinstance(value, jax.core.Tracer):
        return
    if np.ndim(value) != 0 or not np.issubdtype(np.asarray(value).dtype, np.number):
        raise TypeError(
            f"`{name}` must be a number, got {value!r}. It is the {meaning}."
        )
    if not 0 <= float(value) < math.inf:
        raise ValueError(
            f"`{name}` must be finite and not negative, got {value}. It is the "
            f"{meaning}."
        )


# The draws. Scales enter as arguments, so one compiled program serves all of them.


def normal(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    stddev: Scalar = 1.0,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    r"""Samples of :math:`N(0, \sigma^2)`; complex ones have :math:`E|w|^2=\sigma^2`."""
    root = 1.0 if is_complex(dtype) else math.sqrt(2.0)
    return _normal(key, _scalar(stddev, root, dtype), shape, np.dtype(dtype), sharding)


def uniform(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    low: float = 0.0,
    high: float = 1.0,
    scale: Scalar = 1.0,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """``scale`` times samples of U[low, high), of a real dtype."""
    scaled = _scalar(scale, 1.0, dtype)
    bounds = (float(low), float(high))
    return _uniform(key, scaled, bounds, shape, np.dtype(dtype), sharding)


def truncated_normal(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    stddev: Scalar = 1.0,
    lower: float = -2.0,
    upper: float = 2.0,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """``stddev`` times samples of N(0, 1) given ``lower < z < upper``, real."""
    scaled = _scalar(stddev, 1.0, dtype)
    bounds = (float(lower), float(upper))
    return _truncated(key, scaled, bounds, shape, np.dtype(dtype), sharding)


def complex_disk(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    scale: Scalar = 1.0,
    limit: float | None = None,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    r"""Complex samples with a uniform phase, times ``scale``.

    Without ``limit`` they are uniform on the disk with :math:`E|w|^2=1`, modulus
    :math:`\sqrt{2u}`. With it they are complex normal given a modulus below
    ``limit``, :math:`\sqrt{-\log(1-u(1-e^{-a^2}))}`.
    """
    scaled = _scalar(scale, 1.0, dtype)
    return _disk(key, scaled, limit, shape, np.dtype(dtype), sharding)


def _scalar(value: Scalar, factor: float, dtype: DTypeLike) -> jax.Array | np.ndarray:
    """``value * factor`` in the real compute dtype, rounded once if it is known."""
    real = real_dtype(dtype)
    if isinstance(value, jax.core.Tracer):
        traced: jax.Array = jnp.asarray(value, real) * real.type(factor)
        return traced
    return np.asarray(float(value) * factor, real)


def _random(
    key: jax.Array,
    shape: tuple[int, ...],
    real: np.dtype,
    low: float,
    high: float,
    sharding: NamedSharding | None,
) -> jax.Array:
    """U[low, high) over merged axes; the caller reshapes."""
    flat, flat_sharding = merge_axes(shape, sharding)
    u = jax.random.uniform(fast_key(key, flat), flat, real, minval=low, maxval=high)
    return constrain(u, flat_sharding)


def _erf_inv_uniform(
    key: jax.Array,
    shape: tuple[int, ...],
    real: np.dtype,
    sharding: NamedSharding | None,
) -> jax.Array:
    r"""Samples of :math:`N(0, 1/2)`: one factor makes them N(0, s^2), so that no
    compiler can regroup two."""
    above_minus_one = float(np.nextafter(real.type(-1), real.type(0)))
    return jax.lax.erf_inv(_random(key, shape, real, above_minus_one, 1.0, sharding))


@jit("shape", "dtype", "sharding")
def _normal(
    key: jax.Array,
    scale: jax.Array | np.ndarray,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding | None,
) -> jax.Array:
    real = real_dtype(dtype)
    if is_complex(dtype):
        key_re, key_im = jax.random.split(key)
        x = jax.lax.complex(
            _erf_inv_uniform(key_re, shape, real, sharding) * scale,
            _erf_inv_uniform(key_im, shape, real, sharding) * scale,
        )
    else:
        x = _erf_inv_uniform(key, shape, real, sharding) * scale
    return x.astype(dtype).reshape(shape)


@jit("bounds", "shape", "dtype", "sharding")
def _uniform(
    key: jax.Array,
    scale: jax.Array | np.ndarray,
    bounds: tuple[float, float],
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding | None,
) -> jax.Array:
    u = _random(key, shape, real_dtype(dtype), *bounds, sharding)
    return (u * scale).astype(dtype).reshape(shape)


@jit("bounds", "shape", "dtype", "sharding")
def _truncated(
    key: jax.Array,
    scale: jax.Array | np.ndarray,
    bounds: tuple[float, float],
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding | None,
) -> jax.Array:
    real = real_dtype(dtype)
    low, high = (math.erf(bound / math.sqrt(2)) for bound in bounds)
    z = jax.lax.erf_inv(_random(key, shape, real, low, high, sharding))
    # Rounding may step over a bound, so clip to the open interval.
    first = np.nextafter(real.type(bounds[0]), real.type(math.inf))
    last = np.nextafter(real.type(bounds[1]), real.type(-math.inf))
    z = jnp.clip(z * real.type(math.sqrt(2)), first, last)
    return (z * scale).astype(dtype).reshape(shape)


@jit("limit", "shape", "dtype", "sharding")
def _disk(
    key: jax.Array,
    scale: jax.Array | np.ndarray,
    limit: float | None,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding | None,
) -> jax.Array:
    real = real_dtype(dtype)
    key_modulus, key_phase = jax.random.split(key)
    u = _random(key_modulus, shape, real, 0.0, 1.0, sharding)
    phase = _random(key_phase, shape, real, -math.pi, math.pi, sharding)
    if limit is None:
        modulus = jnp.sqrt(2 * u)
    else:
        modulus = jnp.sqrt(-jnp.log1p(u * math.expm1(-(limit**2))))
    w = jax.lax.complex(modulus * jnp.cos(phase), modulus * jnp.sin(phase))
    return (w * scale.astype(dtype)).astype(dtype).reshape(shape)


def _empty(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sharding: NamedSharding | None,
) -> jax.Array:
    del key, sharding
    return jnp.zeros(shape, dtype)
