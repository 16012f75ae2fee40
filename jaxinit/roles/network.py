"""What a scheme sees of a model: its parameters and what each of them does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinit._caches import cached
from jaxinit.layers.event import Event, Use
from jaxinit.layers.find import Sites, find_sites
from jaxinit.layers.names import param_name
from jaxinit.models.arguments import Arguments
from jaxinit.models.trace import Traced
from jaxinit.program import versions
from jaxinit.program.flow import Flow
from jaxinit.roles.anchors import Anchors
from jaxinit.roles.parts import Part
from jaxinit.roles.structure import NO_HINTS, Hints, Structure, read_structure
from jaxinit.roles.structure import ROLES as ROLES

Array = jax.Array


class Parameter(NamedTuple):
    """One parameter leaf of a model.

    Attributes:
      leaf: its index among the model's parameters.
      path: its path in the tree of parameters.
      shape: its shape, as it is stored.
      dtype: its dtype.
      roles: what it does, as read off the model's program; one or more of ``ROLES``.
      use: how it is used as a weight, with its real fans; ``None`` if it is none.
      layers: lengths of the scans that slice it, outermost first.
      layer_axes: the axes that they slice.
      parts: for a fused kernel, the kernels that lie side by side in it.
      pieces: for a kernel that is cut along its inputs, into pieces whose products are
        not added to each other, which inputs are whose. The use is then that of the
        largest piece.
    """

    leaf: int
    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    roles: frozenset[str]
    use: Use | None
    layers: tuple[int, ...] = ()
    layer_axes: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    pieces: tuple[frozenset[int], ...] = ()

    @property
    def name(self) -> str:
        return param_name(self.path)


@dataclass(frozen=True, eq=False)
class Network:
    """A traced model and the reading of it.

    Attributes:
      traced: the model's programs.
      sites: its layers and joins.
      anchors: where these are in the flow graph of its forward pass.
      structure: its residual branches and attentions.
      params: its parameters, in the order of the model's leaves.
      given: the arguments that it was traced with; shapes in place of arrays.
      hints: what the user said of it.
      taken: leaves that a rule of the user's has taken; a scheme leaves them alone.
    """

    traced: Traced
    sites: Sites
    anchors: Anchors
    structure: Structure
    params: tuple[Parameter, ...]
    given: Arguments
    hints: Hints = NO_HINTS
    taken: frozenset[int] = frozenset()

    def having(self, *roles: str) -> list[Parameter]:
        """The parameters, not taken yet, that have one of ``roles``.

        Raises:
          ValueError: if a role is unknown.
        """
        for role in roles:
            check_role(role)
        wanted = set(roles)
        return [p for p in self.free if p.roles & wanted]

    @property
    def in_order(self) -> list[Parameter]:
        """All parameters in the order in which data meets them; the rest last."""
        return [self.params[leaf] for leaf in self.sites.leaf_order(len(self.params))]

    @property
    def free(self) -> list[Parameter]:
        """The parameters that no rule of the user's has taken."""
        return [p for p in self.params if p.leaf not in self.taken]

    def event(self, number: int) -> Event:
        """The event that structure and ancestry know by ``number``."""
        return self.sites.ancestry[number]

    def without(self, leaves: frozenset[int]) -> "Network":
        """The same network with more leaves taken."""
        return replace(self, taken=self.taken | leaves)

    def forward(
        self,
        params: Sequence[Array],
        state: Sequence[Array],
        key: Array,
        inputs: Sequence[Array],
    ) -> Any:
        """The model's output for the given leaves; pure.

        Args:
          params: one array for each of ``self.params``.
          state: the model's other variables.
          key: for dropout and the like.
          inputs: the model's array inputs.

        Returns:
          The output, as the model returns it.
        """
        values = [*params, *state, key, *inputs]
        return self.traced.output(versions.evaluate(self.traced.apply, values))


def check_role(role: str) -> None:
    """Raises a ValueError unless ``role`` is one of ``ROLES``."""
    if role not in ROLES:
        raise ValueError(f"`role` must be one of {', '.join(ROLES)}, got {role!r}.")


def read_network(traced: Traced, given: Arguments, hints: Hints = NO_HINTS) -> Network:
    """Reads a traced model: its layers, its structure, the roles of its parameters."""
    shapes = given._replace(inputs=tuple(given.shapes))
    return Network(traced, read_sites(traced), *_reading(traced, hints), shapes, hints)


@cached(16)
def _reading(
    traced: Traced, hints: Hints
) -> tuple[Anchors, Structure, tuple[Parameter, ...]]:
    sites = read_sites(traced)
    flow = Flow(
        traced.forward,
        traced.param_positions,
        traced.state_positions,
        [*traced.input_positions, *(traced.param_positions[i] for i in sites.latents)],
    )
    anchors = Anchors(flow, sites)
    structure = read_structure(anchors, traced, hints)
    first: dict[int, Use] = {}
    for event in sites.events:
        for use in event.uses:
            if event.operation != "gather":
                first.setdefault(use.leaf, use)
    params = []
    for leaf, path in enumerate(traced.params):
        aval = traced.apply.jaxpr.invars[leaf].aval
        axes = sites.scanned.get(leaf, ())
        used = first.get(leaf)
        pieces = structure.pieces.get(leaf, ()) if used else ()
        if used and pieces:
            used = _largest(used, pieces, aval)
            (axis,) = used.in_axis
            whole = len(pieces) > 1 and sum(map(len, pieces)) == aval.shape[axis]
            pieces = pieces if whole else ()
        parts = _parts_as_used(structure.parts.get(leaf, ()), used, aval)
        params.append(
            Parameter(
                leaf,
                path,
                tuple(aval.shape),
                aval.dtype,
                structure.roles[leaf],
                _whole(used, aval) if used and parts else used,
                tuple(aval.shape[axis] for axis in axes),
                tuple(axes),
                parts,
                pieces,
            )
        )
    return anchors, structure, tuple(params)


def _parts_as_used(
    parts: tuple[Part, ...], use: Use | None, aval: Any
) -> tuple[Part, ...]:
    """The parts, if they cover the outputs of the leaf's first use."""
    if use is None or use.groups > 1 or not use.in_axis:
        return ()
    size = math.prod(aval.shape[axis] for axis in use.out_axis)
    return parts if sum(len(part.outputs) for part in parts) == size else ()


def _largest(use: Use, pieces: tuple[frozenset[int], ...], aval: Any) -> Use:
    """The use of the inputs that are summed together; of several such, the most."""
    named = {*use.in_axis, *use.out_axis, *use.batch_axis}
    taps = math.prod(n for axis, n in enumerate(aval.shape) if axis not in named)
    return use._replace(fan_in=max(map(len, pieces)) * taps)


def _whole(use: Use, aval: Any) -> Use:
    """The use of all parts of a kernel, where the first may be that of one."""
    named = {*use.in_axis, *use.batch_axis}
    rest = (n for axis, n in enumerate(aval.shape) if axis not in named)
    return use._replace(fan_out=max(use.fan_out, math.prod(rest)))


@cached(16)
def read_sites(traced: Traced) -> Sites:
    """The layers and joins of a traced model."""
    return find_layers(traced)


def find_layers(traced: Traced) -> Sites:
    """The same for a program that is seen once, and not to be kept."""
    return find_sites(
        traced.forward,
        traced.param_positions,
        traced.input_positions,
        [parts[:-1] for parts in traced.params],
    )
