"""GPT-2's initialization, and Megatron's form of it."""

import math
from dataclasses import dataclass

from jaxinit.initializers._check import check_number
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Scheme
from jaxinit.schemes.transformer._blocks import Blocks, Layer, read_blocks
from jaxinit.schemes.transformer._transformer_scheme import (
    TransformerScheme,
    gaussian,
    need_branches,
)


def gpt2(stddev: float = 0.02, *, position_stddev: float | None = None) -> Scheme:
    r"""GPT-2's initialization.

    Every weight and every embedding is :math:`N(0, \sigma^2)`, and the weights that
    end a residual branch have :math:`\sigma / \sqrt N`, where :math:`N` is the number
    of branches added to the stream: two for each block, three if it has
    cross-attention. So the branches of the whole stack add what one would. Biases are
    0, gains of norms 1.

    The number of branches is counted in each residual stream by itself, layers of a
    scan included.

    Args:
      stddev: :math:`\sigma`, the standard deviation.
      position_stddev: that of learned positions, by default ``stddev``. GPT-2 as
        released has 0.01.

    Returns:
      A scheme for any network with residual branches. Fused query, key and value
      projections need no rule of their own.

    Raises:
      TypeError: if a standard deviation is no number.
      ValueError: if a standard deviation is not positive; when used, if the model has
        no residual branches.

    Examples:
      >>> import jax.numpy as jnp, jaxinit
      >>> from flax import linen as nn
      >>> class Residual(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return x + nn.Dense(64)(nn.gelu(nn.Dense(256)(x)))
      >>> variables = jaxinit.initialize(
      ...     Residual(), jaxinit.gpt2(), 0, jnp.ones((1, 64))
      ... )
      >>> round(float(variables["params"]["Dense_0"]["kernel"].std()), 3)
      0.02

    References:
      Radford, Wu, Child, Luan, Amodei and Sutskever, "Language Models are Unsupervised
      Multitask Learners", 2019, section 2.3.
    """
    call = "gpt2()" if stddev == 0.02 else f"gpt2({stddev})"
    return _made(call, stddev, position_stddev, truncated=False)


def full_megatron(
    stddev: float = 0.02, *, position_stddev: float | None = None
) -> Scheme:
    r"""GPT-2's initialization with normals cut at three standard deviations.

    As ``gpt2``, but no sample is further than :math:`3 \sigma` from 0. As in the
    reference the law is not scaled up for it, so that the samples have a standard
    deviation of :math:`0.98657839\,\sigma`.

    Args:
      stddev: :math:`\sigma`, the standard deviation before truncation.
      position_stddev: that of learned positions, by default ``stddev``.

    Returns:
      A scheme for any network with residual branches.

    Raises:
      TypeError: if a standard deviation is no number.
      ValueError: if a standard deviation is not positive; when used, if the model has
        no residual branches.

    Examples:
      >>> import jaxinit
      >>> scheme = jaxinit.full_megatron(0.02)

    References:
      Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models
      Using Model Parallelism", 2019, section 4.2. Groeneveld et al., "OLMo", 2024, for
      the truncation.
    """
    call = "full_megatron()" if stddev == 0.02 else f"full_megatron({stddev})"
    return _made(call, stddev, position_stddev, truncated=True)


def _made(
    call: str, stddev: float, position_stddev: float | None, *, truncated: bool
) -> Scheme:
    advice = "It is the standard deviation of the weights; GPT-2 has 0.02."
    stddev = check_number("stddev", stddev, advice, low=0)
    position = stddev
    if position_stddev is not None:
        advice = "It is the standard deviation of learned positions."
        position = check_number("position_stddev", position_stddev, advice, low=0)
    return _GPT2(call, stddev, position, truncated)


@dataclass(frozen=True)
class _GPT2(TransformerScheme):
    written: str
    stddev: float
    position_stddev: float
    truncated: bool

    @property
    def call(self) -> str:
        return self.written

    def blocks(self, network: Network) -> Blocks:
        blocks = read_blocks(network)
        need_branches(network, blocks, self.call)
        return blocks

    def inside(self, layer: Layer, blocks: Blocks) -> Assignment:
        if not layer.is_end:
            return self._drawn(layer.parameter, self.stddev, "inside a branch")
        std = self.stddev / math.sqrt(blocks.stack(layer).num_ends)
        return self._drawn(layer.parameter, std, "end of a branch")

    def outside(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        return self._drawn(parameter, self.stddev, "outside the branches")

    def table(self, parameter: Parameter, blocks: Blocks) -> Assignment:
        if "position" in parameter.roles:
            return self._drawn(parameter, self.position_stddev, "positions")
        return self._drawn(parameter, self.stddev, "embeddings")

    def _drawn(self, parameter: Parameter, std: float, rule: str) -> Assignment:
        return gaussian(parameter, std, rule, cut=3.0 if self.truncated else None)
