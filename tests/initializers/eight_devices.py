"""Draws every row of the table over eight devices; prints the facts as JSON.

Run by `test_promises.py` in a process of its own, since the number of devices is
fixed when jax starts and would slow every other test.
"""

import json
import math
import re

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxinit.initializers import normal
from tests.initializers.checks import widened
from tests.initializers.table import MEMBERS

KEY = jax.random.key(7)


def largest_buffer(compiled: jax.stages.Compiled) -> int:
    """Elements of the largest array in the program of one device."""
    shapes = re.findall(r"\b[a-z]+\d*\[([\d,]+)\]", compiled.as_text())
    return max(math.prod(map(int, shape.split(","))) for shape in shapes)


def facts_of(
    x: jax.Array, expected: np.ndarray, asked: NamedSharding
) -> dict[str, object]:
    """Whether a sharded draw is what it should be."""
    size = np.abs(expected).max(initial=1e-30)
    return {
        "sharding_is_as_asked": asked.is_equivalent_to(x.sharding, x.ndim),
        "error": float(np.abs(widened(x) - expected).max() / size),
        "size": x.size,
    }


def every_member(auto: Mesh, explicit: Mesh) -> dict[str, dict[str, object]]:
    """The facts of each row, compiled on one kind of mesh and eager on the other."""
    facts: dict[str, dict[str, object]] = {"auto": {}, "explicit": {}}
    for member in MEMBERS:
        expected = widened(member.init(KEY, member.shape))
        # Automatic axes, named by the mesh that the sharding brings along.
        asked = NamedSharding(auto, member.spec)

        def draw(key, member=member, asked=asked):
            return member.init(key, member.shape, None, asked)

        compiled = jax.jit(draw).lower(KEY).compile()
        found = facts_of(compiled(KEY), expected, asked)
        found["largest_buffer"] = largest_buffer(compiled)
        facts["auto"][member.name] = found
        # Explicit axes, named by a bare spec.
        with jax.set_mesh(explicit):
            x = member.init(KEY, member.shape, None, member.spec)
        asked = NamedSharding(explicit, member.spec)
        facts["explicit"][member.name] = facts_of(x, expected, asked)
    return facts


def every_way(auto: Mesh, explicit: Mesh) -> dict[str, object]:
    """The facts of one row, for each way to ask for a sharding."""
    shape, spec = (24, 16), P("x", "y")
    expected = widened(normal(0.7)(KEY, shape))
    facts: dict[str, object] = {}
    for kind, mesh in [("auto", auto), ("explicit", explicit)]:
        named = NamedSharding(mesh, spec)

        def draw(out_sharding):
            return lambda key: normal(0.7)(key, shape, None, out_sharding)

        found = {f"{kind}, eager, named": draw(named)(KEY)}
        with jax.set_mesh(mesh):
            for name, asked in [("named", named), ("spec", spec)]:
                found[f"{kind}, in mesh, eager, {name}"] = draw(asked)(KEY)
                found[f"{kind}, in mesh, compiled, {name}"] = jax.jit(draw(asked))(KEY)
        for name, x in found.items():
            facts[name] = facts_of(x, expected, named)
    return facts


def drawn_whole(auto: Mesh) -> dict[str, object]:
    """What the check of buffers sees when an array is drawn whole, then cut."""

    def draw(key):
        x = jax.random.normal(key, (24, 16))
        x = jax.lax.with_sharding_constraint(x, NamedSharding(auto, P()))
        return jax.lax.with_sharding_constraint(x, NamedSharding(auto, P("x", "y")))

    compiled = jax.jit(draw).lower(KEY).compile()
    return {"largest_buffer": largest_buffer(compiled), "size": 24 * 16}


def main() -> None:
    devices = np.array(jax.devices()).reshape(4, 2)
    auto = Mesh(devices, ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    explicit = Mesh(devices, ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    facts = every_member(auto, explicit)
    facts["ways"] = every_way(auto, explicit)
    facts["control"] = {"drawn whole": drawn_whole(auto)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
