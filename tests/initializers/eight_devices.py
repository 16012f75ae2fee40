"""Draws every row of the table over eight devices; prints the facts as JSON.

    python -m tests.initializers.eight_devices FILE

Run by `test_promises.py` in a process of its own, since the number of devices is
fixed when jax starts and would slow every other test. What is drawn goes to the file,
an npz: what it should be is known there, compiled already.
"""

import json
import math
import re
import sys

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


def facts_of(x: jax.Array, asked: NamedSharding) -> dict[str, object]:
    """What is known of a sharded draw, but for its values."""
    return {
        "sharding_is_as_asked": asked.is_equivalent_to(x.sharding, x.ndim),
        "size": x.size,
    }


def every_member(
    auto: Mesh, explicit: Mesh, drawn: dict[str, np.ndarray]
) -> dict[str, dict[str, object]]:
    """The facts of each row, compiled on one kind of mesh and eager on the other."""
    facts: dict[str, dict[str, object]] = {"auto": {}, "explicit": {}}
    for member in MEMBERS:
        # Automatic axes, named by the mesh that the sharding brings along.
        asked = NamedSharding(auto, member.spec)

        def draw(key, member=member, asked=asked):
            return member.init(key, member.shape, None, asked)

        compiled = jax.jit(draw).lower(KEY).compile()
        x = compiled(KEY)
        drawn[f"auto {member.name}"] = widened(x)
        found = facts_of(x, asked) | {"largest_buffer": largest_buffer(compiled)}
        facts["auto"][member.name] = found
        # Explicit axes, named by a bare spec.
        with jax.set_mesh(explicit):
            x = member.init(KEY, member.shape, None, member.spec)
        drawn[f"explicit {member.name}"] = widened(x)
        asked = NamedSharding(explicit, member.spec)
        facts["explicit"][member.name] = facts_of(x, asked)
    return facts


def every_way(
    auto: Mesh, explicit: Mesh, drawn: dict[str, np.ndarray]
) -> dict[str, object]:
    """The facts of one initializer, for each way to ask for a sharding."""
    shape, spec = (24, 16), P("x", "y")
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
            drawn[f"ways {name}"] = widened(x)
            facts[name] = facts_of(x, named)
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
    drawn: dict[str, np.ndarray] = {}
    facts = every_member(auto, explicit, drawn)
    facts["ways"] = every_way(auto, explicit, drawn)
    np.savez(sys.argv[1], **drawn)
    facts["control"] = {"drawn whole": drawn_whole(auto)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
