"""An instrumented model returns what the plain model returns."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.layers.taps import plan_taps
from jaxinit.program import versions
from jaxinit.program.plan import Plan
from jaxinit.signal.statistics import empty_probes, float_outputs, instrumented
from tests.layers.zoo_analysis import Case, case
from tests.zoo import ZOO

pytestmark = pytest.mark.internals


def assert_same_bits(first: Sequence[Any], second: Sequence[Any]) -> None:
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def assert_within_rounding(first: Sequence[Any], second: Sequence[Any]) -> None:
    """Up to some hundred units in the last place of the largest element."""
    for a, b in zip(first, second, strict=True):
        a, b = np.asarray(a, np.complex128), np.asarray(b, np.complex128)
        coarse = max(jnp.finfo(x.dtype).eps for x in first if _is_float(x))
        scale = max(np.abs(a).max(initial=0), 1e-30)
        away = np.abs(a - b).max(initial=0) / scale
        assert away <= 300 * float(coarse), f"off by {away:.0e}"


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))


def op_by_op(program: versions.Program, values: Sequence[Any], plan: Plan) -> list[Any]:
    """The program's equations run one by one; those with taps inside are opened."""
    known = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    known.update(zip(program.jaxpr.invars, values, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, versions.Literal) else known[atom]

    for index, equation in enumerate(program.jaxpr.eqns):
        operands = [read(atom) for atom in equation.invars]
        inside = plan.inner.get(index)
        if inside is None:
            results = versions.bind(equation, operands)
        else:
            results = open_up(equation, operands, inside)
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in program.jaxpr.outvars]


def open_up(
    equation: versions.Equation, operands: list[Any], plans: dict[int, Plan]
) -> list[Any]:
    match equation.primitive.name:
        case "scan":
            parts = versions.scan_parts(equation)
            split = parts.num_consts + parts.num_carry
            consts, carry = (
                operands[: parts.num_consts],
                operands[parts.num_consts : split],
            )
            rows = []
            order = range(parts.length)
            for step in reversed(order) if parts.reverse else order:
                sliced = [x[step] for x in operands[split:]]
                results = op_by_op(parts.body, [*consts, *carry, *sliced], plans[0])
                carry = results[: parts.num_carry]
                rows.append(results[parts.num_carry :])
            if parts.reverse:
                rows.reverse()
            return [*carry, *(jnp.stack(column) for column in zip(*rows, strict=True))]
        case "while":
            parts = versions.while_parts(equation)
            first = parts.num_condition_consts
            split = first + parts.num_body_consts
            carry = operands[split:]
            while op_by_op(parts.condition, [*operands[:first], *carry], Plan())[0]:
                carry = op_by_op(parts.body, [*operands[first:split], *carry], plans[0])
            return carry
        case "cond":
            which = int(operands[0])
            branch = versions.branch_programs(equation)[which]
            return op_by_op(branch, operands[1:], plans.get(which, Plan()))
    return op_by_op(versions.called_program(equation), operands, plans[0])


def plain(model: Case, values: Sequence[Any]) -> list[Any]:
    return versions.evaluate(model.traced.apply, values)


def with_gradients(model: Case, measured: bool) -> Any:
    """Outputs and parameter gradients, with or without statistics on the way."""
    run = instrumented(model.analysis)
    number = len(model.traced.params)
    chosen = float_outputs(model.traced)

    def forward(params: Sequence[Any], probes: Any) -> Any:
        values = [*params, *model.values[number:]]
        if measured:
            outputs, records = run(values, probes)
        else:
            outputs, records = plain(model, values), {}
        return [outputs[i] for i in chosen], (outputs, records)

    def both(params: Sequence[Any], probes: Any) -> Any:
        floats, pull, (outputs, records) = jax.vjp(
            forward, params, probes, has_aux=True
        )
        gradients, at_sites = pull([jnp.ones_like(out) for out in floats])
        return outputs, gradients, (records, at_sites)

    return jax.jit(both)


@pytest.mark.parametrize("name", [n for n in ZOO if n != "shard_map"])
def test_op_by_op_bit_for_bit(name):
    model = case(name)
    probes = empty_probes(model.analysis) if model.analysis.backward else {}
    with jax.disable_jit():
        plan = plan_taps(model.sites.numbers, model.sites.events)
        expected = op_by_op(model.traced.apply, model.values, plan)
        got, records = instrumented(model.analysis)(model.values, probes)

    assert_same_bits(expected, got)
    assert {tap.number for tap in records} == set(model.sites.numbers)


@pytest.mark.parametrize("name", list(ZOO))
def test_compiled_within_rounding(name):
    model = case(name)
    if not model.analysis.backward:
        expected = jax.jit(lambda v: plain(model, v))
        run = instrumented(model.analysis)
        got = jax.jit(lambda v: run(v, {}))
        assert_within_rounding(expected(model.values), got(model.values)[0])
        return
    params = model.values[: len(model.traced.params)]
    expected_out, expected_grad, _ = with_gradients(model, False)(params, {})
    got_out, got_grad, _ = with_gradients(model, True)(
        params, empty_probes(model.analysis)
    )

    assert_within_rounding(expected_out, got_out)
    assert_within_rounding(expected_grad, got_grad)


def test_assertions_notice_one_unit_in_the_last_place():
    x = jnp.ones(3)
    moved = x.at[1].set(jnp.nextafter(jnp.float32(1), jnp.float32(2)))

    with pytest.raises(AssertionError, match="Mismatched elements: 1 / 3"):
        assert_same_bits([x], [moved])
    with pytest.raises(AssertionError, match="off by 1e-04"):
        assert_within_rounding([x], [x * (1 + 1e-4)])
