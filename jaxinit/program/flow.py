"""A program as one flat graph: each value, what computes it and what uses it.

Called programs are laid out in place, so that a pattern that spans several of them (a
softmax in a function of its own between two products) is a path in the graph. Loops
are laid out once; what their results feed back is the second operand of a ``carry``.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxinit.program import primitives, versions
from jaxinit.program.axes import Shape
from jaxinit.program.paths import Location, Path
from jaxinit.program.program import Constant, Region
from jaxinit.program.program import Node as Source
from jaxinit.program.read import read

CARRY, SLICE, STACK, CHOICE = "loop_carry", "loop_slice", "loop_stack", "branch_choice"


class Node(NamedTuple):
    """An equation, or a step into or out of a loop.

    Attributes:
      primitive: its name.
      equation: the equation; the loop or the ``cond`` for a step in or out.
      operands, results: numbers of values.
      at: where it is.
      loops: the ways in to the programs of the loops around it, outermost first.
    """

    primitive: str
    equation: versions.Equation
    operands: tuple[int, ...]
    results: tuple[int, ...]
    at: Location
    loops: tuple[Path, ...]

    @property
    def params(self) -> dict[str, Any]:
        found: dict[str, Any] = self.equation.params
        return found


class Value(NamedTuple):
    """A value of the program.

    Attributes:
      shape: its shape.
      is_float: whether it holds floating point numbers.
      maker: the number of the node that computes it; ``None`` for an input or a
        constant.
      literal: a constant written in the program.
    """

    shape: Shape
    is_float: bool
    maker: int | None = None
    literal: Any = None


class Flow:
    """The graph of a program.

    Args:
      program: the model's forward pass.
      params, state, inputs: positions of the parameters, of the model's other
        variables and of the data among the program's inputs.

    Attributes:
      nodes: all nodes, in the order in which they run.
      values: all values.
      users: for each value, the nodes that use it, with the operand's position.
      outputs: the values that the program returns.
      data: for each value, whether it depends on the model's inputs.
      leaves: for each value without data, the parameter leaves it is computed from;
        none for the others.
      state: for each value without data, whether it depends on the model's state.
    """

    def __init__(
        self,
        program: Region,
        params: Sequence[int],
        state: Sequence[int],
        inputs: Sequence[int],
    ) -> None:
        self.nodes: list[Node] = []
        self.values: list[Value] = []
        self._backs: dict[int, int] = {}
        self._around: tuple[Path, ...] = ()
        entry = [self._value(var.aval) for var in program.source.jaxpr.invars]
        self.outputs = tuple(read(program, entry, self))
        for number, back in self._backs.items():
            node = self.nodes[number]
            self.nodes[number] = node._replace(operands=(*node.operands, back))
        self.users: list[list[tuple[int, int]]] = [[] for _ in self.values]
        for number, node in enumerate(self.nodes):
            for position, value in enumerate(node.operands):
                self.users[value].append((number, position))
        self.data = [False] * len(self.values)
        self.leaves: list[frozenset[int]] = [frozenset()] * len(self.values)
        self.state = [False] * len(self.values)
        self._color(
            [entry[i] for i in params],
            [entry[i] for i in state],
            [entry[i] for i in inputs],
        )

    # Paths.

    def is_param(self, value: int) -> bool:
        return bool(self.leaves[value]) and not self.data[value]

    def upstream(
        self, start: Iterable[int], passes: Callable[[Node, int], bool]
    ) -> Iterator[int]:
        """The nodes that the values come from, nearest first, each once.

        Args:
          start: the values.
          passes: whether to go on from a node to one of its operands.
        """
        seen, todo = set[int](), deque(start)
        entered = set[int]()
        while todo:
            value = todo.popleft()
            maker = self.values[value].maker
            if value in seen or maker is None:
                continue
            seen.add(value)
            node = self.nodes[maker]
            if maker not in entered:
                entered.add(maker)
                yield maker
            todo += [
                operand
                for position, operand in enumerate(node.operands)
                if passes(node, position)
            ]

    def downstream(
        self, start: Iterable[int], passes: Callable[[int, int], bool]
    ) -> Iterator[tuple[int, int]]:
        """The nodes that use the values, and at which position, each once.

        Args:
          start: the values.
          passes: whether to go on to a node's results, by its number and the
            operand's position.
        """
        seen, todo = set[int](), deque(start)
        while todo:
            value = todo.popleft()
            if value in seen:
                continue
            seen.add(value)
            for number, position in self.users[value]:
                yield number, position
                if passes(number, position):
                    todo += self.nodes[number].results

    def gathered(
        self, marks: Mapping[int, int], passes: Callable[[Node, int], bool]
    ) -> list[int]:
        """For each value, the marks of all nodes that it comes from.

        Args:
          marks: for some nodes, their marks as the bits of an integer.
          passes: whether to go on from a node to one of its operands.
        """
        found = [0] * len(self.values)
        again = True
        while again:
            again = False
            for number, node in enumerate(self.nodes):
                here = marks.get(number, 0)
                for position, operand in enumerate(node.operands):
                    above = found[operand]
                    if above and passes(node, position):
                        here = here | above if here else above
                for value in node.results:
                    if found[value] != here:
                        found[value] = here
                        again = bool(self._backs)  # a loop feeds it back
        return found

    def before(
        self, values: Iterable[int], passes: Callable[[int], bool]
    ) -> frozenset[int]:
        """The values, and all from which nodes that pass lead to one of them."""
        seen, todo = set[int](), list(values)
        while todo:
            value = todo.pop()
            maker = self.values[value].maker
            if value not in seen and maker is not None and passes(maker):
                todo += self.nodes[maker].operands
            seen.add(value)
        return frozenset(seen)

    # Reading.

    def constant(self, constant: Constant | None) -> int:
        if constant is None:
            return self._value(None)
        return self._value(
            constant.aval, literal=constant.value if constant.literal else None
        )

    def node(self, node: Source, operands: list[int]) -> Sequence[int]:
        made = [var.aval for var in node.equation.outvars]
        match node.kind:
            case "op":
                return self._add(node.primitive, node, operands, made)
            case "scan":
                return self._scan(node, operands)
            case "while":
                parts = versions.while_parts(node.equation)
                held = operands[parts.num_condition_consts :]
                split = parts.num_body_consts
                return self._loop(node, held[:split], held[split:], [])
            case "cond":
                branches = [read(body, operands[1:], self) for body in node.bodies]
                return [
                    self._add(CHOICE, node, (operands[0], *chosen), [aval])[0]
                    for aval, *chosen in zip(made, *branches, strict=True)
                ]
            case "shards":
                (body,) = node.bodies
                inner = [var.aval for var in body.source.jaxpr.invars]
                results = self._within(
                    node, body, self._each("copy", node, operands, inner)
                )
                return self._each("copy", node, results, made)
        return read(node.bodies[0], operands, self)

    def _value(self, aval: Any, maker: int | None = None, literal: Any = None) -> int:
        shape = tuple(getattr(aval, "shape", ()))
        self.values.append(Value(shape, primitives.is_float(aval), maker, literal))
        return len(self.values) - 1

    def _add(
        self, primitive: str, node: Source, operands: Sequence[int], made: Sequence[Any]
    ) -> list[int]:
        number = len(self.nodes)
        results = [self._value(aval, number) for aval in made]
        if results:  # a print or a check gives nothing
            self.nodes.append(
                Node(
                    primitive,
                    node.equation,
                    tuple(operands),
                    tuple(results),
                    node.at,
                    self._around,
                )
            )
        return results

    def _each(
        self, primitive: str, node: Source, operands: Sequence[int], made: Sequence[Any]
    ) -> list[int]:
        """A step into or out of a body for each of several values."""
        return [
            self._add(primitive, node, [value], [aval])[0]
            for value, aval in zip(operands, made, strict=True)
        ]

    def _within(self, node: Source, body: Region, entry: Sequence[int]) -> list[int]:
        """Reads a body that runs several times."""
        around, self._around = self._around, (*self._around, node.inside())
        results = read(body, entry, self)
        self._around = around
        return results

    def _scan(self, node: Source, operands: list[int]) -> list[int]:
        parts = versions.scan_parts(node.equation)
        first, split = parts.num_consts, parts.num_consts + parts.num_carry
        inner = [var.aval for var in parts.body.jaxpr.invars[split:]]
        scanned = self._each(SLICE, node, operands[split:], inner)
        results = self._loop(node, operands[:first], operands[first:split], scanned)
        made = [var.aval for var in node.equation.outvars[parts.num_carry :]]
        stacked = self._each(STACK, node, results[parts.num_carry :], made)
        return [*results[: parts.num_carry], *stacked]

    def _loop(
        self,
        node: Source,
        consts: Sequence[int],
        carry: Sequence[int],
        scanned: Sequence[int],
    ) -> list[int]:
        """What is carried comes from outside or, as second operand, from the body."""
        body = node.bodies[0]
        first, inner = len(self.nodes), body.source.jaxpr.invars[len(consts) :]
        around, self._around = self._around, (*self._around, node.inside())
        held = [
            self._add(CARRY, node, [value], [var.aval])[0]
            for value, var in zip(carry, inner, strict=False)
        ]
        self._around = around
        results = self._within(node, body, [*consts, *held, *scanned])
        for slot in range(len(carry)):
            self._backs[first + slot] = results[slot]
        return results

    def _color(
        self, params: Sequence[int], state: Sequence[int], inputs: Sequence[int]
    ) -> None:
        for leaf, value in enumerate(params):
            self.leaves[value] = frozenset({leaf})
        for value in state:
            self.state[value] = True
        for value in inputs:
            self.data[value] = True
        again = True
        while again:
            again = False
            for node in self.nodes:
                if primitives.is_random(node.primitive):
                    continue
                data = any(self.data[v] for v in node.operands)
                leaves = frozenset[int]()
                if not data:
                    leaves = leaves.union(*(self.leaves[v] for v in node.operands))
                stateful = any(self.state[v] for v in node.operands)
                for value in node.results:
                    old = self.data[value], self.leaves[value], self.state[value]
                    if old != (data, leaves, stateful):
                        self.data[value] = data
                        self.leaves[value], self.state[value] = leaves, stateful
                        again = bool(self._backs)  # a loop feeds it back
