"""What is known of the result of an equation that is no event."""

import math
from collections.abc import Callable, Sequence

from jaxinit.layers import facts
from jaxinit.layers.factors import Chain, moved, multiplied
from jaxinit.layers.facts import Fact, Unary
from jaxinit.program import primitives, versions
from jaxinit.program.axes import Layout, Shape, concatenated, rearranged
from jaxinit.program.program import CALLS, Node, is_elementwise


def elementwise(
    node: Node, operands: Sequence[Fact], gain_of: Callable[[int], int | None]
) -> Fact | None:
    """The result of an elementwise function of one event's output, if it is one.

    Args:
      node: the node.
      operands: what is known of its operands.
      gain_of: for an event that is a learned gain, the event that it multiplies: a
        leak with a learned slope is a function of that one.
    """
    equation = node.equation
    if len(equation.outvars) != 1:
        return None
    data = [f for f in operands if f.data]
    if not data or any(f.is_param for f in operands):
        return None
    bases = {f.base for f in data}
    if len(bases) == 2 and None not in bases:
        bases -= {b for b in bases if b is not None and gain_of(b) in bases}
    if len(bases) != 1:
        return None
    (base,) = bases
    if base is None:
        return None
    out = equation.outvars[0].aval
    for atom, fact in zip(equation.invars, operands, strict=True):
        if fact.data and atom.aval.shape != out.shape:
            return None
    step = _step(node, operands)
    if step is None:
        return None
    steps: tuple[str, ...] = ()
    for fact in data:
        if fact.unary is not None:
            steps += tuple(s for s in fact.unary.steps if s not in steps)
    unary = Unary(base, (*steps, step), node.at, primitives.is_float(out))
    scaled = unary.nonlinear or step in ("add", "sub")
    return Fact(
        data=True,
        up=facts.union(data).up,
        of=None if scaled else base,
        unary=unary,
        statistic=all(f.statistic for f in data),
        scales=data[0].scales if not unary.nonlinear and len(data) == 1 else None,
    )


def parameter_value(
    equation: versions.Equation, operands: Sequence[Fact]
) -> list[Fact]:
    """The results of an equation without data: still leaves, or made from them."""
    known = facts.union(operands)
    layout = None
    params = [f for f in operands if f.is_param]
    name = equation.primitive.name
    if name in ADDS and any(
        not f.params and not isinstance(atom, versions.Literal) and atom.aval.shape
        for atom, f in zip(equation.invars, operands, strict=True)
    ):
        known = known._replace(masked=True)
    if name == "fft":
        size = math.prod(equation.params["fft_lengths"])
        known = known._replace(spectrum=known.spectrum * size)
    elif name == "dot_general" and len(params) == 2:
        layout, latents = _applied(equation, operands)
        known = known._replace(latents=known.latents | latents)
    elif known.latents and name in _SUMS:
        layout, known = _sum_with_applied(equation, operands, known)
    elif name == "concatenate":
        layout = concatenated([f.layout for f in operands])
    elif name == "split":
        layout = operands[0].layout
    elif name == "stack":
        layout = concatenated([f.layout for f in operands])
        if layout is not None:
            axes = list(layout.axes)
            axes.insert(equation.params["axis"], ())
            layout = layout._replace(axes=tuple(axes))
    elif name in primitives.LAYOUT and operands[0].layout is not None:
        layout = rearranged(equation, operands[0].layout)
    elif name in primitives.ELEMENTWISE:
        out = equation.outvars[0].aval.shape
        whole = [
            f.layout
            for atom, f in zip(equation.invars, operands, strict=True)
            if f.layout is not None and atom.aval.shape == out
        ]
        # What was spread out along an axis acts on the leaf that fills it.
        filled = [w for w in whole if _fills(w, out)]
        whole = filled or whole
        if len(whole) == 1:
            layout = whole[0]
        elif name in _SUMS:  # of parts, such as a real and an imaginary one
            layout = concatenated(whole) if whole else None
        elif len(params) > 1 and len(set(whole)) == 1:
            layout = whole[0]
    known = known._replace(layout=layout, chain=_chain(equation, operands))
    return [known for _ in equation.outvars]


def _chain(equation: versions.Equation, operands: Sequence[Fact]) -> Chain | None:
    """Of which kernels a parameter value is the product, if it is one."""
    name = equation.primitive.name
    if name == "dot_general":
        return multiplied(
            equation,
            [f.layout for f in operands],
            [f.chain for f in operands],
            [not f.params for f in operands],
        )
    found = [f.chain for f in operands if f.chain is not None]
    if len(found) != 1:
        return None
    if name in primitives.LAYOUT:
        return moved(equation, found[0])
    return found[0] if name in primitives.ELEMENTWISE else None


def _applied(
    equation: versions.Equation, operands: Sequence[Fact]
) -> tuple[Layout | None, frozenset[int]]:
    """A kernel times parameters: the layout of its outputs, and what it acts on.

    Learned queries that are projected look like this; so do two factors of a kernel
    of low rank, and only what meets the product tells which they are.
    """
    left, right = operands
    if left.layout is None or right.layout is None:
        return None, frozenset()
    (_, summed), (_, stacked) = equation.params["dimension_numbers"]
    rank = len(equation.outvars[0].aval.shape)
    free = [
        axes
        for i, axes in enumerate(right.layout.axes)
        if i not in summed and i not in stacked
    ]
    axes = (*((),) * (rank - len(free)), *free)
    found = Layout(right.layout.leaves, axes, right.layout.scanned)
    return found, frozenset() if left.latents else frozenset(left.layout.leaves)


def _sum_with_applied(
    equation: versions.Equation, operands: Sequence[Fact], known: Fact
) -> tuple[Layout | None, Fact]:
    """A kernel times parameters, plus a bias; or a kernel plus factors of another."""
    out = equation.outvars[0].aval.shape
    for fact in operands:
        if fact.is_param and not fact.latents and fact.layout is not None:
            if len(fact.layout.axes) == len(out) and _fills(fact.layout, out):
                return fact.layout, known._replace(latents=frozenset())
    return next(f.layout for f in operands if f.latents), known


ADDS = ("add", "sub", "add_any", "select_n")
_SUMS = ("add", "sub", "complex", "select_n")


def _fills(layout: Layout, shape: Shape) -> bool:
    """Whether each axis of a value is an axis of the leaf."""
    return all(a or n == 1 for a, n in zip(layout.axes, shape, strict=True))


def data_value(equation: versions.Equation, operands: Sequence[Fact]) -> list[Fact]:
    """The results of an equation on data alone that is neither a join nor a tap."""
    name = equation.primitive.name
    known = facts.union(operands)
    data = [f for f in operands if f.data]
    first = operands[0]
    of = scales = source = unary = None
    if name in primitives.LAYOUT and first.data:
        scales = first.scales
        out = equation.outvars[0].aval
        same = out.size == equation.invars[0].aval.size
        if name in primitives.KEEPS_ELEMENTS or same:
            of = first.of
        if out.shape == equation.invars[0].aval.shape:
            unary = first.unary
    chosen = operands[1:] if name == "select_n" else data
    sources = {f.source for f in chosen if f.data}
    if len(sources) == 1 and (
        name in primitives.LAYOUT or name in ("add", "select_n", "max", "min", "clamp")
    ):
        (source,) = sources
    one_hot = first.one_hot if name in primitives.LAYOUT else None
    if name == "eq" and len(data) == 1:
        one_hot = _marks(equation, operands)
    elif name in ("mul", "select_n"):
        one_hot = _still_marks(operands)
    elif name == "gather" and first.one_hot is not None and not first.data:
        index = operands[1].source  # rows of the identity
        one_hot = -1 if index is None else index
    reduces = name in primitives.REDUCTIONS
    passes = name in primitives.ELEMENTWISE or name in primitives.LAYOUT
    statistic = reduces or (passes and all(f.statistic for f in data))
    rooted = passes and any(f.rooted for f in data)
    fact = known._replace(
        of=of,
        scales=scales,
        source=source,
        unary=unary,
        statistic=statistic,
        rooted=rooted or (statistic and name in ("sqrt", "rsqrt", "pow")),
        one_hot=one_hot,
        spread=_spreads(equation),
        masked=(name in ADDS or name in primitives.LAYOUT)
        and any(f.masked for f in data),
    )
    return [
        fact._replace(part=_part(equation, number))
        for number in range(len(equation.outvars))
    ]


def _part(equation: versions.Equation, number: int) -> tuple[int, int] | None:
    """Which of how many equal blocks along the last axis a result is, if it is one."""
    name, params = equation.primitive.name, equation.params
    if name not in ("split", "slice"):
        return None
    before, after = (
        v.aval.shape for v in (equation.invars[0], equation.outvars[number])
    )
    if before[:-1] != after[:-1] or not after[-1] or before[-1] % after[-1]:
        return None
    if name == "split":
        start = sum(params["sizes"][:number])
    else:
        start = params["start_indices"][-1]
    if start % after[-1] or (params.get("strides") or (1,))[-1] != 1:
        return None
    return start // after[-1], before[-1] // after[-1]


def _marks(equation: versions.Equation, operands: Sequence[Fact]) -> int | None:
    """Which integers a comparison with all classes marks, if it is one.

    They were repeated along an axis of the classes. Features that are compared with a
    number each lie along that axis themselves.
    """
    for atom, fact, other in zip(
        equation.invars, operands, reversed(equation.invars), strict=True
    ):
        constant = isinstance(other, versions.Literal) or not other.aval.shape
        whole = "int" in str(atom.aval.dtype)
        spread = bool(fact.spread) or atom.aval.shape != equation.outvars[0].aval.shape
        if fact.data and spread and not constant and whole:
            return -1 if fact.source is None else fact.source
    return None


def _still_marks(operands: Sequence[Fact]) -> int | None:
    """Which integers a product, or a choice, of marks with others still marks."""
    if not operands[0].data and len(operands) > 2:
        return None
    for fact in operands:
        if fact.data and fact.one_hot is not None:
            return fact.one_hot
    return None


def _spreads(equation: versions.Equation) -> tuple[int, ...]:
    """The axes of the result along which an equation repeats its operand."""
    if equation.primitive.name != "broadcast_in_dim":
        return ()
    before, after = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    placed = dict(zip(equation.params["broadcast_dimensions"], before, strict=True))
    return tuple(i for i, n in enumerate(after) if placed.get(i, 1) < n)


def constant_value(
    equation: versions.Equation, operands: Sequence[Fact]
) -> list[Fact] | None:
    """The results of an equation without data and parameters, if anything is known."""
    name = equation.primitive.name
    shape: Shape = ()
    if len(equation.outvars) == 1:
        shape = tuple(getattr(equation.outvars[0].aval, "shape", ()))
    square = len(shape) == 2 and shape[0] == shape[1] > 1
    if (name == "eq" and square) or (
        name in primitives.KEEPS_ELEMENTS and operands[0].one_hot is not None and square
    ):
        return [Fact(one_hot=-1)]
    return None


def _step(node: Node, operands: Sequence[Fact]) -> str | None:
    """The name of an elementwise function; none if the node is no such function."""
    name = node.primitive
    if node.kind in CALLS:
        if not is_elementwise(node.bodies[0]):
            return None
        return versions.call_name(node.equation) or name
    if name not in primitives.ELEMENTWISE:
        return None
    num_data = sum(f.data for f in operands)
    if name == "select_n" and not operands[0].data and num_data == 1:
        return "dropout"
    if num_data > 1 and name in ("mul", "div", "add", "sub"):
        return name + "_self"
    return name
