"""Branches that a stream itself takes part in, and those that end in a vector."""

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from jaxinit.schemes.initialize import prepare

H = jnp.ones((5, 8))
X = jax.random.normal(jax.random.key(1), (5, 3))


def drawn(shapes, layers=2):
    def init(key, *args):
        keys = jax.random.split(key, layers * len(shapes)).reshape(layers, -1)
        return {
            f"block{i}": {
                name: jax.random.normal(k, shape)
                for k, (name, shape) in zip(row, shapes.items(), strict=True)
            }
            for i, row in enumerate(keys)
        }

    return init


def blocks(p):
    return [p[f"block{i}"] for i in range(len(p))]


MESSAGES = {
    "edge": (17, 16),
    "edge_out": (16, 16),
    "coordinate": (16, 16),
    "coordinate_out": (16, 1),
    "node": (24, 16),
    "node_out": (16, 8),
}


def equivariant(p, h, x):
    """EGNN (Satorras et al., 2021, equations 3 to 6) on a complete graph."""
    n = len(h)
    for q in blocks(p):
        apart = x[:, None] - x
        ends = [jnp.broadcast_to(h[:, None], (n, n, 8)), jnp.broadcast_to(h, (n, n, 8))]
        ends.append(jnp.square(apart).sum(-1, keepdims=True))
        m = jax.nn.silu(jnp.concatenate(ends, -1) @ q["edge"])
        m = jax.nn.silu(m @ q["edge_out"])
        phi = jax.nn.silu(m @ q["coordinate"]) @ q["coordinate_out"]
        x = x + (apart * phi).sum(1) / (n - 1)
        node = jnp.concatenate([h, m.sum(1)], -1)
        h = h + jax.nn.silu(node @ q["node"]) @ q["node_out"]
    return h, x


def read(shapes, apply, *args, layers=2):
    """The names of each branch's ends, the last part of the path alone."""
    model = jaxinit.Functional(drawn(shapes, layers), apply)
    network, _ = prepare(model, args, {}, ())
    ends = [
        [network.params[u.leaf].path[1] for n in b.ends for u in network.event(n).uses]
        for b in network.structure.branches
    ]
    return network, ends


def test_coordinates_that_move_along_their_differences():
    network, ends = read(MESSAGES, equivariant, H, X)
    streams = [branch.stream for branch in network.structure.branches]

    assert ends == [["coordinate_out"], ["node_out"]] * 2
    assert len(set(streams)) == 2
    assert streams[:2] == streams[2:]
    assert network.structure.unclear == ()
    first = [
        network.params[use.leaf].name
        for number in network.structure.branches[2].layers
        for use in network.event(number).uses
    ]
    # Each of its layers once, and none of the block before.
    assert sorted(first) == [
        f"block1/{n}" for n in ("coordinate", "coordinate_out", "edge", "edge_out")
    ]


GATES = {
    "tanh": (lambda x, w: x + x * jnp.tanh(x @ w), [["w"]] * 2),
    "sigmoid": (lambda x, w: x + x * jax.nn.sigmoid(x @ w), []),
    "exp": (lambda x, w: x * jnp.exp(x @ w) + x, []),
    "shift": (lambda x, w: x * (1 + (x @ w)[:, :4]) + (x @ w)[:, 4:], []),
}


@pytest.mark.parametrize("name", GATES)
def test_a_stream_times_weights_is_a_branch_if_zero_weights_end_it(name):
    step, expected = GATES[name]
    width = 8 if name == "shift" else 4

    def apply(p, x):
        for q in blocks(p):
            x = step(x, q["w"])
        return x

    assert read({"w": (4, width)}, apply, jnp.ones((5, 4)))[1] == expected


def test_a_cell_that_mixes_its_state_in_has_no_branch():
    def apply(p, xs):
        def step(h, x):
            gate = jax.nn.sigmoid(x @ p["block0"]["w"])
            return h + gate * (jnp.tanh(x @ p["block1"]["w"]) - h), h

        return jax.lax.scan(step, jnp.zeros(4), xs)[1]

    assert read({"w": (4, 4)}, apply, jnp.ones((5, 4)))[1] == []


PLANAR = {
    "dot": lambda z, q: q["u"] * jnp.tanh((z @ q["w"])[:, None] + q["b"]),
    "outer": lambda z, q: jnp.outer(jnp.tanh(z @ q["w"] + q["b"]), q["u"]),
    "sum": lambda z, q: jnp.einsum(
        "b,d->bd", jnp.tanh((z * q["w"]).sum(-1) + q["b"]), q["u"]
    ),
    "one by one": lambda z, q: jax.vmap(
        lambda z: q["u"] * jnp.tanh(jnp.dot(q["w"], z) + q["b"])
    )(z),
}


@pytest.mark.parametrize("form", PLANAR)
def test_planar_flow(form):
    """Rezende and Mohamed, 2015, equation 10: ``z + u tanh(w.z + b)``."""

    def apply(p, z):
        for q in blocks(p):
            z = z + PLANAR[form](z, q)
        return z

    shapes = {"w": (4,), "u": (4,), "b": (1,)}
    network, ends = read(shapes, apply, jnp.ones((5, 4)))
    gains = [
        [
            network.params[leaf].path[1]
            for n in b.gains
            for leaf in network.event(n).params
        ]
        for b in network.structure.branches
    ]

    assert ends == [["w"]] * 2
    assert gains == [["u"]] * 2
    assert network.structure.unclear == ()
