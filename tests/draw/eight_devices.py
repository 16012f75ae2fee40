"""Initializes models over eight devices; prints the facts as JSON.

Run by `test_fast_init.py` in a process of its own.
"""

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxinit
from jaxinit.draw import drawer as drawing

KEY = jax.random.key(7)
X = jax.ShapeDtypeStruct((4, 32), "float32")
NORMAL = nn.initializers.he_normal()


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(64, kernel_init=nn.with_partitioning(NORMAL, (None, "m")))(x)
        x = nn.Dense(64, kernel_init=nn.with_partitioning(NORMAL, ("m", None)))(x)
        return nn.Dense(8)(x)


class Logical(nn.Module):
    @nn.compact
    def __call__(self, x):
        init = nn.with_logical_partitioning(NORMAL, ("embed", "mlp"))
        return nn.Dense(64, kernel_init=init)(x)


class Linear(nnx.Module):
    def __init__(self, rngs):
        init = nnx.with_partitioning(NORMAL, (None, "m"))
        self.inner = nnx.Linear(32, 64, kernel_init=init, rngs=rngs)

    def __call__(self, x):
        return self.inner(x)


def parts(tree) -> list[list[int]]:
    """The shape that one device holds of each array."""
    return [list(x.addressable_shards[-1].data.shape) for x in jax.tree.leaves(tree)]


def same(tree, expected) -> bool:
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


class Watched:
    """``jax.jit`` that notes the largest array in the program of one device."""

    def __init__(self, jit):
        self.jit, self.largest = jit, 0

    def __call__(self, function, **options):
        compiled = self.jit(function, **options)

        def call(*args):
            lower(*args)
            return compiled(*args)

        def lower(*args):
            lowered = compiled.lower(*args)
            text = lowered.compile().as_text()
            shapes = re.findall(r"\b[a-z]+\d*\[([\d,]+)\]", text)
            sizes = [math.prod(map(int, shape.split(","))) for shape in shapes]
            self.largest = max(self.largest, *sizes)
            return lowered

        call.lower = lower
        return call


def largest_array(init, spec: P) -> int:
    """Elements of the largest array that a device meets as it draws 64 x 4096."""
    mesh = jax.make_mesh((8,), ("m",), axis_types=(AxisType.Auto,))
    watched = Watched(jax.jit)
    drawing.jax.jit, kept = watched, jax.jit
    try:
        jaxinit.fast_init(
            nn.Dense(4096, use_bias=False, kernel_init=init),
            KEY,
            jax.ShapeDtypeStruct((1, 64), "float32"),
            shardings=NamedSharding(mesh, spec),
        )
    finally:
        drawing.jax.jit = kept
    return watched.largest


def main() -> None:
    mesh = jax.make_mesh((8,), ("m",), axis_types=(AxisType.Auto,))
    expected = nn.unbox(jax.jit(Net().init)(KEY, jnp.ones(X.shape)))
    facts = {"parts": {}, "same": {}}

    def note(name, tree):
        facts["parts"][name] = parts(tree)
        facts["same"][name] = same(nn.unbox(tree), expected)

    note("mesh", jaxinit.fast_init(Net(), KEY, X, shardings=mesh))
    with jax.set_mesh(mesh):
        note("set_mesh", jaxinit.fast_init(Net(), KEY, X))

    def columns(path, shape):
        last = NamedSharding(mesh, P(*[None] * (len(shape) - 1), "m"))
        return last if path.endswith("kernel") else None

    note("function", jaxinit.fast_init(Net(), KEY, X, shardings=columns))
    abstract = jaxinit.abstract_init(Net(), X, shardings=mesh)
    tree = jax.tree.map(lambda x: x.sharding, abstract)
    note("tree", jaxinit.fast_init(Net(), KEY, X, shardings=tree))
    with nn.logical_axis_rules([("embed", None), ("mlp", "m")]):
        logical = jaxinit.fast_init(Logical(), KEY, X, shardings=mesh)
    facts["logical"] = parts(logical)
    module = jaxinit.fast_init(Linear, KEY, shardings=mesh)
    facts["nnx"] = parts(nnx.state(module))
    twins = jaxinit.Functional(
        lambda key: [jax.random.normal(key, (8, 64))] * 2, lambda v, x: x
    )
    to = [NamedSharding(mesh, P(None, "m")), NamedSharding(mesh, P("m"))]
    facts["twins"] = parts(jaxinit.fast_init(twins, KEY, shardings=to))
    scheme = jaxinit.he_normal()
    drawn = jaxinit.initialize(Net(), scheme, KEY, X, shardings=mesh)
    facts["scheme"] = parts(drawn)
    module = jaxinit.initialize(Linear, scheme, KEY, X, shardings=mesh)
    facts["scheme of nnx"] = parts(nnx.state(module))
    facts["largest"] = [
        largest_array(init, spec)
        for init in (NORMAL, nn.initializers.uniform(), nn.initializers.xavier_normal())
        for spec in (P(None, "m"), P("m", None))
    ]
    try:
        jaxinit.fast_init(Net(), KEY, X, shardings=jax.make_mesh((8,), ("other",)))
    except ValueError as error:
        facts["refused"] = str(error)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
