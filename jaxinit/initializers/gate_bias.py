"""Biases of the gates of recurrent cells.

They come with a ``layout`` for cells that keep the biases of all gates in one vector: a
letter for each gate, in order. ``"f"`` (a forget gate) and ``"z"`` (an update gate that
keeps the old state, as Flax's GRU has) are initialized, ``"i"`` gets the matching input
gate's bias, every other letter zeros.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_choice, check_number
from jaxinit.initializers._jit import jit
from jaxinit.initializers._value import Init, family

Gate = Literal["forget", "input"]
_Draw: TypeAlias = Callable[[jax.Array, tuple[int, ...], np.dtype], jax.Array]


@family
def forget_gate_bias(
    value: float = 1.0, layout: str | None = None, dtype: DTypeLike | None = None
) -> Initializer:
    r"""A positive bias for the forget gate, zeros for the others.

    With zero biases a cell forgets half of its state at each step, so gradients halve
    too. At 1 it keeps :math:`\sigma(1) = 0.73`.

    Args:
      value: the bias of the forget gate.
      layout: the gates of a fused bias, ``"ifgo"`` for ``nnx.OptimizedLSTMCell``; see
        the top of this module. None for a parameter that is a forget gate's alone,
        such as ``hf/bias`` of Flax linen's LSTM cells.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., units)`` or ``(..., gates * units)``.

    Raises:
      TypeError: if ``value`` is not a number.
      ValueError: if ``layout`` has no forget gate, or, when called, if its length does
        not divide the last axis.

    Examples:
      >>> forget_gate_bias(1.0, layout="ifgo")(jax.random.key(0), (4,))
      Array([0., 1., 0., 0.], dtype=float32)

    References:
      Gers et al., "Learning to Forget: Continual Prediction with LSTM", 2000.
      Jozefowicz et al., "An Empirical Exploration of Recurrent Network
      Architectures", 2015, section 2.2.
    """
    value = check_number("value", value, "It is the bias of the forget gate.")

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: np.dtype) -> jax.Array:
        del key
        return jnp.full(shape, value, dtype)

    law = f"forget gate {value:g}"
    return _gate_bias(draw, "forget", layout, dtype, coupled=False, law=law)


@family
def chrono(
    t_max: float,
    gate: Gate = "forget",
    layout: str | None = None,
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Forget biases :math:`\log u`, :math:`u \sim U[1, T_{\max} - 1]`, and input
    biases that are their negatives.

    A unit with forget gate :math:`\sigma(b)` remembers for :math:`1/(1-\sigma(b)) =
    1 + u` steps: units cover the time scales from 2 to :math:`T_{\max}`.

    Args:
      t_max: the longest dependency expected, in steps, above 2.
      gate: for a parameter of one gate, which one it is. Called with the same key,
        ``"input"`` gives the negative of ``"forget"``.
      layout: the gates of a fused bias, such as ``"ifgo"`` for
        ``nnx.OptimizedLSTMCell`` or ``"rzn"`` for ``nnx.GRUCell``; see the top of this
        module.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., units)`` or ``(..., gates * units)``.

    Raises:
      TypeError: if ``t_max`` is not a number.
      ValueError: if ``t_max`` is not above 2, ``gate`` is unknown or ``layout`` has no
        forget gate, or, when called, if its length does not divide the last axis.

    Examples:
      >>> b = chrono(100.0)(jax.random.key(0), (64,))
      >>> bool((b >= 0).all() and (b <= jnp.log(99.0)).all())
      True

    References:
      Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018, section
      2.2.
    """
    advice = "It is the longest time lag in steps, above 2: the sequence's length."
    t_max = check_number("t_max", t_max, advice, low=2)

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: np.dtype) -> jax.Array:
        return _log(_draw.uniform(key, shape, dtype, 1.0, t_max - 1))

    law = f"{gate} gate for memories up to {t_max:g} steps"
    return _gate_bias(draw, gate, layout, dtype, law=law)


@family
def uniform_gate(
    eps: float | None = None,
    gate: Gate = "forget",
    layout: str | None = None,
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Forget biases :math:`\log(u/(1-u))`, :math:`u \sim U[\epsilon, 1-\epsilon]`,
    and input biases that are their negatives.

    The gates' own values are then uniform, and so are their time scales' inverses.

    Args:
      eps: the distance :math:`\epsilon` that gates keep from 0 and 1; one over the
        number of units by default.
      gate: for a parameter of one gate, which one it is. Called with the same key,
        ``"input"`` gives the negative of ``"forget"``.
      layout: the gates of a fused bias, such as ``"ifgo"``; see the top of this module.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., units)`` or ``(..., gates * units)``.

    Raises:
      TypeError: if ``eps`` is not a number.
      ValueError: if ``eps`` is not between 0 and 1/2, ``gate`` is unknown or
        ``layout`` has no forget gate, or, when called, if its length does not divide
        the last axis or if there are fewer than 3 units and no ``eps``.

    Examples:
      >>> b = uniform_gate()(jax.random.key(0), (64,))
      >>> bool((jax.nn.sigmoid(b) > 1 / 65).all())
      True

    References:
      Gu et al., "Improving the Gating Mechanism of Recurrent Neural Networks", 2020,
      section 3.3.
    """
    if eps is not None:
        advice = "Gates keep this distance from 0 and 1: one over the units."
        eps = check_number("eps", eps, advice, low=0, high=0.5)

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: np.dtype) -> jax.Array:
        low = 1 / shape[-1] if eps is None else eps
        u = _draw.uniform(key, shape, dtype, low, 1 - low)
        return _logit(u)

    units = 3 if eps is None else 1
    law = f"{gate} gate of uniform values"
    return _gate_bias(draw, gate, layout, dtype, min_units=units, law=law)


def _gate_bias(
    draw: _Draw,
    gate: str,
    layout: str | None,
    dtype: DTypeLike | None,
    *,
    coupled: bool = True,
    min_units: int = 1,
    law: str,
) -> Init:
    """The forget biases of ``draw``, placed by the layout."""
    check_choice("gate", gate, ("forget", "input"), "Other gates take `zeros`.")
    if layout is not None and not (
        isinstance(layout, str) and {"f", "z"} & set(layout)
    ):
        raise ValueError(
            "`layout` must name the gates of the fused bias by letters, one of them "
            f"'f' or 'z', got {layout!r}. Use 'ifgo' for nnx.OptimizedLSTMCell and "
            "'rzn' for nnx.GRUCell."
        )
    num_gates = 1 if layout is None else len(layout)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        forget = draw(key, (*shape[:-1], shape[-1] // num_gates), dtype)
        if layout is None:
            return forget if gate == "forget" else -forget
        nothing = jnp.zeros_like(forget)
        parts = {"f": forget, "z": forget, "i": -forget if coupled else nothing}
        return jnp.concatenate([parts.get(g, nothing) for g in layout], axis=-1)

    def check_shape(shape: tuple[int, ...]) -> None:
        if not shape or shape[-1] % num_gates:
            raise ValueError(
                f"`layout` {layout!r} has {num_gates} gates, which do not divide the "
                f"last axis of the shape {shape}. Name every gate of the cell."
            )
        units = shape[-1] // num_gates
        if 0 not in shape and units < min_units:
            raise ValueError(
                f"`eps` must be given for fewer than {min_units} units, got {units} in "
                f"the shape {shape}. Pass 0.1, say."
            )

    return _draw.from_sampler(
        sampler, dtype, check_shape=check_shape, kinds="real", law=law
    )


# Compiled, so that a call by itself rounds as one inside a compiled function.


@jit()
def _log(u: jax.Array) -> jax.Array:
    return jnp.log(u)


@jit()
def _logit(u: jax.Array) -> jax.Array:
    return jnp.log(u) - jnp.log1p(-u)
