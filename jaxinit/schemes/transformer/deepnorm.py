"""DeepNorm, for transformers of a thousand layers, and Sub-LN."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxinit._typing import Initializer
from jaxinit.initializers import scale, variance_scaling
from jaxinit.initializers._check import check_count
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Network, Parameter
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.fitted import fitted, real_fans
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    RULES,
    TransformerScheme,
    drawn_by_part,
    need_attention,
    need_one_part,
    times,
)


class DeepNormConstants(NamedTuple):
    r"""What DeepNorm multiplies by in one stack.

    Attributes:
      alpha: the factor of the skip path, in :math:`\text{LN}(\alpha x + f(x))`.
      beta: the gain of the weights that are scaled.
    """

    alpha: float
    beta: float


class EncoderDecoder(NamedTuple):
    """DeepNorm's constants of a network. ``None`` for a stack that it does not have.

    Attributes:
      encoder: of the stacks without cross-attention: encoders, and decoder-only
        language models.
      decoder: of the stacks with cross-attention.
    """

    encoder: DeepNormConstants | None
    decoder: DeepNormConstants | None


def deepnorm_constants(
    num_encoder_blocks: int, num_decoder_blocks: int = 0
) -> EncoderDecoder:
    r"""DeepNorm's :math:`\alpha` and :math:`\beta`.

    :math:`N` blocks alone have :math:`\alpha = (2N)^{1/4}` and
    :math:`\beta = (8N)^{-1/4}`. An encoder of :math:`N` blocks with a decoder of
    :math:`M` has :math:`0.81 (N^4 M)^{1/16}` and :math:`0.87 (N^4 M)^{-1/16}`, and
    that decoder :math:`(3M)^{1/4}` and :math:`(12M)^{-1/4}`.

    Args:
      num_encoder_blocks: :math:`N`, blocks of the encoder, or of a model with one
        stack, encoder or decoder-only language model.
      num_decoder_blocks: :math:`M`, blocks of the decoder with cross-attention.

    Returns:
      The constants of both stacks.

    Raises:
      TypeError: if a number is no integer.
      ValueError: if a number is negative, or both are 0.

    Examples:
      >>> deepnorm_constants(12).encoder
      DeepNormConstants(alpha=2.213363839400643, beta=0.3194715521231362)

    References:
      Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000
      Layers", 2022, figure 2.
    """
    advice = "It counts blocks: an attention and an MLP are one."
    n = check_count("num_encoder_blocks", num_encoder_blocks, advice, minimum=0)
    m = check_count("num_decoder_blocks", num_decoder_blocks, advice, minimum=0)
    if not n and not m:
        raise ValueError(
            "`num_encoder_blocks` and `num_decoder_blocks` must not both be 0. "
            + advice
        )
    encoder = decoder = None
    if n and not m:
        encoder = DeepNormConstants((2 * n) ** 0.25, (8 * n) ** -0.25)
    elif n:
        size = n**4 * m
        encoder = DeepNormConstants(0.81 * size**0.0625, 0.87 * size**-0.0625)
    if m:
        decoder = DeepNormConstants((3 * m) ** 0.25, (12 * m) ** -0.25)
    return EncoderDecoder(encoder, decoder)


def deepnorm_alpha(
    model: Any,
    *args: Any,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> EncoderDecoder:
    r"""The :math:`\alpha` that a model's skip paths are to be multiplied by.

    DeepNorm is a change of the model and an initialization. The model computes
    :math:`\text{LN}(\alpha x + f(x))` where it had :math:`\text{LN}(x + f(x))`; the
    scheme ``deepnorm`` draws the weights. :math:`\alpha` depends on the number of
    blocks alone, so any :math:`\alpha` will do in the model that is given here.

    Args:
      model: as in ``initialize``.
      *args: the model's inputs; shapes will do.
      output: as in ``initialize``.
      roles: as in ``initialize``.
      branches: as in ``initialize``.
      rngs: as in ``initialize``.
      model_kwargs: as in ``initialize``.
      **kwargs: further keyword arguments of the model.

    Returns:
      The constants of encoder and decoder, as ``deepnorm_constants`` gives them for
      the blocks that are found. A new block begins with each self-attention; of
      several encoders or decoders the deepest counts.

    Raises:
      TypeError: if ``model`` is no model.
      ValueError: if the model has no attention inside a residual branch.

    Examples:
      >>> import jax.numpy as jnp
      >>> from flax import linen as nn
      >>> class Block(nn.Module):
      ...     alpha: float = 1.0
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         h = nn.MultiHeadDotProductAttention(2)(x)
      ...         x = nn.LayerNorm()(self.alpha * x + h)
      ...         h = nn.Dense(8)(nn.relu(nn.Dense(16)(x)))
      ...         return nn.LayerNorm()(self.alpha * x + h)
      >>> deepnorm_alpha(Block(), jnp.ones((1, 4, 8))).encoder.alpha
      1.189207115002721

    References:
      Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", 2022, figure 2.
    """
    given = model_arguments(kwargs, model_kwargs)
    hints = as_hints(output, roles, branches)
    network, _ = prepare(model, args, given, rngs, hints=hints)
    blocks = read_blocks(network)
    need_attention(network, blocks, "deepnorm()")
    return _constants(blocks)


def deepnorm() -> Scheme:
    r"""DeepNorm's initialization; ``deepnorm_alpha`` gives the model's part of it.

    Values, outputs of attentions and both layers of the MLPs have Glorot's normal law
    with gain :math:`\beta`, queries and keys with gain 1. Biases are 0, gains of norms
    1. Embeddings, the readout and whatever else lies outside the blocks keep what the
    model's own init draws. See ``deepnorm_constants`` for :math:`\beta`.

    Returns:
      A scheme for transformers, scanned ones included.

    Raises:
      ValueError: when used, if the model has no attention inside a residual branch, or
        one layer makes several of queries, keys and values, and the program does not
        tell which of its outputs are which.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.deepnorm()

    References:
      Wang, Ma, Dong, Huang, Zhang and Wei, "DeepNet: Scaling Transformers to 1,000
      Layers", 2022, section 3 and figure 2.
    """
    return _DeepNorm(sub_ln=False)


def sub_ln() -> Scheme:
    r"""The initialization of Sub-LN transformers (Magneto).

    As ``deepnorm``, with gains :math:`\gamma` in place of :math:`\beta` that grow with
    depth, for models with a second norm inside each branch, before its last layer:
    :math:`\gamma = \sqrt{\log 2N}` for :math:`N` blocks alone,
    :math:`\sqrt{\tfrac13 \log 3M \log 2N}` for an encoder with a decoder of :math:`M`
    blocks, and :math:`\sqrt{\log 3M}` for that decoder. Skip paths have no factor.

    Returns:
      A scheme for transformers, scanned ones included.

    Raises:
      ValueError: as ``deepnorm``.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.sub_ln()

    References:
      Wang et al., "Foundation Transformers", 2022, section 2.2 and figure 2.
    """
    return _DeepNorm(sub_ln=True)


@dataclass(frozen=True)
class _DeepNorm(TransformerScheme):
    sub_ln: bool

    @property
    def call(self) -> str:
        return "sub_ln()" if self.sub_ln else "deepnorm()"

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_attention(network, blocks, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment | None:
        if not blocks.stack(layer).num_blocks:
            return None

        glorot = variance_scaling(1.0, "fan_avg", "normal")

        def law(part: str, kernel: Parameter) -> Initializer:
            return fitted(scale(glorot, self._gain(part, layer, blocks)), kernel)

        by_part = drawn_by_part(layer, law)
        if by_part is not None:
            return by_part

        def example(part: str, layer: Layer) -> str:
            fan_in, fan_out = real_fans(layer.parameter)
            std = math.sqrt(2 / (fan_in + fan_out / len(layer.parts)))
            return f"normal({std * self._gain(part, layer, blocks):.6g})"

        part = need_one_part(layer, self.call, example)
        gain = self._gain(part, layer, blocks)
        return times(layer.parameter, glorot, gain, RULES[part])

    def outside(self, parameter: Parameter, blocks: Blocks) -> None:
        return None

    def table(self, parameter: Parameter, blocks: Blocks) -> None:
        return None

    def _gain(self, part: str, layer: Layer, blocks: Blocks) -> float:
        if part in ("query", "key", "lead"):
            return 1.0
        cross = blocks.stack(layer).cross
        if not self.sub_ln:
            constants = _constants(blocks)[cross]
            assert constants is not None
            return constants.beta
        n, m = blocks.num_blocks(cross=False), blocks.num_blocks(cross=True)
        if cross:
            return math.sqrt(math.log(3 * m))
        if m:
            return math.sqrt(math.log(3 * m) * math.log(2 * n) / 3)
        return math.sqrt(math.log(2 * n))


def _constants(blocks: Blocks) -> EncoderDecoder:
    return deepnorm_constants(
        blocks.num_blocks(cross=False), blocks.num_blocks(cross=True)
    )
