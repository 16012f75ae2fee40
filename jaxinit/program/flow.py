"""A program as one flat graph: each value, what computes it and what uses it.

Called programs are laid out in place, so that a pattern that spans several of them (a
softmax in a function of its own between two products) is a path in the graph. Loops
are laid out once; what their results feed back is the second operand of a ``carry``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxinit.program import primitives, versions
from jaxinit.program.axes import Shape
from jaxinit.program.liveness import live_equations, live_of_scan
from jaxinit.program.paths import Location, Path

CARRY, SLICE, STACK, CHOICE = "loop_carry", "loop_slice", "loop_stack", "branch_choice"
_OPAQUE = frozenset({"pallas_call"})


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
      leaves: for each value without data, the parameter leaves it is computed from.
      state: for each value without data, whether it depends on the model's state.
    """

    def __init__(
        self,
        program: versions.Program,
        params: Sequence[int],
        state: Sequence[int],
        inputs: Sequence[int],
    ) -> None:
        self.nodes: list[Node] = []
        self.values: list[Value] = []
        self._backs: dict[int, int] = {}
        entry = [self._value(var) for var in program.jaxpr.invars]
        self.outputs = tuple(self._read(program, entry, (), ()))
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
        seen, todo = set[int](), list(start)
        entered = set[int]()
        while todo:
            value = todo.pop(0)
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
        seen, todo = set[int](), list(start)
        while todo:
            value = todo.pop(0)
            if value in seen:
                continue
            seen.add(value)
            for number, position in self.users[value]:
                yield number, position
                if passes(number, position):
                    todo += self.nodes[number].results

    # Reading.

    def _value(self, atom: Any, maker: int | None = None) -> int:
        aval = atom.aval
        literal = atom.val if isinstance(atom, versions.Literal) else None
        shape = tuple(getattr(aval, "shape", ()))
        self.values.append(Value(shape, primitives.is_float(aval), maker, literal))
        return len(self.values) - 1

    def _add(
        self,
        primitive: str,
        equation: versions.Equation,
        operands: Sequence[int],
        results: Sequence[Any],
        place: tuple[Location, tuple[Path, ...]],
    ) -> list[int]:
        number = len(self.nodes)
        made = [self._value(var, number) for var in results]
        self.nodes.append(
            Node(primitive, equation, tuple(operands), tuple(made), *place)
        )
        return made

    def _read(
        self,
        program: versions.Program,
        entry: Sequence[int],
        path: Path,
        loops: tuple[Path, ...],
        wanted: Sequence[bool] | None = None,
    ) -> list[int]:
        known: dict[Any, int] = dict(zip(program.jaxpr.invars, entry, strict=True))

        def number_of(atom: Any) -> int:
            if isinstance(atom, versions.Literal):
                return self._value(atom)
            if atom not in known:
                known[atom] = self._value(atom)
            return known[atom]

        live = live_equations(program.jaxpr, wanted)
        for index, equation in enumerate(program.jaxpr.eqns):
            if index in live and equation.outvars:  # a print or a check gives nothing
                operands = [number_of(atom) for atom in equation.invars]
                place = (Location(path, index), loops)
                results = self._equation(equation, operands, place, live[index])
                known.update(zip(equation.outvars, results, strict=True))
        return [number_of(atom) for atom in program.jaxpr.outvars]

    def _equation(
        self,
        equation: versions.Equation,
        operands: list[int],
        place: tuple[Location, tuple[Path, ...]],
        wanted: Sequence[bool],
    ) -> list[int]:
        at, loops = place
        name = equation.primitive.name
        inside = (*at.path, (at.equation, 0))
        match name:
            case "scan":
                return self._scan(equation, operands, place, wanted)
            case "while":
                parts = versions.while_parts(equation)
                held = operands[parts.num_condition_consts :]
                split = parts.num_body_consts
                return self._loop(
                    equation, parts.body, (held[:split], held[split:], []), place
                )
            case "cond":
                branches = [
                    self._read(
                        branch, operands[1:], (*at.path, (at.equation, number)), loops
                    )
                    for number, branch in enumerate(versions.branch_programs(equation))
                ]
                return [
                    self._add(CHOICE, equation, (operands[0], *chosen), [var], place)[0]
                    for var, *chosen in zip(equation.outvars, *branches, strict=True)
                ]
            case "shard_map":
                body = versions.shard_map_parts(equation).body
                entry = [
                    self._add("copy", equation, [value], [var], place)[0]
                    for value, var in zip(operands, body.jaxpr.invars, strict=True)
                ]
                results = self._read(body, entry, inside, (*loops, inside))
                return [
                    self._add("copy", equation, [value], [var], place)[0]
                    for value, var in zip(results, equation.outvars, strict=True)
                ]
        inner = versions.called_program(equation)
        if inner is not None and name not in _OPAQUE:
            if len(inner.jaxpr.outvars) == len(equation.outvars):
                return self._read(inner, operands, inside, loops, wanted)
        return self._add(name, equation, operands, equation.outvars, place)

    def _scan(
        self,
        equation: versions.Equation,
        operands: list[int],
        place: tuple[Location, tuple[Path, ...]],
        wanted: Sequence[bool],
    ) -> list[int]:
        parts = versions.scan_parts(equation)
        split = parts.num_consts + parts.num_carry
        inner = parts.body.jaxpr.invars[split:]
        scanned = [
            self._add(SLICE, equation, [value], [var], place)[0]
            for value, var in zip(operands[split:], inner, strict=True)
        ]
        entry = (operands[: parts.num_consts], operands[parts.num_consts : split])
        live = live_of_scan(parts, wanted)
        results = self._loop(equation, parts.body, (*entry, scanned), place, live)
        stacked = [
            self._add(STACK, equation, [value], [var], place)[0]
            for value, var in zip(
                results[parts.num_carry :],
                equation.outvars[parts.num_carry :],
                strict=True,
            )
        ]
        return [*results[: parts.num_carry], *stacked]

    def _loop(
        self,
        equation: versions.Equation,
        body: versions.Program,
        entry: tuple[Sequence[int], Sequence[int], Sequence[int]],
        place: tuple[Location, tuple[Path, ...]],
        wanted: Sequence[bool] | None = None,
    ) -> list[int]:
        at, loops = place
        consts, carry, scanned = entry
        inside = (*at.path, (at.equation, 0))
        around = (*loops, inside)
        first = len(self.nodes)
        held = [
            self._add(CARRY, equation, [value], [var], (at, around))[0]
            for value, var in zip(carry, body.jaxpr.invars[len(consts) :], strict=False)
        ]
        start = [*consts, *held, *scanned]
        results = self._read(body, start, inside, around, wanted)
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
        changed = True
        while changed:  # again where a loop feeds back what is not known yet
            changed = False
            for node in self.nodes:
                if primitives.is_random(node.primitive):
                    continue
                data = any(self.data[v] for v in node.operands)
                leaves = frozenset[int]().union(
                    *(self.leaves[v] for v in node.operands)
                )
                stateful = any(self.state[v] for v in node.operands)
                for value in node.results:
                    old = self.data[value], self.leaves[value], self.state[value]
                    if old != (data, leaves, stateful):
                        self.data[value] = data
                        self.leaves[value], self.state[value] = leaves, stateful
                        changed = True
