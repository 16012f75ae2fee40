"""Recurrent kernels and gates, read off the programs of real cells."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from jaxinit.roles.gates import Gate
from tests.roles.structures import Read, function, read

pytestmark = pytest.mark.internals

X = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)


class Linen(nn.Module):
    cell: type

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(nn.RNN(self.cell(6, name="cell"))(x))


class Nnx(nnx.Module):
    def __init__(self, cell, rngs):
        self.rnn = nnx.RNN(cell(8, 6, rngs=rngs))
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x))


def of_cell(cell) -> Read:
    model = Linen(cell) if issubclass(cell, nn.Module) else lambda rngs: Nnx(cell, rngs)
    return read(model, X)


def having(found: Read, role: str) -> set[str]:
    """The last two parts of the paths of the parameters with a role."""
    return {
        "/".join(name.split("/")[-2:])
        for name, roles in found.roles.items()
        if role in roles
    }


SEPARATE = {f"h{gate}/kernel" for gate in "ifgo"}
CELLS = [
    (nn.LSTMCell, SEPARATE, {"hi/bias", "hf/bias", "ho/bias"}, {"hf/bias"}),
    (nn.OptimizedLSTMCell, SEPARATE, {"hi/bias", "hf/bias", "ho/bias"}, {"hf/bias"}),
    (nnx.LSTMCell, SEPARATE, {"hi/bias", "hf/bias", "ho/bias"}, {"hf/bias"}),
    (nnx.OptimizedLSTMCell, {"dense_h/kernel"}, {"dense_h/bias"}, set()),
    (
        nn.GRUCell,
        {"hr/kernel", "hz/kernel", "hn/kernel"},
        {"ir/bias", "iz/bias"},
        {"iz/bias"},
    ),
    (nnx.GRUCell, {"dense_h/kernel"}, {"dense_i/bias"}, set()),
    (nn.MGUCell, {"hf/kernel", "hn/kernel"}, {"if/bias"}, {"if/bias"}),
    (nn.SimpleCell, {"h/kernel"}, set(), set()),
    (nnx.SimpleCell, {"dense_h/kernel"}, set(), set()),
]


@pytest.mark.parametrize(
    ("cell", "recurrent", "gates", "forget"),
    CELLS,
    ids=[f"{c[0].__module__.split('.')[1]}.{c[0].__name__}" for c in CELLS],
)
def test_cells_of_flax(cell, recurrent, gates, forget):
    found = of_cell(cell)

    assert having(found, "recurrent") == recurrent
    assert having(found, "gate_bias") == gates
    assert having(found, "forget_gate_bias") == forget
    assert having(found, "branch_end") == set()


def gates_of(found: Read) -> dict[str, tuple[Gate, ...]]:
    return {
        found.params[leaf].split("/")[-1]: gates
        for leaf, gates in found.structure.gates.items()
    }


def test_gates_of_a_fused_lstm():
    assert gates_of(of_cell(nnx.OptimizedLSTMCell)) == {
        "bias": (
            Gate("input", 0, 6),
            Gate("forget", 6, 12),
            Gate("cell", 12, 18),
            Gate("output", 18, 24),
        )
    }


def test_gates_of_a_fused_gru():
    """Flax's update gate multiplies the old state: it is what the cell keeps."""
    assert gates_of(of_cell(nnx.GRUCell)) == {
        "bias": (Gate("other", 0, 6), Gate("forget", 6, 12), Gate("cell", 12, 18))
    }


def lstm_by_hand(p, x):
    """Gates in the order of torch; two biases, the first added outside of the loop."""
    drive = x @ p["wx"] + p["bx"]

    def step(carry, u):
        h, c = carry
        z = u + h @ p["wh"] + p["bh"]
        i, f, g, o = (z[:, 6 * n : 6 * n + 6] for n in range(4))
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = (jnp.zeros((2, 6)), jnp.zeros((2, 6)))
    _, h = jax.lax.scan(step, start, drive.swapaxes(0, 1))
    return h[-1] @ p["head"]


def test_an_lstm_by_hand():
    shapes = {"wx": (8, 24), "bx": (24,), "wh": (6, 24), "bh": (24,), "head": (6, 3)}
    found = read(function(shapes, lstm_by_hand), X)

    assert having(found, "recurrent") == {"wh"}
    assert having(found, "input") == {"wx"}
    assert having(found, "readout") == {"head"}
    gates = (
        Gate("input", 0, 6),
        Gate("forget", 6, 12),
        Gate("cell", 12, 18),
        Gate("output", 18, 24),
    )
    assert gates_of(found) == {"bx": gates, "bh": gates}


def test_an_lstm_whose_parameters_are_cut_before_use():
    def apply(p, x):
        into, back = jnp.split(p["w"], 4, 1), jnp.split(p["r"], 4, 1)
        bias = [p["b"][6 * i : 6 * i + 6] for i in range(4)]

        def step(state, x):
            h, c = state
            i, f, g, o = (
                x @ w + h @ r + b for w, r, b in zip(into, back, bias, strict=True)
            )
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), None

        start = (jnp.zeros((2, 6)),) * 2
        return jax.lax.scan(step, start, jnp.moveaxis(x, 1, 0))[0][0]

    found = read(function({"w": (8, 24), "r": (6, 24), "b": (24,)}, apply), X)

    kinds = ("input", "forget", "cell", "output")
    assert gates_of(found) == {
        "b": tuple(Gate(kind, 6 * i, 6 * i + 6) for i, kind in enumerate(kinds))
    }
    assert {len(parts) for parts in found.structure.parts.values()} == {4}


def gru_by_update(p, x):
    """``h = (1 - z) h + z n``: here a large z forgets."""

    def step(h, u):
        z = jax.nn.sigmoid(u @ p["zx"] + h @ p["zh"] + p["zb"])
        n = jnp.tanh(u @ p["nx"] + h @ p["nh"] + p["nb"])
        return (1 - z) * h + z * n, None

    return jax.lax.scan(step, jnp.zeros((2, 6)), x.swapaxes(0, 1))[0]


def test_an_update_gate_is_an_input_gate():
    shapes = {n: (8, 6) for n in ("zx", "nx")} | {n: (6, 6) for n in ("zh", "nh")}
    found = read(function(shapes | {"zb": (6,), "nb": (6,)}, gru_by_update), X)

    assert gates_of(found) == {"zb": (Gate("input", 0, 6),)}
    assert having(found, "forget_gate_bias") == set()


def two_layers(p, x):
    """Two layers in one loop: the second one's input kernel is not recurrent."""

    def step(carry, u):
        first = jnp.tanh(u @ p["in1"] + carry[0] @ p["rec1"])
        second = jnp.tanh(first @ p["in2"] + carry[1] @ p["rec2"])
        return (first, second), None

    start = (jnp.zeros((2, 6)), jnp.zeros((2, 6)))
    return jax.lax.scan(step, start, x.swapaxes(0, 1))[0][1]


def test_layers_stacked_in_one_loop():
    shapes = {"in1": (8, 6), "rec1": (6, 6), "in2": (6, 6), "rec2": (6, 6)}
    found = read(function(shapes, two_layers), X)

    assert having(found, "recurrent") == {"rec1", "rec2"}


def test_a_gated_layer_without_a_loop_has_no_gate_bias():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.sigmoid(nn.Dense(8, name="gate")(x)) * nn.Dense(8)(x)

    found = read(Model(), X)

    assert found.structure.gates == {}
    assert having(found, "gate_bias") == set()
