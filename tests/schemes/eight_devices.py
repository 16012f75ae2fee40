"""Initializes a model over eight devices; prints the facts as JSON.

Run by `test_initialize.py` in a process of its own, since the number of devices is
fixed when jax starts.
"""

import json
import math
import re

import jax
import numpy as np
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxinit as ji

SCHEMES = {
    "he_normal": ji.he_normal(),
    "orthogonal": ji.orthogonal(),
    "rules": ji.rules([("**/bias", ji.ones)]),
    "lsuv": ji.lsuv(),
}


def main() -> None:
    mesh = Mesh(np.array(jax.devices()), ("x",))
    model = nn.Sequential([nn.Dense(256), nn.relu, nn.Dense(64)])
    x = jax.random.normal(jax.random.key(1), (16, 64))

    def choose(path: str, shape: tuple[int, ...]) -> NamedSharding | None:
        del path
        return NamedSharding(mesh, P(None, "x")) if len(shape) == 2 else None

    facts = {}
    for name, scheme in SCHEMES.items():
        whole = ji.initialize(model, scheme, 0, x)["params"]
        sharded = ji.initialize(model, scheme, 0, x, shardings=choose)["params"]
        kernels = [sharded[layer]["kernel"] for layer in ("layers_0", "layers_2")]
        facts[name] = {
            "sharding_is_as_asked": all(
                NamedSharding(mesh, P(None, "x")).is_equivalent_to(k.sharding, 2)
                for k in kernels
            ),
            "error": max(
                float(np.abs(np.asarray(a) - np.asarray(b)).max())
                for a, b in zip(
                    jax.tree.leaves(whole), jax.tree.leaves(sharded), strict=True
                )
            ),
        }
    draw = jax.jit(
        lambda key: ji.initialize(model, ji.he_normal(), key, x, shardings=choose)
    )
    text = draw.lower(jax.random.key(0)).compile().as_text()
    shapes = re.findall(r"\bf32\[([\d,]+)\]", text)
    largest = max(math.prod(map(int, shape.split(","))) for shape in shapes)
    facts["he_normal"]["largest_share"] = largest / (64 * 256)
    facts["annotated"] = annotated()
    print(json.dumps(facts))


class Annotated(nnx.Module):
    """A layer whose kernel says along which axis of a mesh it lies."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        own = nnx.with_partitioning(nnx.initializers.ones, (None, "model"))
        self.fc = nnx.Linear(8, 16, kernel_init=own, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc(x)


def annotated() -> dict[str, bool]:
    """Whether nnx's own annotations are honoured under a mesh, and kept."""
    x = jax.random.normal(jax.random.key(1), (16, 8))
    facts = {}
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind, kind))
        with jax.set_mesh(mesh):
            flax = Annotated(nnx.Rngs(0)).fc.kernel
            for name in ("he_normal", "lsuv"):
                ours = ji.initialize(Annotated, SCHEMES[name], 0, x).fc.kernel
                facts[f"{name} {kind}"] = (
                    ours[...].sharding == flax[...].sharding
                    and ours[...].sharding.spec == P(None, "model")
                    and ours.get_metadata() == flax.get_metadata()
                )
    return facts


if __name__ == "__main__":
    main()
