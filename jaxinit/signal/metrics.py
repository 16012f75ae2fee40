"""What can be measured of one array, one row a metric; each costs what it alone needs.

They are taken inside a compiled program, in the array's own record dtype, and are
float32 numbers there. Those of `records` leave the device as parts of numbers, which
the host joins in float64; these are whole, for a training step to use or to log.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinit.signal.records import MASK, Axes, real_parts, sum_of_units, unit_of

Array = jax.Array
Pool = Literal["mean", "rms", "max"]


class Seen:
    """An array and what several metrics need of it, computed when first asked for."""

    def __init__(self, value: Array, axes: Axes) -> None:
        self.is_complex = jnp.iscomplexobj(value)
        self.raw, self.size, self.axes = real_parts(value, axes)
        self.channels = tuple(axis % self.raw.ndim for axis in self.axes.channels)
        self.others = tuple(
            axis for axis in range(self.raw.ndim) if axis not in self.channels
        )
        self.counted: Array | None = None
        if axes.masked:
            self.counted = (~(self.raw <= MASK)).astype(self.raw.dtype)
            self.raw, self.size = (
                jnp.where(self.counted > 0, v, 0) for v in (self.raw, self.size)
            )

    @cached_property
    def chan_absmax(self) -> Array:
        if self.is_complex:
            largest = lax.reduce_max(self.size, self.others)
        else:  # without the magnitudes, which XLA writes out on a CPU
            above, below = lax.reduce_max, lax.reduce_min
            largest = lax.abs(
                lax.max(above(self.raw, self.others), -below(self.raw, self.others))
            )
        # Else XLA takes the largest of all in one more pass over the array.
        kept: Array = lax.optimization_barrier(largest)
        return kept

    @cached_property
    def absmax(self) -> Array:
        return lax.reduce_max(self.chan_absmax, tuple(range(self.chan_absmax.ndim)))

    @cached_property
    def _exponent_and_unit(self) -> tuple[Array, Array]:
        return unit_of(self.absmax)

    @property
    def scale(self) -> Array:
        """The power of two that ``x`` was divided by."""
        return jnp.exp2(self._exponent_and_unit[0])

    @cached_property
    def x(self) -> Array:
        """The array, its largest magnitude between 1 and 2."""
        return self.raw * self._exponent_and_unit[1]

    @cached_property
    def number(self) -> Array | float:
        """How many values a channel has."""
        if self.counted is None:
            return float(math.prod(self.x.shape[axis] for axis in self.others))
        return jnp.maximum(lax.reduce_sum(self.counted, self.others), 1)

    def over_samples(self, x: Array) -> Array:
        """The mean of each channel, of shape ``(channels,)`` where these are one."""
        kept = x if self.counted is None else x * self.counted
        return lax.reduce_sum(kept, self.others) / self.number

    @cached_property
    def chan_mean(self) -> Array:
        return self.over_samples(self.x)

    @cached_property
    def mean_square(self) -> Array:
        # At once where channels do not count: five times as fast on a CPU.
        square = self.x * self.x
        return jnp.mean(square if self.counted is None else self.over_samples(square))

    @cached_property
    def centred(self) -> Array:
        return self.x - lax.expand_dims(self.chan_mean, self.others)

    @cached_property
    def chan_var(self) -> Array:
        return self.over_samples(self.centred * self.centred)

    @cached_property
    def mean(self) -> Array:
        """The mean; the means of the two parts of a complex array."""
        if not self.is_complex:
            return jnp.mean(self.chan_mean)
        return jnp.mean(self.chan_mean, axis=tuple(range(self.chan_mean.ndim - 1)))


class Metric(NamedTuple):
    """One number of an array.

    Attributes:
      compute: takes it.
      pool: how that of several steps of a loop comes from those of the steps.
      behind: whether it is of what the row's activation gives, not of the row.
      bounded: whether it is a share, a mean or a cosine, which has no logarithm.
    """

    compute: Callable[[Seen], Array]
    pool: Pool = "mean"
    behind: bool = False
    bounded: bool = False


def _nan() -> Array:
    return jnp.full((), jnp.nan)


def _mean(seen: Seen) -> Array:
    if seen.is_complex:
        return jnp.sqrt(jnp.sum(seen.mean**2) / 2) * seen.scale
    return seen.mean * seen.scale


def _var(seen: Seen) -> Array:
    spread = jnp.mean(jnp.square(seen.chan_mean - seen.mean))
    return (jnp.mean(seen.chan_var) + spread) * seen.scale**2


def _cos(seen: Seen) -> Array:
    total, number = sum_of_units(seen.x, seen.axes.sample)
    cos: Array = jnp.clip((total - number) / (number * (number - 1)), -1, 1)
    return cos


def _share(seen: Seen, true: Array) -> Array:
    return jnp.mean(seen.over_samples(true.astype(seen.raw.dtype)))


def _frac_nonfinite(seen: Seen) -> Array:
    return _share(seen, ~(seen.size < jnp.inf))


def _dead(seen: Seen) -> Array:
    return jnp.mean((seen.chan_absmax == 0).astype(jnp.float32))


DORMANT = 0.1
"""The largest share of its layer's mean size that a dormant unit has (ReDo's tau)."""


def _dormant(seen: Seen) -> Array:
    """The share of channels whose mean size is a tenth of the layer's or less."""
    size = seen.over_samples(seen.size * seen._exponent_and_unit[1])
    return jnp.mean((size <= DORMANT * jnp.mean(size)).astype(jnp.float32))


def _kurtosis(seen: Seen) -> Array:
    """The fourth centred moment over the square of the variance: 3 for a Gaussian."""
    if seen.is_complex:
        return _nan()
    away = jnp.square(seen.x - seen.mean)
    var = jnp.mean(seen.over_samples(away))
    fourth: Array = jnp.mean(seen.over_samples(away * away))
    return fourth / (var * var)


def _units(x: Array) -> Array:
    norm2 = jnp.sum(x * x, axis=-1, keepdims=True)
    inverse: Array = jnp.where(norm2 > 0, lax.rsqrt(norm2), 0)
    return x * inverse


def _token_cos(seen: Seen) -> Array:
    """The mean cosine between two positions of one sample, over those not zero."""
    tokens = _tokens(seen)
    if tokens is None:
        return _nan()
    total = jnp.sum(jnp.square(jnp.sum(_units(tokens), axis=1)), axis=-1)
    number = jnp.sum(jnp.any(tokens != 0, axis=-1), axis=1).astype(total.dtype)
    cos = (total - number) / (number * (number - 1))
    return jnp.clip(jnp.mean(cos), -1, 1)


def _rank(rows: Array) -> Array:
    """The participation ratio of the squared singular values of ``(..., n, d)``."""
    narrow = rows if rows.shape[-2] <= rows.shape[-1] else jnp.swapaxes(rows, -1, -2)
    gram = jnp.einsum(
        "...id,...jd->...ij", narrow, narrow, precision=lax.Precision.HIGHEST
    )
    trace: Array = jnp.trace(gram, axis1=-2, axis2=-1)
    return trace**2 / jnp.sum(gram * gram, axis=(-2, -1))


def _eff_rank(seen: Seen) -> Array:
    """How many directions the samples span, as whole vectors."""
    sample = seen.axes.sample
    if sample is None or seen.x.ndim < 2:
        return _nan()
    rows = jnp.moveaxis(seen.x, sample, 0)
    return _rank(rows.reshape(rows.shape[0], -1))


def _token_rank(seen: Seen) -> Array:
    """How many directions the positions of a sample span, the mean over samples."""
    tokens = _tokens(seen)
    return _nan() if tokens is None else jnp.mean(_rank(tokens))


def _tokens(seen: Seen) -> Array | None:
    """The array as ``(samples, positions, channels)``; ``None`` without positions."""
    x, sample = seen.x, seen.axes.sample
    if sample is None or sample in seen.channels:
        return None
    positions = [axis for axis in seen.others if axis != sample]
    if not positions or not seen.channels:
        return None
    moved = jnp.transpose(x, (sample, *positions, *seen.channels))
    number = math.prod(x.shape[axis] for axis in positions)
    return None if number < 2 else moved.reshape(x.shape[sample], number, -1)


def _frac_subnormal(seen: Seen) -> Array:
    """The share that float16 would hold with fewer digits, or as zero."""
    tiny: Any = 2.0**-14
    return _share(seen, (seen.size > 0) & (seen.size < tiny))


METRICS: dict[str, Metric] = {
    "mean": Metric(_mean, bounded=True),
    "var": Metric(_var),
    "second_moment": Metric(lambda s: s.mean_square * s.scale**2),
    "rms": Metric(lambda s: jnp.sqrt(s.mean_square) * s.scale, "rms"),
    "chan_sq_mean": Metric(lambda s: jnp.mean(jnp.square(s.chan_mean)) * s.scale**2),
    "chan_var": Metric(lambda s: jnp.mean(s.chan_var) * s.scale**2),
    "cos": Metric(_cos, bounded=True),
    "absmax": Metric(lambda s: s.absmax, "max"),
    "frac_zero": Metric(lambda s: _share(s, s.size == 0), bounded=True),
    "frac_nonfinite": Metric(_frac_nonfinite, bounded=True),
    "dead": Metric(_dead, behind=True, bounded=True),
    "dormant": Metric(_dormant, behind=True, bounded=True),
    "kurtosis": Metric(_kurtosis),
    "token_cos": Metric(_token_cos, bounded=True),
    "eff_rank": Metric(_eff_rank),
    "token_rank": Metric(_token_rank),
    "frac_subnormal": Metric(_frac_subnormal, bounded=True),
}
"""All metrics of one array, by name; the first eleven are those of every report."""
