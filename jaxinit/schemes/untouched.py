"""What a scheme leaves alone: kinds that it keeps on purpose, and all the rest."""

from collections.abc import Collection

from jaxinit._warnings import warn
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Scheme


class UntouchedWarning(UserWarning):
    """A parameter that may be a weight keeps what the model's own init draws."""


_KEPT = {
    "embedding": "a table",
    "position": "a position",
    "token": "a token",
    "norm_scale": "the scale of a norm",
    "norm_bias": "the shift of a norm",
    "gate_bias": "the bias of a gate",
    "readout_bias": "a bias",
    "bias": "a bias",
    "gain": "a gain",
}
"""What a scheme for weights may leave, and how it is called."""

_REWRITTEN = frozenset({"fft", "dot_general", "conv_general_dilated"})
"""What makes a kernel out of parameters that meet data as plain factors."""


def reason(parameter: Parameter, network: Network, scheme: Scheme) -> str:
    """Why a scheme keeps a parameter that it does not draw.

    Args:
      parameter: the parameter.
      network: the network that it belongs to.
      scheme: the scheme.

    Returns:
      The reason in a few words; empty if none is known, so that the parameter may
      well be a weight that the program hides.
    """
    for role, text in _KEPT.items():
        if role in parameter.roles and not (
            role == "gain" and _is_kernel(parameter, network)
        ):
            if role == "embedding" and "weight" in parameter.roles:
                tied = "readout" in parameter.roles
                return f"a table that is {'the readout' if tied else 'a kernel'} too"
            return text
    met = parameter.leaf not in network.sites.unreached
    if met and "weight" not in parameter.roles and not _is_kernel(parameter, network):
        return "one number a channel"
    return scheme.leaves(parameter)


def suspects(
    network: Network, taken: Collection[int], scheme: Scheme
) -> list[Parameter]:
    """The parameters that a scheme neither draws nor keeps on purpose.

    Args:
      network: the network.
      taken: the leaves that the scheme draws or changes.
      scheme: the scheme.
    """
    return [
        p
        for p in network.params
        if p.leaf not in taken and p.shape and not reason(p, network, scheme)
    ]


def warn_of_untouched(network: Network, taken: Collection[int], scheme: Scheme) -> None:
    """Names the parameters that a scheme neither draws nor keeps on purpose."""
    left = suspects(network, taken, scheme)
    if not left:
        return
    unreached = set(network.sites.unreached)
    names = ", ".join(f"{p.name} {p.shape}" for p in left[:8])
    more = f" and {len(left) - 8} more" if len(left) > 8 else ""
    if left[0].leaf in unreached:
        why = f"no data meets {left[0].name} in this call"
    else:
        why = f"the program does not show {left[0].name} as a weight with fans"
    warn(
        f"this scheme leaves {names}{more} of {network.traced.name} as the model's own "
        f"init draws them: {why}. Give each a rule: override(scheme, "
        f"[({left[0].name!r}, as_stored(initializer))]); to keep its values on "
        f"purpose, [({left[0].name!r}, changed(lambda old: old))].",
        UntouchedWarning,
    )


def _is_kernel(parameter: Parameter, network: Network) -> bool:
    """Whether what counts as a gain has more entries than a channel has gains."""
    apart = {*parameter.layer_axes}
    wide = [n for i, n in enumerate(parameter.shape) if i not in apart and n > 1]
    return len(wide) > 1 or _is_rewritten(parameter.leaf, network)


def _is_rewritten(leaf: int, network: Network) -> bool:
    """Whether the model computes a kernel from it, such as a spectrum."""
    flow = network.anchors.flow
    return any(
        node.primitive in _REWRITTEN
        and any(leaf in flow.leaves[v] and flow.is_param(v) for v in node.results)
        for node in flow.nodes
    )
