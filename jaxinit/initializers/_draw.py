r"""Draws in full precision, cast last: the machinery under every initializer.

A sample drawn directly in bfloat16 has 128 distinct values and a biased mean, and a
variance formed in float8 underflows. So every value is drawn and scaled in float32
(float64 for float64, complex64 for complex64, ...) and rounded once, at the end.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Scalar
from jaxinit.initializers._check import check_scale as check_scale
from jaxinit.initializers._cut_normal import cut_normal
from jaxinit.initializers._dtype import Kinds
from jaxinit.initializers._dtype import check_dtype as check_dtype
from jaxinit.initializers._dtype import compute_dtype as compute_dtype
from jaxinit.initializers._dtype import is_complex as is_complex
from jaxinit.initializers._dtype import real_dtype as real_dtype
from jaxinit.initializers._jit import jit
from jaxinit.initializers._rounding import rounded_inside
from jaxinit.initializers._sharding import Make, constrain, merge_axes
from jaxinit.initializers._threefry import fast_key
from jaxinit.initializers._value import Init, Refit

Sampler: TypeAlias = Make
"""``(key, shape, compute_dtype, sharding) -> array`` of that shape and dtype."""


def from_sampler(
    sampler: Sampler,
    dtype: DTypeLike | None = None,
    *,
    check_shape: Callable[[tuple[int, ...]], None] | None = None,
    kinds: Kinds = "complex",
    law: str = "",
    refit: Refit = False,
) -> Init:
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
      kinds: which dtypes are supported.
      law: the law in a few words.
      refit: gives the initializer for other fans; see :class:`Init`.

    Returns:
      An initializer.

    Raises:
      ValueError: if ``dtype`` is not of the kinds.
    """

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        return sampler(key, shape, compute_dtype(dtype), sharding).astype(dtype)

    make.__qualname__ = getattr(sampler, "__qualname__", make.__qualname__)
    return from_maker(
        make, dtype, check_shape=check_shape, kinds=kinds, law=law, refit=refit
    )


def from_maker(
    make: Make,
    dtype: DTypeLike | None = None,
    *,
    check_shape: Callable[[tuple[int, ...]], None] | None = None,
    kinds: Kinds = "complex",
    law: str = "",
    refit: Refit = False,
) -> Init:
    """As :func:`from_sampler` for a ``make`` that casts to the final dtype itself."""
    return Init(make, dtype, check=check_shape, kinds=kinds, law=law, refit=refit)


def broadcasting(
    name: str, value: Scalar | np.ndarray
) -> Callable[[tuple[int, ...]], None] | None:
    """A check that an array of factors broadcasts to the shape; numbers always do."""
    given = np.shape(value)
    if not given:
        return None

    def check(shape: tuple[int, ...]) -> None:
        if not broadcasts(given, shape):
            raise ValueError(
                f"`{name}` has shape {given}, which does not broadcast to the shape "
                f"{shape}. Each of its last axes must be 1 or match."
            )

    return check


def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of the first shape broadcasts to the second."""
    return len(small) <= len(large) and all(
        size in (1, target)
        for size, target in zip(reversed(small), reversed(large), strict=False)
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
    if isinstance(value, jax.Array):
        array: jax.Array = jnp.asarray(value, real) * real.type(factor)
        return array
    return np.asarray(float(value) * factor, real)


def _times(
    x: jax.Array, scale: jax.Array | np.ndarray, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """``x * scale``, still flat unless the scale has axes, and the scale."""
    factor = jnp.asarray(scale)
    if factor.ndim:
        x, factor = x.reshape(shape), jnp.broadcast_to(factor, shape)
    return x * factor, factor


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
            _times(_erf_inv_uniform(key_re, shape, real, sharding), scale, shape)[0],
            _times(_erf_inv_uniform(key_im, shape, real, sharding), scale, shape)[0],
        )
    else:
        x, _ = _times(_erf_inv_uniform(key, shape, real, sharding), scale, shape)
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
    real = real_dtype(dtype)
    u = _random(key, shape, real, *bounds, sharding)
    x, factor = _times(u, scale, shape)
    if dtype != real or bounds not in _OPEN:
        x = rounded_inside(x, factor, bounds, dtype, closed_below=True)
    return x.astype(dtype).reshape(shape)


# Between them jax's uniforms leave a gap below 1 that no factor closes.
_OPEN = ((0.0, 1.0), (-1.0, 1.0))


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

    def uniform(low: float, high: float) -> jax.Array:
        return _random(key, shape, real, low, high, sharding)

    x, factor = _times(cut_normal(uniform, bounds, real), scale, shape)
    x = rounded_inside(x, factor, bounds, dtype, closed_below=False)
    return x.reshape(shape)


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
    return _times(w, scale.astype(dtype), shape)[0].astype(dtype).reshape(shape)
