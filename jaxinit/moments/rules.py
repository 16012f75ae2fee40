"""What each operation makes of what is known of its operands."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxinit.moments import layout, reductions
from jaxinit.moments.elementwise import elementwise
from jaxinit.moments.law import Law, Source, discrete, shrunk
from jaxinit.moments.products import factor, product
from jaxinit.moments.values import (
    KEY,
    Context,
    Key,
    Known,
    Rearranged,
    Value,
    Weight,
    as_law,
    known,
    no_rule,
)
from jaxinit.program import primitives, versions

# Random bits, as evenly spaced numbers.
_LEVELS = 1000


def primitive(
    context: Context, equation: versions.Equation, operands: Sequence[Value]
) -> list[Value]:
    """The results of one equation.

    Raises:
      ValueError: if there is no rule for it.
      Rearranged: if it computes with weights as no layer does.
    """
    name = equation.primitive.name
    atoms = [*equation.invars, *equation.outvars]
    if any(np.issubdtype(_dtype(atom), np.complexfloating) for atom in atoms):
        raise no_rule(context, equation, "it computes with complex numbers")
    if name == "random_bits":
        return [_bits(equation.outvars[0].aval)]
    if name.startswith(("random_", "threefry")):
        return [KEY for _ in equation.outvars]
    if any(isinstance(v, Key) for v in operands):
        if name in primitives.LAYOUT | {"concatenate", "stack", "unstack", "gather"}:
            return [KEY for _ in equation.outvars]
        raise no_rule(context, equation, "it computes with random keys")
    if name in primitives.IDENTITIES:
        return list(operands[: len(equation.outvars)])
    if primitives.is_sum_over_devices(name) or name in _ALONE:
        if not _is_alone(equation):
            raise no_rule(context, equation, "it joins several devices")
        return list(operands)
    if all(isinstance(v, Known) for v in operands):
        return _evaluated(equation, operands)
    if name in primitives.CONTRACTIONS:
        return [product(context, equation, operands)]
    if any(isinstance(v, Weight) for v in operands):
        if name == "mul":
            summed = factor(context, operands, equation.outvars[0].aval.shape)
            if summed is not None:
                return [summed]
        return _kernel(equation, operands)
    laws = [as_law(value) for value in operands]
    if name in primitives.ELEMENTWISE:
        if name in ("select_n", "convert_element_type", "bitcast_convert_type"):
            if primitives.is_float(equation.outvars[0].aval):
                if not primitives.is_float(equation.invars[0].aval):
                    context.check_known(laws[0], equation)
        return [elementwise(equation, laws)]
    rule = layout.RULES.get(name) or reductions.RULES.get(name)
    if rule is None:
        raise no_rule(context, equation, "there is no rule for it")
    results = rule(equation, laws)
    if context.batch and name in primitives.REDUCTIONS:
        return [_over_samples(context.batch, equation, laws[0], x) for x in results]
    return results


def _over_samples(
    batch: int, equation: versions.Equation, operand: Law, value: Value
) -> Value:
    """A reduction, with a note if it is over samples, which then have it in common."""
    axes, shape = equation.params.get("axes", ()), equation.invars[0].aval.shape
    if 0 not in axes or shape[0] != batch or not isinstance(value, Law):
        return value
    count = float(batch) if math.prod(shape[a] for a in axes) == batch else math.inf

    def marked(source: Source) -> Source:
        if source.key in operand.keys:
            return source
        return replace(source, alike=1.0, samples=count)

    return replace(value, sources=tuple(map(marked, value.sources)))


_ALONE = frozenset("pmean all_gather all_to_all ppermute".split())


def _is_alone(equation: versions.Equation) -> bool:
    """Whether what is exchanged between devices stays what it is, as there is one."""
    return (
        all(
            getattr(before.aval, "shape", None) == getattr(after.aval, "shape", None)
            for before, after in zip(equation.invars, equation.outvars, strict=True)
        )
        and versions.num_devices(equation) == 1
    )


def _dtype(atom: Any) -> Any:
    dtype = getattr(atom.aval, "dtype", np.dtype(bool))
    return dtype if isinstance(dtype, np.dtype) else np.dtype(bool)


# Without data.


def _evaluated(equation: versions.Equation, operands: Sequence[Value]) -> list[Value]:
    """An equation on known values; axes that only hold copies are kept so."""
    name, params = equation.primitive.name, equation.params
    aval = equation.outvars[0].aval
    if name == "iota":
        sizes = [1] * len(params["shape"])
        sizes[params["dimension"]] = -1
        count = np.arange(params["shape"][params["dimension"]]).astype(params["dtype"])
        return [Known(np.broadcast_to(count.reshape(sizes), params["shape"]))]
    arrays = [
        np.asarray(value.array, atom.aval.dtype)
        for value, atom in zip(operands, equation.invars, strict=True)
        if isinstance(value, Known)
    ]
    if name == "broadcast_in_dim":
        sizes = [1] * len(aval.shape)
        for axis, n in zip(
            params["broadcast_dimensions"], arrays[0].shape, strict=True
        ):
            sizes[axis] = n
        return [Known(np.broadcast_to(arrays[0].reshape(sizes), aval.shape))]
    if name in primitives.ELEMENTWISE and all(a.shape == aval.shape for a in arrays):
        small = np.broadcast_arrays(*(shrunk(a) for a in arrays))
        (result,) = versions.bind(equation, [np.array(a) for a in small])
        plain = known(result)
        assert isinstance(plain, Known)
        return [Known(np.broadcast_to(plain.array, aval.shape))]
    return [known(result) for result in versions.bind(equation, arrays)]


def _bits(aval: Any) -> Law:
    """Random integers: evenly spaced ones stand for all."""
    bits = np.dtype(aval.dtype).itemsize * 8
    step = 2.0**bits / _LEVELS
    levels = ((np.arange(_LEVELS) + 0.5) * step).astype(aval.dtype)
    weights = np.full(_LEVELS, 1 / _LEVELS)
    return discrete(levels, weights, aval.shape, alike=0.0)


# Weights.


def _kernel(equation: versions.Equation, operands: Sequence[Value]) -> list[Value]:
    """A weight that is rearranged or multiplied by constants stays one."""
    name = equation.primitive.name
    shapes = [tuple(var.aval.shape) for var in equation.outvars]
    weights = [value for value in operands if isinstance(value, Weight)]
    leaves = frozenset(leaf for weight in weights for leaf, _ in weight.of)
    first = weights[0]
    others = [value for value in operands if not isinstance(value, Weight)]
    if (
        name in primitives.LAYOUT | {"gather", "split", "unstack", "neg", "pad"}
        and operands[0] is first
    ):
        return [first._replace(shape=shape) for shape in shapes]
    if (
        name in ("concatenate", "stack")
        and len({w.factor for w in weights}) == 1
        and not others
    ):
        of = tuple(dict.fromkeys(pair for weight in weights for pair in weight.of))
        return [Weight(of, first.factor, shapes[0])]
    if name in ("mul", "div") and len(weights) == 1 and isinstance(others[0], Known):
        if name == "mul" or operands[0] is first:
            size = np.asarray(others[0].array, np.float64)
            size = np.square(1 / size if name == "div" else size).mean()
            return [first._replace(factor=first.factor * math.sqrt(size))]
    raise Rearranged(leaves)
