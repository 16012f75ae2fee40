"""Parameters that a model's own init sets to one side of 0, as biases of gates are."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._caches import cached
from jaxinit.draw.own_init import OwnDraw
from jaxinit.models.trace import Traced

_DRAWS = 16
"""One number that is drawn around 0 has the same sign so often once in 2^15 times."""


def one_sided(
    traced: Traced, leaves: Sequence[int], shapes: Sequence[Any]
) -> frozenset[int]:
    """Those leaves all entries of which have the same sign, none 0, in each draw.

    A model needs such a value, where it is a bias's: it sets the memory of a gate, the
    step of a state-space model, or how rare a class is.

    Args:
      traced: the model.
      leaves: the leaves that are asked for.
      shapes: of the model's inputs.
    """
    return _one_sided(traced, tuple(leaves), tuple(shapes)) if leaves else frozenset()


@cached(16)
def _one_sided(
    traced: Traced, leaves: tuple[int, ...], shapes: tuple[Any, ...]
) -> frozenset[int]:
    program = traced.init
    impl: Any = None if program is None else program.jaxpr.invars[0].aval.dtype
    with jax.ensure_compile_time_eval():
        inputs = [jnp.zeros(shape.shape, shape.dtype) for shape in shapes]
        first = OwnDraw(traced, leaves)(jax.random.key(0, impl=impl), *inputs)
        found = [i for i, x in enumerate(first) if has_one_sign(x)]
        if not found:
            return frozenset()
        again = OwnDraw(traced, [leaves[i] for i in found])
        keys = jax.random.split(jax.random.key(1, impl=impl), _DRAWS)
        drawn = again.batched(keys, *inputs)
    return frozenset(
        leaves[i] for i, x in zip(found, drawn, strict=True) if has_one_sign(x)
    )


def has_one_sign(value: jax.Array) -> bool:
    """Whether all entries of a value are above 0, or all below."""
    array = np.asarray(value)
    real = array.size and not np.iscomplexobj(array)
    return bool(real) and bool((array > 0).all() or (array < 0).all())
