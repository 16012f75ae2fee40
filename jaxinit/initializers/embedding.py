"""Tables of embeddings, by the conventions of libraries and models."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_choice
from jaxinit.initializers._value import family

# Standard deviation, or None for 1/sqrt(features).
_STDDEVS: dict[str, float | None] = {
    "flax": None,
    "torch": 1.0,
    "t5": 1.0,
    "palm": 1.0,
    "gpt2": 0.02,
    "gpt2_position": 0.01,
    "keras": 0.05 / math.sqrt(3),  # of U(-0.05, 0.05)
}


@family
def embedding(
    kind: str = "flax",
    padding_index: int | None = None,
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Rows of an embedding table ``(vocab, features)``.

    A lookup picks one row, so the scale of a row is the scale of the signal, and the
    size of the vocabulary does not matter. Fan-based rules that count it (Glorot's)
    make rows far too small.

    ======================  =========================================
    kind                    law
    ======================  =========================================
    ``"flax"``              :math:`N(0, 1/d)`, :math:`d` features
    ``"torch"``             :math:`N(0, 1)`
    ``"t5"``, ``"palm"``    :math:`N(0, 1)`, with scaled logits
    ``"gpt2"``              :math:`N(0, 0.02^2)`, tokens
    ``"gpt2_position"``     :math:`N(0, 0.01^2)`, positions as released
    ``"keras"``             :math:`U(\pm 0.05)`
    ======================  =========================================

    If the table is also the readout, either scale the logits by :math:`1/\sqrt d`
    (with the kinds of variance 1), or take ``"flax"`` and multiply the embeddings by
    :math:`\sqrt d`.

    Args:
      kind: one of the names above.
      padding_index: the row that is zero, for the token that pads; negative ones
        count from the end.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for shapes of two axes, features last.

    Raises:
      ValueError: if ``kind`` is unknown, or, when called, if the shape does not have
        two axes or no row ``padding_index``.

    Examples:
      >>> table = embedding("gpt2", padding_index=0)(jax.random.key(0), (100, 64))
      >>> float(abs(table[0]).max())
      0.0

    References:
      Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
      Raffel et al., "Exploring the Limits of Transfer Learning with a Unified
      Text-to-Text Transformer", 2020, section 2.1.
      Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", 2022,
      section 5.
    """
    check_choice("kind", kind, tuple(_STDDEVS), "Or use `normal` with your own std.")

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        if kind == "keras":
            table = _draw.uniform(key, shape, dtype, -1.0, 1.0, 0.05, sharding)
        else:
            stddev = _STDDEVS[kind] or 1 / math.sqrt(shape[1])
            full = _draw.compute_dtype(dtype)
            table = _draw.normal(key, shape, full, stddev, sharding).astype(dtype)
        if padding_index is None:
            return table
        padding = jnp.arange(shape[0]) == padding_index % shape[0]
        return jnp.where(padding[:, None], jnp.zeros((), dtype), table)

    def check_shape(shape: tuple[int, ...]) -> None:
        if len(shape) != 2:
            raise ValueError(
                f"`shape` must be (vocab, features), got {shape}. Wrap in `stacked` "
                "for several tables in one array."
            )
        if padding_index is not None and not -shape[0] <= padding_index < shape[0]:
            raise ValueError(
                f"`padding_index` is {padding_index}, but the table has {shape[0]} "
                "rows. Name one of them."
            )

    return _draw.from_maker(
        make, dtype, check_shape=check_shape, kinds="real", law=f"{kind} embedding"
    )
