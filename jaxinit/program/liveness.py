"""Which equations of a program its wanted outputs need."""

from collections.abc import Sequence
from typing import Any

from jaxinit.program import versions


def live_of_scan(scan: versions.Scan, wanted: Sequence[bool]) -> list[bool]:
    """Which outputs of a scan's body are needed, now or by a later step.

    Args:
      scan: the scan.
      wanted: which of its results are needed.

    Returns:
      For each result of the body, whether it is needed.
    """
    live = list(wanted)
    body = scan.body.jaxpr
    carry = body.invars[scan.num_consts : scan.num_consts + scan.num_carry]
    while True:
        needed = _read_by(body, live)
        grown = [a or var in needed for a, var in zip(live, carry, strict=False)]
        if grown == live[: scan.num_carry]:
            return live
        live[: scan.num_carry] = grown


def _read_by(jaxpr: versions.Jaxpr, wanted: Sequence[bool]) -> set[Any]:
    """The variables that the wanted outputs of a program are computed from."""
    needed = {
        atom
        for atom, mark in zip(jaxpr.outvars, wanted, strict=True)
        if mark and isinstance(atom, versions.Var)
    }
    for index in live_equations(jaxpr, wanted):
        invars = jaxpr.eqns[index].invars
        needed.update(v for v in invars if isinstance(v, versions.Var))
    return needed


def live_equations(
    jaxpr: versions.Jaxpr, wanted: Sequence[bool] | None
) -> dict[int, list[bool]]:
    """The equations that the wanted outputs need, and which of their results.

    Args:
      jaxpr: the program.
      wanted: which of its outputs are needed; ``None`` for all of them.

    Returns:
      For the index of each live equation, which of its results are needed. Equations
      with effects are always live.
    """
    needed = {
        atom
        for position, atom in enumerate(jaxpr.outvars)
        if isinstance(atom, versions.Var) and (wanted is None or wanted[position])
    }
    live = {}
    for index in reversed(range(len(jaxpr.eqns))):
        equation = jaxpr.eqns[index]
        results = [var in needed for var in equation.outvars]
        if any(results) or equation.effects:
            live[index] = results
            needed.update(v for v in equation.invars if isinstance(v, versions.Var))
    return live
