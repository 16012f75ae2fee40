"""Which outputs of a fused kernel are queries, keys, values or gates."""

import jax
import jax.numpy as jnp
import pytest

from tests.roles.structures import function, network_of, read

X = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)


def attend(q, k, v):
    return jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k)) @ jnp.swapaxes(v, 1, 2)


def packed(p, x):
    q, k, v = jnp.split(x @ p["w"], 3, -1)
    return attend(*(h.reshape(2, 5, 2, 4) for h in (q, k, v)))


def stacked(p, x):
    h = jnp.einsum("btd,dche->btche", x, p["w"])
    return attend(h[:, :, 0], h[:, :, 1], h[:, :, 2])


def grouped(p, x):
    h = x @ p["w"]
    q, k, v = (h[..., a:b].reshape(2, 5, -1, 4) for a, b in ((0, 8), (8, 12), (12, 16)))
    return attend(q, jnp.repeat(k, 2, 2), jnp.repeat(v, 2, 2))


def swiglu(p, x):
    gate, up = jnp.split(x @ p["w"], 2, -1)
    return jax.nn.silu(gate) * up


def geglu(p, x):
    up, gate = jnp.moveaxis(jnp.einsum("btd,dcf->btcf", x, p["w"]), 2, 0)
    return jax.nn.gelu(gate, approximate=False) * up


def cut_before(p, x):
    """Kernels stored (out, in), cut before data meet them."""
    q, k, v = (x @ w.T for w in jnp.split(p["w"], 3, 0))
    return attend(*(h.reshape(2, 5, 2, 4) for h in (q, k, v)))


def cut_in_two_before(p, x):
    q = x @ p["w"][:, :8]
    k, v = jnp.split(x @ p["w"][:, 8:], 2, -1)
    return attend(*(h.reshape(2, 5, 2, 4) for h in (q, k, v)))


def swiglu_cut_before(p, x):
    return jax.nn.silu(x @ p["w"][:, :6]) * (x @ p["w"][:, 6:])


def rotary(p, x):
    """Positions multiply halves of queries and keys, as data."""
    q, k, v = (h.reshape(2, 5, 2, 4) for h in jnp.split(x @ p["w"], 3, -1))
    angle = jnp.sum(x, -1)[:, :, None, None]

    def turned(h):
        first, second = jnp.split(h, 2, -1)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.concatenate(
            [first * cos - second * sin, first * sin + second * cos], -1
        )

    return attend(turned(q), turned(k), v)


def by_head(p, x):
    """Each head has its queries, keys and values side by side."""
    q, k, v = jnp.moveaxis((x @ p["w"]).reshape(2, 5, 2, 3, 4), 3, 0)
    return attend(q, k, v)


def last_of_heads(p, x):
    return attend(*jnp.split(jnp.einsum("btd,dhe->bthe", x, p["w"]), 3, -1))


def out_in(p, x):
    """As torch stores it; heads are cut one by one."""
    h = (x @ p["w"].T).reshape(2, 5, 3, 2, 4)
    q, k, v = (
        jnp.stack([h[:, :, part, head] for head in range(2)], 2) for part in range(3)
    )
    return attend(q, k, v)


def strided(p, x):
    h = x @ p["w"]
    q, k, v = (h[..., start::3].reshape(2, 5, 2, 4) for start in range(3))
    return attend(q, k, v)


def beside_a_gate(p, x):
    """A block whose attention and MLP read one kernel."""
    h = x @ p["w"]
    q, k, v = (h[..., i : i + 8].reshape(2, 5, 2, 4) for i in (0, 8, 16))
    return attend(q, k, v).sum() + jax.nn.relu(h[..., 24:])


def rows(*starts_and_stops):
    return tuple(i for start, stop in starts_and_stops for i in range(start, stop))


QKV, GATES = ("query", "key", "value"), ("gate", "gated")
THIRDS = [rows((8 * i, 8 * i + 8)) for i in range(3)]
HEADS = [rows((4 * i, 4 * i + 4), (4 * i + 12, 4 * i + 16)) for i in range(3)]
CASES = {
    rotary: ((8, 24), THIRDS, QKV),
    packed: ((8, 24), THIRDS, QKV),
    stacked: ((8, 3, 2, 4), THIRDS, QKV),
    grouped: ((8, 16), [rows((0, 8)), rows((8, 12)), rows((12, 16))], QKV),
    by_head: ((8, 24), HEADS, QKV),
    last_of_heads: ((8, 2, 12), HEADS, QKV),
    out_in: ((24, 8), THIRDS, QKV),
    strided: ((8, 24), [tuple(range(i, 24, 3)) for i in range(3)], QKV),
    beside_a_gate: ((8, 32), [*THIRDS, rows((24, 32))], (*QKV, None)),
    swiglu: ((8, 12), [rows((0, 6)), rows((6, 12))], GATES),
    cut_before: ((24, 8), THIRDS, QKV),
    cut_in_two_before: ((8, 24), THIRDS, QKV),
    swiglu_cut_before: ((8, 12), [rows((0, 6)), rows((6, 12))], GATES),
    geglu: ((8, 2, 6), [rows((0, 6)), rows((6, 12))], GATES[::-1]),
}


@pytest.mark.parametrize("apply", CASES)
def test_the_parts_of_a_fused_kernel(apply):
    shape, outputs, roles = CASES[apply]
    found = read(function({"w": shape}, apply), X).structure.parts[0]

    expected = [{role} - {None} for role in roles]
    assert [(p.outputs, p.roles) for p in found] == [
        *zip(outputs, expected, strict=True)
    ]


@pytest.mark.parametrize("shape", [(8, 12), (8, 24)], ids=["two", "four"])
def test_a_kernel_cut_before_use_has_the_fans_of_one_cut_behind(shape):
    def before(p, x):
        return sum(x @ w for w in jnp.split(p["w"], shape[1] // 6, 1))

    def behind(p, x):
        return sum(jnp.split(x @ p["w"], shape[1] // 6, -1))

    first, second = (
        network_of(function({"w": shape}, f), X).params[0] for f in (before, behind)
    )
    assert first.use == second.use
    assert first.parts == second.parts
    assert len(first.parts) == shape[1] // 6


def test_a_kernel_used_twice_is_whole():
    def apply(p, x):
        return jnp.tanh(x @ p["w"]) @ p["w"] + x @ p["w"][:, :4] @ p["o"]

    found = read(function({"w": (8, 8), "o": (4, 8)}, apply), X)
    assert found.structure.parts == {}


def test_gates_of_a_cell_whose_two_kernels_are_added():
    def step(p, h, x):
        i, f, g, o = jnp.split(x + h @ p["on_state"], 4, -1)
        c = jax.nn.sigmoid(f) * h + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c)

    def apply(p, x):
        inputs = jnp.moveaxis(x @ p["on_input"] + p["bias"], 1, 0)
        start = jnp.zeros((2, 4))
        return jax.lax.scan(lambda h, x: (step(p, h, x), None), start, inputs)[0]

    shapes = {"on_input": (8, 16), "on_state": (4, 16), "bias": (16,)}
    found = read(function(shapes, apply), X).structure.parts

    gates = [tuple(range(4 * i, 4 * i + 4)) for i in range(4)]
    assert [[p.outputs for p in parts] for parts in found.values()] == [gates, gates]


def test_heads_of_one_projection_are_no_parts():
    def apply(p, x):
        q, k, v = (jnp.split(x @ p[n], 2, -1) for n in "qkv")
        return sum(
            attend(*(h[:, :, None] for h in head)) for head in zip(q, k, v, strict=True)
        )

    model = function({"q": (8, 8), "k": (8, 8), "v": (8, 8)}, apply)
    assert read(model, X).structure.parts == {}


def test_kernels_of_their_own_have_no_parts():
    def apply(p, x):
        gate = jax.nn.silu(x @ p["a"])
        first, second = jnp.split(gate * (x @ p["b"]), 2, -1)
        return jnp.concatenate([first, -second], -1)

    assert read(function({"a": (8, 8), "b": (8, 8)}, apply), X).structure.parts == {}
