"""Which equations of a program its wanted outputs need."""

from collections.abc import Sequence

from jaxinit.program import versions


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
