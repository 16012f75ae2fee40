"""Propagates mean and variance through a model's program, without data.

Every value is what is known of its typical entry: a number, a law, a kernel whose
variance is still to be chosen, or a random key.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxinit.initializers._activations import _float64_on_host
from jaxinit.moments import rules
from jaxinit.moments.entry import (
    entry_values,
    own_draw,
    zero_biases,
)
from jaxinit.moments.law import Law
from jaxinit.moments.mixtures import mixture
from jaxinit.moments.values import (
    KEY,
    UNKNOWN,
    Chosen,
    Context,
    Key,
    Known,
    Rearranged,
    Unknown,
    Value,
    Weight,
    as_law,
    chance_of,
    first_slice,
    known,
    no_rule,
)
from jaxinit.program import versions
from jaxinit.program.program import Constant, Node
from jaxinit.program.read import read
from jaxinit.roles.network import Network


class Moments(NamedTuple):
    """Mean and variance of a typical entry."""

    mean: float
    variance: float


class Propagated(NamedTuple):
    """What ``propagate`` finds.

    Attributes:
      variances: for each weight leaf an array of the variances of its entries: one for
        each of its stacked layers, a scalar if it is not stacked.
      zeros: the biases, which were taken to be zero.
      outputs: the moments of the model's outputs, leaf by leaf; ``None`` for one that
        holds no real numbers.
    """

    variances: dict[int, np.ndarray]
    zeros: frozenset[int]
    outputs: tuple[Moments | None, ...]


def propagate(network: Network, mean: float = 0.0, variance: float = 1.0) -> Propagated:
    r"""Chooses every weight's variance so that its layer's output is (0, 1).

    Biases are zero; all other parameters are as one draw of the model's own init has
    them, so that constants among them (the scales of norms) are exact.

    Args:
      network: a network that was read.
      mean: of every real input.
      variance: of every real input.

    Returns:
      The variances, and the moments of the outputs.

    Raises:
      ValueError: if an operation has no rule, or nothing reaches a weight.
    """
    weights = frozenset(
        p.leaf
        for p in network.params
        if "weight" in p.roles and "embedding" not in p.roles and p.use is not None
    )
    own: dict[int, Value] = {}
    while True:
        own.update(own_draw(network, weights, own))
        try:
            with _float64_on_host(), np.errstate(all="ignore"):
                return _propagate(network, weights, own, mean, variance)
        except Rearranged as found:  # these are no kernels but make one
            weights -= found.leaves


def _propagate(
    network: Network,
    weights: frozenset[int],
    own: dict[int, Value],
    mean: float,
    variance: float,
) -> Propagated:
    context = Context(network)
    entry = entry_values(network, context, weights, own, mean, variance)
    outputs = read_laws(context, entry)
    missing = [leaf for leaf in sorted(weights) if leaf not in context.chosen]
    missing = [leaf for leaf in missing if leaf not in network.sites.unreached]
    if missing:
        name = network.params[missing[0]].name
        raise ValueError(
            f"autoinit finds that only zeros reach {name}, so that no variance gives "
            "its layer an output of variance 1. Something before it starts at zero, "
            f"and an initializer must be given: override(scheme, [({name!r}, ...)])."
        )
    return Propagated(
        {leaf: _stack(context.chosen[leaf], network, leaf) for leaf in context.chosen},
        zero_biases(network),
        tuple(map(moments_of, outputs)),
    )


def read_laws(context: Context, entry: Sequence[Value]) -> list[Value]:
    """What is known of a model's outputs, if that much is known of its inputs."""
    return read(context.network.traced.forward, entry, _Laws(context))


def moments_of(value: Value) -> Moments | None:
    if not _is_real(value):
        return None
    law = as_law(value)
    return Moments(law.mean, law.variance)


def _is_real(value: Value) -> bool:
    if isinstance(value, Law):
        return np.issubdtype(value.values.dtype, np.floating)
    return isinstance(value, Known) and np.issubdtype(value.array.dtype, np.floating)


def _stack(chosen: Chosen, network: Network, leaf: int) -> np.ndarray:
    layers = network.params[leaf].layers
    result = np.empty(layers)
    for index in np.ndindex(*layers):
        result[index] = chosen.get(index, next(iter(chosen.values())))
    return result


# Nodes.


class _Laws:
    """The law of every value; the variances of weights are chosen on the way."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def constant(self, constant: Constant | None) -> Value:
        if constant is None:
            return KEY
        dtype = getattr(constant.aval, "dtype", None) if constant.literal else None
        return known(constant.value, dtype)

    def node(self, node: Node, operands: list[Value]) -> Sequence[Value]:
        context = self._context
        context.path, context.at = node.at.path, node.at.equation
        results = self._going_on(node, operands)
        if context.watch is not None:
            return context.watch(node.at.path, node.at.equation, results)
        return results

    def _going_on(self, node: Node, operands: list[Value]) -> Sequence[Value]:
        """The results, unknown where there is no rule and reading is to go on."""
        stops = self._context.stops
        if stops is None:
            return self._results(node, operands)
        nothing = [UNKNOWN] * len(node.results)
        if node.kind == "op" and any(isinstance(v, Unknown) for v in operands):
            return nothing
        try:
            return self._results(node, operands)
        except (ValueError, TypeError, NotImplementedError) as error:
            stops.append(str(error))
            return nothing

    def _results(self, node: Node, operands: list[Value]) -> Sequence[Value]:
        match node.kind:
            case "op":
                return rules.primitive(self._context, node.equation, operands)
            case "scan":
                return self._scan(node, operands)
            case "while":
                return self._while(node, operands)
            case "cond":
                return self._cond(node, operands)
            case "shards":  # one of the devices, which are all alike
                (body,) = node.bodies
                shapes = [tuple(v.aval.shape) for v in body.source.jaxpr.invars]
                operands = list(map(_part, operands, shapes))
        return read(node.bodies[0], operands, self)

    def _scan(self, node: Node, operands: list[Value]) -> list[Value]:
        """Step by step: each slice of a stack of kernels gets a variance of its own.

        Once the moments of the carry have settled and every step does the same, the
        rest of the steps is taken to be like the last.
        """
        parts = versions.scan_parts(node.equation)
        split = parts.num_consts + parts.num_carry
        consts, carry = operands[: parts.num_consts], operands[parts.num_consts : split]
        stacked = operands[split:]
        alike = not any(isinstance(v, Weight | Known) for v in stacked)
        steps: list[list[Value]] = []
        order = range(parts.length)
        for step in reversed(order) if parts.reverse else order:
            slices = [first_slice(value, step) for value in stacked]
            before = carry
            results = read(node.bodies[0], [*consts, *carry, *slices], self)
            carry = results[: parts.num_carry]
            steps.append(results[parts.num_carry :])
            if alike and len(steps) > 1 and _is_settled(before, carry):
                break
        if parts.reverse:
            steps.reverse()
        outvars = node.equation.outvars[parts.num_carry :]
        ys = [_stacked([s[i] for s in steps], v.aval) for i, v in enumerate(outvars)]
        return [*carry, *ys]

    def _while(self, node: Node, operands: list[Value]) -> list[Value]:
        parts = versions.while_parts(node.equation)
        split = parts.num_condition_consts + parts.num_body_consts
        first = operands[: parts.num_condition_consts]
        consts = operands[parts.num_condition_consts : split]
        carry = operands[split:]
        body, condition = node.bodies
        while True:
            (go_on,) = read(condition, [*first, *carry], self)
            if not isinstance(go_on, Known):
                reason = "its length depends on data"
                raise no_rule(self._context, node.equation, reason)
            if not bool(go_on.array):
                return carry
            carry = read(body, [*consts, *carry], self)

    def _cond(self, node: Node, operands: list[Value]) -> list[Value]:
        """The branch that is taken, or the mixture if chance or data decides."""
        index, *rest = operands
        count = len(node.bodies)
        if isinstance(index, Known):
            number = min(max(int(index.array), 0), count - 1)
            return read(node.bodies[number], rest, self)
        law = as_law(index)
        self._context.check_known(law, node.equation)
        results = [read(branch, rest, self) for branch in node.bodies]
        mixed: list[Value] = []
        for position, var in enumerate(node.equation.outvars):
            values = [result[position] for result in results]
            if any(isinstance(v, Key | Weight | Unknown) for v in values):
                unknown = any(isinstance(v, Unknown) for v in values)
                mixed.append(UNKNOWN if unknown else KEY)
                continue
            parts = [
                (chance_of(law, number, count), as_law(v))
                for number, v in enumerate(values)
            ]
            mixed.append(mixture(parts, tuple(var.aval.shape)))
        return mixed


def _part(value: Value, shape: tuple[int, ...]) -> Value:
    """A device's part of a value."""
    if isinstance(value, Known):
        return Known(value.array[tuple(slice(0, n) for n in shape)])
    return value._replace(shape=shape) if isinstance(value, Weight) else value


# Two steps of a recurrence whose moments differ by less are one.
_SETTLED = 1e-6


def _stacked(values: list[Value], aval: Any) -> Value:
    if all(isinstance(v, Known) for v in values):
        arrays = [v.array for v in values if isinstance(v, Known)]
        if len(arrays) == aval.shape[0]:
            return Known(np.stack(arrays))
    if any(isinstance(v, Unknown) for v in values):
        return UNKNOWN
    if any(isinstance(v, Key) for v in values):
        return KEY
    return mixture([(1.0, as_law(v)) for v in values], tuple(aval.shape))


def _is_settled(before: list[Value], after: list[Value]) -> bool:
    for old, new in zip(before, after, strict=True):
        if isinstance(old, Law) and isinstance(new, Law):
            scale = max(new.second_moment, 1e-300)
            if abs(old.second_moment - new.second_moment) > _SETTLED * scale:
                return False
            if abs(old.mean - new.mean) > _SETTLED * scale**0.5:
                return False
        elif old is not new:
            return False
    return True
