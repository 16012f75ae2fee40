"""Kernels in which every unit has a fixed number of incoming weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, Scalar
from jaxinit.initializers import _draw
from jaxinit.initializers._check import (
    check_count,
    check_kernel,
    check_number,
    shown,
)
from jaxinit.initializers._value import family
from jaxinit.initializers.fans import normalize_axes


@family
def sparse(
    num_nonzero: int | None = None,
    stddev: Scalar = 1.0,
    out_axis: int = -1,
    dtype: DTypeLike | None = None,
    *,
    fraction: float | None = None,
) -> Initializer:
    r"""Exactly ``num_nonzero`` incoming weights for each output, the rest zero.

    Their positions are uniformly random and distinct, counted over all inputs and
    taps, and their values :math:`N(0, \sigma^2)`. The pre-activation of an input of
    variance 1 then has variance :math:`k \sigma^2` whatever the fan-in, and units stay
    as different as in a small layer. A layer with fewer inputs gets all of them.

    Biases are zero. With tanh units, take biases of 0.5 and ``scale(sparse(), 0.25)``.
    Other libraries often limit the *outgoing* weights of each input instead.

    Args:
      num_nonzero: the number of incoming weights :math:`k` of each output; 15 if
        ``fraction`` is not given either.
      stddev: the standard deviation :math:`\sigma` of the weights that are not zero.
      out_axis: the axis of the outputs.
      dtype: the dtype of the result where none is given.
      fraction: the fraction of weights that *are zero*, from 0 to 1, in place of
        ``num_nonzero``, as the sparsity of other libraries; rounded up to whole
        weights.

    Returns:
      An initializer for shapes of at least two axes.

    Raises:
      TypeError: if an argument is not a number.
      ValueError: if ``num_nonzero`` is below 1, ``stddev`` negative or ``fraction``
        not in [0, 1], or, when called, if the shape has fewer than two axes.

    Examples:
      >>> w = sparse(3)(jax.random.key(0), (16, 4))
      >>> (w != 0).sum(axis=0).tolist()
      [3, 3, 3, 3]

    References:
      Martens, "Deep learning via Hessian-free optimization", 2010, section 5.
      Sutskever et al., "On the importance of initialization and momentum in deep
      learning", 2013, section 3.
    """
    stddev = _draw.check_scale("stddev", stddev, "deviation of the non-zero weights")
    if np.ndim(stddev):
        raise TypeError(f"`stddev` must be a number, got {shown(stddev)}.")
    if num_nonzero is not None:
        check_count("num_nonzero", num_nonzero, "It counts each output's weights.")
    if fraction is not None:
        if num_nonzero is not None:
            raise ValueError(
                f"`fraction` and `num_nonzero` say the same thing, got {fraction} and "
                f"{num_nonzero}. Give one of them."
            )
        advice = "It is the fraction of weights that are zero: 0.9 keeps a tenth."
        fraction = check_number(
            "fraction", fraction, advice, low=0, high=1, closed=True
        )

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        (axis,) = normalize_axes("out_axis", (out_axis,), shape)
        outputs = shape[axis]
        fan_in = math.prod(shape) // outputs
        if fraction is None:
            kept = min(num_nonzero or 15, fan_in)
        else:
            # 0.07 * 100 is above 7 by rounding alone.
            kept = fan_in - math.ceil(round(fraction * fan_in, 6))
        key_place, key_value = jax.random.split(key)
        # The places of the smallest uniforms: distinct even where uniforms are equal.
        u = _draw.uniform(key_place, (fan_in, outputs), np.float32)
        rows = jnp.argsort(u, axis=0)[:kept]
        values = _draw.normal(key_value, (kept, outputs), dtype, stddev)
        columns = jnp.broadcast_to(jnp.arange(outputs), rows.shape)
        w = jnp.zeros((fan_in, outputs), dtype).at[rows, columns].set(values)
        rest = [length for a, length in enumerate(shape) if a != axis]
        return jnp.moveaxis(w.reshape(*rest, outputs), -1, axis)

    def check_shape(shape: tuple[int, ...]) -> None:
        check_kernel(shape)
        normalize_axes("out_axis", (out_axis,), shape)

    kept = f"{num_nonzero or 15}" if fraction is None else f"all but {fraction:g}"
    law = f"normal in {kept} of each output's inputs, else 0"
    return _draw.from_sampler(sampler, dtype, check_shape=check_shape, law=law)
