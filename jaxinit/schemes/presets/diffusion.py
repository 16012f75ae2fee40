"""The laws of diffusion transformers."""

from dataclasses import dataclass

from jaxinit.initializers import glorot_uniform, normal, zeros
from jaxinit.initializers._check import shown
from jaxinit.roles.network import Network
from jaxinit.schemes.presets._of_layers import Layers, norms
from jaxinit.schemes.residual.structure import readouts
from jaxinit.schemes.rules import override
from jaxinit.schemes.scheme import Assignment, Scheme, drawn


def dit(modulation: str, *, timestep: str | None = None) -> Scheme:
    r"""The initialization of DiT, with adaLN-zero.

    Kernels, that of the patches as a dense one among them, are ``glorot_uniform()``;
    tables of labels :math:`N(0, 0.02^2)`; the layers that embed the time
    :math:`N(0, 0.02^2)`; biases 0. What makes the scales, shifts and gates of the
    blocks and of the last norm is 0, kernels and biases, and so is the readout: every
    block begins as the identity, and the network predicts 0.

    Positions are those of the model (DiT has fixed ones).

    Args:
      modulation: a pattern of the paths of the modulations' parameters, as in
        ``path``: ``"**/adaLN_modulation/*"``.
      timestep: likewise of the kernels that embed the time: ``"t_embedder/*/kernel"``.
        Without it they are drawn as other kernels.

    Returns:
      A scheme.

    Raises:
      TypeError: if a pattern is no text.
      ValueError: when used, if a pattern matches nothing.

    Examples:
      >>> scheme = dit("**/modulation/*", timestep="time_*/kernel")

    References:
      Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023, section
      3.2; the laws are those of its code, ``DiT.initialize_weights``.
    """
    given = [("modulation", modulation, zeros)]
    if timestep is not None:
        given.append(("timestep", timestep, normal(0.02)))
    for name, pattern, _ in given:
        if not isinstance(pattern, str) or not pattern:
            raise TypeError(
                f"`{name}` must be a pattern of paths, such as '**/modulation/*', got "
                f"{shown(pattern)}."
            )
    return override(_DiT(), [(pattern, init) for _, pattern, init in given])


@dataclass(frozen=True)
class _DiT(Scheme):
    def assign(self, network: Network) -> list[Assignment]:
        last, found = readouts(network), list(norms(network).values())
        for weight in network.having("weight", "embedding"):
            if "embedding" in weight.roles:
                found.append(drawn(weight, normal(0.02), "tables"))
            elif weight.leaf in last:
                found.append(drawn(weight, zeros, "the readout"))
            else:
                found.append(drawn(weight, glorot_uniform(), "kernels"))
        return found + [drawn(b, zeros, "biases") for b in Layers(network).biases()]
