"""Statistics of one array, small enough to leave the device.

Every record is a float32 vector; that of a float64 array is a float64 vector. Values
are divided by a power of two near their largest magnitude before they are squared, and
its exponent is kept: a gradient of 1e-30 or an activation of 1e30 comes out as such.

A complex value counts by its modulus: the second moment is :math:`E|y|^2`, the
variance :math:`E|y - E y|^2`, and the mean :math:`|E y|`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

Array = jax.Array

FORWARD = (
    "mean",
    "shifted_mean",
    "shifted_second_moment",
    "chan_sq_mean",
    "chan_var",
    "dead",
    "frac_zero",
    "frac_nonfinite",
    "count",
    "exponent",
    "absmax",
    "cos_sum",
    "cos_samples",
)
"""Fields of a forward record, as they leave the device.

The first eight are means over channels. The shifted ones are of the channel means'
distance from one element of the array. Unit vectors of ``cos_samples`` samples add up
to a vector of squared length ``cos_sum``. Magnitudes are in units of 2**exponent.
"""

POWER = {"mean": 1, "absmax": 1, "var": 2, "chan_sq_mean": 2, "chan_var": 2}
"""With which power of the unit a statistic scales."""

DEAD = ("count", "dead")
"""Fields of the record behind an activation."""

SIZE = ("count", "exponent", "second_moment")
"""Fields of a record of a gradient or a weight."""


class Axes(NamedTuple):
    """The meaning of an array's axes.

    Attributes:
      sample: the axis over the batch; ``None`` if there is none.
      channels: the axes over features; all others are positions.
      masked: whether entries at or below ``MASK`` stand for none and do not count.
    """

    sample: int | None
    channels: tuple[int, ...]
    masked: bool = False


MASK = -9e3
"""The fills of masks are -1e4, -1e9, -1e10, the least number of a dtype, -infinity."""


def record_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype of the records of an array of ``dtype``."""
    wide = jnp.dtype(dtype) in (jnp.dtype(jnp.float64), jnp.dtype(jnp.complex128))
    return np.dtype(np.float64 if wide else np.float32)


def forward_record(value: Array, axes: Axes) -> Array:
    """The default statistics of a layer's output, as in ``FORWARD``.

    Compiling it costs more than running it. On CPU a sum or a maximum, with arithmetic
    in front of it, and a product of matrices are taken from a library; each array that
    is written out otherwise is code to be made, which takes twenty times as long. The
    variance is that of the distance to one of the elements, so that a mean far from
    zero does no harm.
    """
    is_complex = jnp.iscomplexobj(value)
    x, size, axes = real_parts(value, axes)
    channels = tuple(axis % x.ndim for axis in axes.channels)
    others = tuple(axis for axis in range(x.ndim) if axis not in channels)
    per_channel: Any = 1 / max(math.prod(x.shape[axis] for axis in others), 1)
    share, counted = per_channel, None
    if axes.masked:
        counted = (~(x <= MASK)).astype(x.dtype)
        x, size = (jnp.where(counted > 0, v, 0) for v in (x, size))
        number = lax.reduce_sum(counted, others)
        per_channel = 1 / jnp.maximum(number, 1)
        share = lax.expand_dims(per_channel, others)
    chan_absmax = lax.reduce_max(size, others).reshape(-1)
    everything = tuple(range(x.ndim))
    if is_complex:
        largest = lax.reduce_max(size, everything)
    else:  # without magnitudes, which would be written out where two read them
        size = x
        largest = lax.max(lax.reduce_max(x, everything), -lax.reduce_min(x, everything))
    exponent, unit = unit_of(largest)
    code = lax.select(
        size == 0,
        jnp.ones_like(size),
        lax.select(lax.is_finite(size), jnp.zeros_like(size), -jnp.ones_like(size)),
    )
    # One array says both: what is zero counts 1, what is not finite -1.
    code = _kept(code, counted)
    difference = lax.reduce_sum(code, others) * (per_channel / 2)
    both = lax.reduce_sum(lax.abs(code), others) * (per_channel / 2)
    x = x * unit
    # The same twice, in two forms: one array that two sums read would be written out.
    if is_complex:
        shift = _mean_of_parts(x)
        opposite = -shift
    else:
        shift = lax.reduce_min(x, everything)
        opposite = lax.reduce_max(-x, everything)
    chan_mean = lax.reduce_sum(_kept(shift - x, counted) * -share, others)
    centred = _kept(x + opposite - lax.expand_dims(chan_mean, others), counted)
    chan_var = lax.reduce_sum(centred * centred, others) * per_channel
    mean = chan_mean + (shift.reshape(-1) if is_complex else shift)
    columns = (
        mean,
        chan_mean,
        chan_mean * chan_mean,
        mean * mean,
        chan_var,
        (chan_absmax == 0).astype(x.dtype),
        both + difference,
        both - difference,
    )
    table = lax.concatenate([column.reshape(1, -1) for column in columns], 0)
    means = _means(table)
    if is_complex:
        means = means.at[0].set(jnp.sqrt(jnp.sum(shift * shift) / 2))
    absmax = largest * unit
    one = jnp.ones((), x.dtype)
    rest = [one, exponent, absmax, *sum_of_units(x, axes.sample)]
    return lax.concatenate([means, *(scalar[None] for scalar in rest)], 0)


def _means(table: Array) -> Array:
    """The mean of each row; as a product on CPU, see `sum_of_units`."""
    number = table.shape[1]
    if jax.default_backend() == "cpu":
        ones = jnp.ones((number, 2), table.dtype)
        sums = lax.dot(table, ones, precision=lax.Precision.HIGHEST)[:, 0]
    else:
        sums = lax.reduce_sum(table, (1,))
    return sums * (1 / max(number, 1))


def _kept(x: Array, counted: Array | None) -> Array:
    """``x`` where it counts, and zero elsewhere."""
    return x if counted is None else x * counted


def dead_record(value: Array, axes: Axes) -> Array:
    """The share of channels that are zero for all samples, as in ``DEAD``."""
    _, size, axes = real_parts(value, axes)
    channels = tuple(axis % size.ndim for axis in axes.channels)
    others = tuple(axis for axis in range(size.ndim) if axis not in channels)
    zero = lax.reduce_max(size, others) == 0
    return jnp.stack([jnp.ones((), size.dtype), _share(zero, size.dtype)])


def size_record(value: Array, kept: tuple[int, ...] = ()) -> Array:
    """How large an array's elements are, as in ``SIZE``, for each index of ``kept``.

    Args:
      value: any array.
      kept: axes along which it is split.

    Returns:
      The records, of shape ``(*kept sizes, len(SIZE))``.
    """
    x, size, _ = real_parts(value, Axes(None, ()))
    others = tuple(axis for axis in range(x.ndim) if axis not in kept)
    number = max(math.prod(x.shape[axis] for axis in others), 1)
    exponent, unit = unit_of(lax.reduce_max(size, others))
    x = x * lax.expand_dims(unit, others)
    mean_square = lax.reduce_sum(x * x, others) * (1 / number)
    record = jnp.stack([jnp.ones_like(exponent), exponent, mean_square], -1)
    # What is left of the kept axes is in their order in the array.
    order = sorted(kept)
    return record.transpose(*(order.index(k) for k in kept), len(kept))


Statistics = dict[str, Any]


def statistics(record: Any) -> Statistics:
    """The statistics in a record, still in units of ``2**exponent``.

    Args:
      record: NumPy or JAX array of shape ``(..., len(FORWARD))``.

    Returns:
      Arrays of shape ``(...)`` by name, ``count`` and ``exponent`` among them.
    """
    raw = {name: record[..., i] for i, name in enumerate(FORWARD)}
    spread = raw["shifted_second_moment"] - raw["shifted_mean"] ** 2
    number = raw["cos_samples"]
    # With fewer than two samples that are not zero this is 0/0 or 0/-0: NaN.
    cos = (raw["cos_sum"] - number) / (number * (number - 1))
    return {name: raw[name] for name in _AS_IS} | {
        "var": raw["chan_var"] + spread * (spread > 0),
        "cos": cos.clip(-1, 1),
    }


_AS_IS = (
    "mean",
    "chan_sq_mean",
    "chan_var",
    "dead",
    "frac_zero",
    "frac_nonfinite",
    "count",
    "exponent",
    "absmax",
)


def merge(earlier: Array, later: Array) -> Array:
    """The record of two steps of a loop taken together; a count of 0 is neutral.

    Exact for the mean, the variance, the largest value and shares of elements; the
    mean over steps for statistics that look at one step at a time (``cos``,
    ``chan_*``, ``dead``).
    """
    if len(earlier) == len(DEAD):
        total = earlier[0] + later[0]
        return jnp.stack([total, (earlier[0] * earlier[1] + later[1]) / total])
    first = dict(zip(FORWARD, earlier, strict=True))
    second = dict(zip(FORWARD, later, strict=True))
    unit = jnp.where(
        first["count"] > 0,
        jnp.maximum(first["exponent"], second["exponent"]),
        second["exponent"],
    )
    for record in (first, second):
        # Around the mean, so that steps with different shifts can be added.
        mean, shifted = record["mean"], record["shifted_mean"]
        record["shifted_second_moment"] += mean**2 - shifted**2
        record["shifted_mean"] = mean
        ran = record["count"] > 0
        factor = jnp.where(ran, jnp.exp2(record["exponent"] - unit), 0)
        for name, power in _MERGE_POWER.items():
            record[name] = record[name] * factor**power
    total = first["count"] + second["count"]
    share = first["count"] / total
    merged = {
        name: share * first[name] + (1 - share) * second[name] for name in FORWARD
    }
    merged["absmax"] = jnp.maximum(first["absmax"], second["absmax"])
    merged["count"], merged["exponent"] = total, unit
    return jnp.stack([merged[name] for name in FORWARD])


_MERGE_POWER = {name: power for name, power in POWER.items() if name in FORWARD} | {
    "shifted_mean": 1,
    "shifted_second_moment": 2,
}


def real_parts(value: Array, axes: Axes) -> tuple[Array, Array, Axes]:
    """In the record's dtype and of rank at least 1, with the elements' magnitudes.

    A complex number's parts become two channels, times the root of 2: the mean of
    their squares is then that of the modulus.
    """
    # XLA must not see a constant: it would square it before it is scaled.
    value = lax.optimization_barrier(value)
    if value.ndim == 0:
        value, axes = value[None], Axes(None, (0,))
    dtype = record_dtype(value.dtype)
    if not jnp.iscomplexobj(value):
        x = value.astype(dtype)
        return x, lax.abs(x), axes
    size = lax.abs(value).astype(dtype)
    parts = jnp.stack([value.real, value.imag], axis=-1).astype(dtype) * _ROOT_2
    channels = (*(axis % value.ndim for axis in axes.channels), value.ndim)
    return parts, jnp.stack([size, size], axis=-1), Axes(axes.sample, channels)


_ROOT_2 = math.sqrt(2)


def _mean_of_parts(x: Array) -> Array:
    """The mean of each of a complex array's parts, which are its last axis."""
    return jnp.mean(x, axis=tuple(range(x.ndim - 1)), keepdims=True)


def unit_of(absmax: Array) -> tuple[Array, Array]:
    """``(e, 2**-e)`` with ``absmax * 2**-e`` in [1, 2), from the number's own bits."""
    form: Any = np.finfo(absmax.dtype)
    whole = np.dtype(f"int{form.bits}").type
    bits = lax.bitcast_convert_type(absmax, whole)
    bias = whole(1 - form.minexp)
    # Within these bounds neither the unit nor its inverse is subnormal. A zero, an
    # infinity and a NaN end on a bound and stay what they are.
    bound = whole(bias - 2)
    exponent = lax.clamp(-bound, (bits >> whole(form.nmant)) - bias, bound)
    unit = lax.bitcast_convert_type((bias - exponent) << whole(form.nmant), form.dtype)
    return exponent.astype(form.dtype), unit


def _share(mask: Array, dtype: np.dtype) -> Array:
    counted = lax.reduce_sum(mask.astype(dtype), tuple(range(mask.ndim)))
    return counted * (1 / max(mask.size, 1))


def sum_of_units(x: Array, sample: int | None) -> tuple[Array, Array]:
    """For the mean cosine between two samples, over samples that are not zero.

    With unit rows u_b the sum over pairs is |sum of u_b|^2 - B: no Gram matrix.
    """
    if sample is None:
        return jnp.zeros((), x.dtype), jnp.zeros((), x.dtype)
    others = tuple(axis for axis in range(x.ndim) if axis != sample)
    norm2 = lax.reduce_sum(x * x, others)
    inverse = lax.select(norm2 == 0, jnp.zeros_like(norm2), lax.rsqrt(norm2))
    # As a product: on CPU a weighted sum over the leading axis is ten times slower
    # (benchmarks/compiler.py). And as one of two rows there: a library has products of
    # matrices ready, while code for a vector's is written anew, which takes longer than
    # all else of a record.
    rows = [inverse]
    if jax.default_backend() == "cpu":
        rows.append(jnp.zeros_like(inverse))
    total = lax.dot_general(
        jnp.stack(rows),
        x,
        (((1,), (sample,)), ((), ())),
        precision=lax.Precision.HIGHEST,
    )
    number = lax.reduce_sum((norm2 != 0).astype(x.dtype), (0,))
    return lax.reduce_sum(total * total, tuple(range(total.ndim))), number
