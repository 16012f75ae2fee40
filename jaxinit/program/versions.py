"""All that differs between the versions of jax that are supported.

The rest of the package reads jaxprs through this file alone. Up to jax 0.10 an inner
program is a ``ClosedJaxpr`` around a ``Jaxpr``; from 0.11 it is a ``Jaxpr`` that holds
its constants. ``scan`` counted its operands in ``num_consts`` and ``num_carry`` up to
0.10 and lists them in ``ft_in`` since.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax

# jax's own types leave out what the abstract values of a program's variables have.
Jaxpr: TypeAlias = Any
Equation: TypeAlias = Any
Literal = jex.Literal
Var = jex.Var

TRANSPARENT_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})
REMAT_CALLS = frozenset({"remat2", "remat", "checkpoint"})
CUSTOM_RULES = frozenset(
    {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin"}
)


class Program(NamedTuple):
    """A jaxpr and the values of its constants."""

    jaxpr: Jaxpr
    consts: Sequence[Any]


class Scan(NamedTuple):
    """The parts of a ``scan`` equation: operands are constants, carry, scanned."""

    body: Program
    num_consts: int
    num_carry: int
    length: int
    reverse: bool
    unroll: Any


class While(NamedTuple):
    """The parts of a ``while`` equation: operands are both constants, then carry."""

    condition: Program
    body: Program
    num_condition_consts: int
    num_body_consts: int


class ShardMap(NamedTuple):
    """The parts of a ``shard_map`` equation."""

    body: Program
    mesh: Any
    in_specs: tuple[Any, ...]
    out_specs: tuple[Any, ...]
    check_vma: bool
    manual_axes: frozenset[str]


def program(obj: Any) -> Program:
    """The open jaxpr and constants of a ``ClosedJaxpr`` or of a plain ``Jaxpr``."""
    consts = getattr(obj, "consts", ())
    return Program(
        getattr(obj, "jaxpr", obj),
        tuple(map(as_traced, consts)),
    )


def called_program(equation: Equation) -> Program | None:
    """The one program that a call-like equation runs, or ``None``.

    Its inputs are the equation's operands, one for one.
    """
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if name in equation.params:
            inner = program(equation.params[name])
            if len(inner.jaxpr.invars) == len(equation.invars):
                return inner
    return None


def scan_parts(equation: Equation) -> Scan:
    params = equation.params
    if "ft_in" in params:
        num_consts, num_carry, _ = (len(list(p)) for p in params["ft_in"].unpack())
    else:
        num_consts, num_carry = params["num_consts"], params["num_carry"]
    return Scan(
        program(params["jaxpr"]),
        num_consts,
        num_carry,
        params["length"],
        params["reverse"],
        params["unroll"],
    )


def while_parts(equation: Equation) -> While:
    params = equation.params
    return While(
        program(params["cond_jaxpr"]),
        program(params["body_jaxpr"]),
        params["cond_nconsts"],
        params["body_nconsts"],
    )


def branch_programs(equation: Equation) -> tuple[Program, ...]:
    """The branches of a ``cond`` equation; operand 0 is the branch's index."""
    return tuple(program(branch) for branch in equation.params["branches"])


def shard_map_parts(equation: Equation) -> ShardMap:
    params = equation.params
    manual = params.get("newly_manual_axes", params.get("manual_axes"))
    return ShardMap(
        program(params["jaxpr"]),
        params["mesh"],
        tuple(params["in_specs"]),
        tuple(params["out_specs"]),
        params["check_vma"],
        frozenset(params["mesh"].axis_names if manual is None else manual),
    )


def num_devices(equation: Equation) -> int:
    """How many devices a collective equation joins; 0 if it does not say."""
    names = equation.params.get("axes", equation.params.get("axis_name", ()))
    names = names if isinstance(names, tuple) else (names,)
    mesh = getattr(equation.ctx, "cur_abstract_mesh", None)
    sizes = dict(getattr(mesh, "shape", {}))
    if not all(name in sizes for name in names):
        return 0
    return math.prod(sizes[name] for name in names)


_REDUCTIONS = {"psum": lax.reduce_sum, "pmax": lax.reduce_max, "pmin": lax.reduce_min}


def plain(equation: Equation) -> Equation:
    """An equation; a collective that ``vmap`` made one of axes, as that reduction.

    ``vmap(f, axis_name=...)`` leaves the axis of a ``psum`` in the program as a number:
    it adds up entries of one array, and joins no devices.
    """
    reduce = _REDUCTIONS.get(equation.primitive.name)
    axes = equation.params.get("axes", ())
    if reduce is None or not axes or not all(isinstance(axis, int) for axis in axes):
        return equation
    if len(equation.invars) != 1 or equation.params.get("axis_index_groups"):
        return equation
    (operand,) = equation.invars
    made = jax.make_jaxpr(lambda x: reduce(x, tuple(axes)))(shape_of(operand))
    (meant,) = made.jaxpr.eqns
    return equation.replace(primitive=meant.primitive, params=meant.params)


def call_name(equation: Equation) -> str | None:
    """The name of the function that a call-like equation was made from."""
    if "name" in equation.params:
        return str(equation.params["name"])
    inner = called_program(equation)
    if inner is None or inner.jaxpr.debug_info is None:
        return None
    return str(inner.jaxpr.debug_info.func_name)


def as_traced(constant: Any) -> Any:
    """A constant of a program; an array is one of jax's, as it was traced."""
    return jnp.asarray(constant) if isinstance(constant, np.ndarray) else constant


def bind(equation: Equation, values: Sequence[Any]) -> list[Any]:
    """Runs one equation as it stands on ``values``; its results are always a list."""
    params = equation.primitive.get_bind_params(equation.params)
    with equation.ctx.manager:
        results = equation.primitive.bind(*values, **params)
    return list(results) if equation.primitive.multiple_results else [results]


def trace(function: Any, *args: Any) -> tuple[Program, Any]:
    """``function`` as a program, and the shapes that it returns, as a pytree."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    return program(closed), shapes


def with_outputs(program: Program, wanted: Sequence[int]) -> Program:
    """``program`` with only the outputs at the positions ``wanted``."""
    jaxpr = program.jaxpr
    chosen = jaxpr.replace(
        outvars=[jaxpr.outvars[position] for position in wanted],
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    return Program(chosen, program.consts)


class TracerLeak(TypeError):
    """A program holds a value of another trace, which is over."""


NOT_TRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.UnexpectedTracerError,
    TracerLeak,
)
"""What a function raises that looks at values, or keeps them, while it is traced."""


def check_no_tracers(program: Program) -> None:
    """Raises ``TracerLeak`` if a constant of ``program`` is a tracer."""
    for const in program.consts:
        if isinstance(const, jax.core.Tracer):
            raise TracerLeak(f"a constant of shape {const.shape} is a tracer")


def vary_like(value: jax.Array, other: jax.Array) -> jax.Array:
    """``value``, differing between the devices as ``other`` does."""
    return vary(value, tuple(jax.typeof(other).manual_axis_type.varying))


def vary(value: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """``value`` as one that differs between the devices along ``axes``."""
    known = jax.typeof(value).manual_axis_type.varying
    missing = tuple(axis for axis in axes if axis not in known)
    return jax.lax.pcast(value, missing, to="varying") if missing else value


def summarized(function: Callable[[jax.Array], jax.Array], value: jax.Array) -> Any:
    """A small summary of ``value``, also where its sharding is part of its type."""
    mesh = jax.typeof(value).sharding.mesh
    explicit = jax.sharding.AxisType.Explicit
    names = tuple(
        name
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if kind == explicit
    )
    if not names:
        return function(value)
    inside = jax.sharding.auto_axes(
        function, axes=names, out_sharding=jax.sharding.PartitionSpec()
    )
    return inside(value)


def shape_of(var: Var | Literal) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a variable, and its sharding if that is in its type."""
    aval: Any = var.aval
    sharding = getattr(aval, "sharding", None)
    kinds = () if sharding is None else sharding.mesh.axis_types
    explicit = jax.sharding.AxisType.Explicit in kinds
    return jax.ShapeDtypeStruct(
        aval.shape, aval.dtype, sharding=sharding if explicit else None
    )


def like(value: jax.Array, other: Any) -> jax.Array:
    """``value``, sharded as ``other`` where that is part of its type."""
    sharding = jax.typeof(other).sharding
    if jax.typeof(value).sharding == sharding or sharding.mesh.empty:
        return value
    placed: jax.Array = jax.sharding.reshard(value, sharding)
    return placed


def evaluate(program: Program, values: Sequence[Any]) -> list[Any]:
    """Runs a whole program as it stands."""
    results = jax.core.eval_jaxpr(program.jaxpr, program.consts, *values)
    return [
        jnp.asarray(result, shape_of(var).dtype) if isinstance(var, Literal) else result
        for result, var in zip(results, program.jaxpr.outvars, strict=True)
    ]


def within(equation: Equation) -> Iterator[Equation]:
    """An equation and all in the programs that it runs, however deep."""
    yield equation
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(part, "jaxpr", part)
            for called in getattr(inner, "eqns", ()):
                yield from within(called)


def size(equation: Equation) -> int:
    """How many equations it is, with all in the programs that it runs."""
    return sum(1 for _ in within(equation))


def primitive_names(equation: Equation) -> set[str]:
    """The names of an equation's primitive and of all in the programs that it runs."""
    return {str(inner.primitive.name) for inner in within(equation)}


def wait_for_processes(name: str, seconds: float) -> None:
    """Returns once every process of ``jax.distributed`` has come to this point.

    jax has no public function for it that lasts: a collective operation gives up on a
    process that comes a minute late. Where this one is not found, nobody waits.
    """
    from jax._src import distributed

    client = getattr(getattr(distributed, "global_state", None), "client", None)
    wait = getattr(client, "wait_at_barrier", None)
    if wait is not None:
        wait(name, timeout_in_ms=int(1000 * seconds))
