"""Residual branches, read off the programs of real models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinit.layers.event import Loop
from jaxinit.program.paths import Location
from jaxinit.roles.branches import positions
from tests.roles.structure_tables import BRANCHES
from tests.roles.structures import Read, function, of_zoo, read

pytestmark = pytest.mark.internals

X = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)


def listed(found: Read) -> list[str]:
    """The branches, as in the tables."""
    return [
        f"{' '.join(found.named(b.layers))} | {' '.join(found.named(b.ends))}"
        for b in found.structure.branches
    ]


@pytest.mark.parametrize("name", BRANCHES)
def test_branches_of_the_zoo(name):
    found = of_zoo(name)

    assert listed(found) == BRANCHES[name]
    assert found.structure.num_branches == len(BRANCHES[name])
    numbers = [int(b.numbers) for b in found.structure.branches]
    assert numbers == list(range(len(numbers)))


def test_a_scanned_block_counts_once_for_each_layer():
    found = of_zoo("gpt_scanned")
    first, second = found.structure.branches

    assert found.structure.num_branches == 6
    np.testing.assert_array_equal(first.numbers, [0, 2, 4])
    np.testing.assert_array_equal(second.numbers, [1, 3, 5])
    assert [loop.length for loop in first.loops] == [3]
    assert found.named(second.layers) == ["blocks/fc", "blocks/proj"]


def test_streams_of_an_encoder_and_a_decoder():
    found = of_zoo("encoder_decoder")
    branches = found.structure.branches

    assert [b.stream for b in branches] == [0, 0, 1, 1, 1]
    cross = branches[3]
    assert found.named(cross.layers) == [
        f"decoder/cross/{part}" for part in ("query", "key", "value", "out")
    ]
    assert found.named(cross.norms) == ["decoder/ln_2"]
    assert [b.attention for b in branches] == [0, None, 1, 2, None]


def test_norms_of_a_resnet():
    found = of_zoo("resnet")

    assert [found.named(b.norms) for b in found.structure.branches] == [
        [f"ResidualBlock_{i}/BatchNorm_{j}" for j in range(2)] for i in range(3)
    ]
    assert {b.stream for b in found.structure.branches} == {0}


def block(x, name, width=16):
    return nn.Dense(8, name=f"{name}_down")(
        nn.relu(nn.Dense(width, name=f"{name}_up")(x))
    )


class Parallel(nn.Module):
    """Two paths from one norm; ``order`` says how they are summed."""

    order: str

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="enter")(x)
        h = nn.LayerNorm(name="ln")(x)
        first, second = block(h, "a"), block(h, "b")
        if self.order == "together":
            return x + (first + second)
        return x + first + second


def test_a_parallel_block_summed_first_is_one_branch():
    found = read(Parallel("together"), X)

    assert listed(found) == ["a_up a_down b_up b_down | a_down b_down"]


def test_a_parallel_block_added_in_turn_is_two_branches_of_one_stream():
    found = read(Parallel("in turn"), X)

    assert listed(found) == ["a_up a_down | a_down", "b_up b_down | b_down"]
    assert [b.stream for b in found.structure.branches] == [0, 0]


class Gained(nn.Module):
    """A LayerScale vector, then a ReZero scalar."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="enter")(x)
        x = x + self.param("scale", nn.initializers.ones, (8,)) * block(x, "a")
        return x + block(x, "b") * self.param("zero", nn.initializers.zeros, ())


def test_gains_at_the_end_of_branches():
    found = read(Gained(), X)

    gains = [found.named(b.gains) for b in found.structure.branches]
    assert gains == [["scale"], ["zero"]]
    assert found.roles["scale"] == found.roles["zero"] == {"gain"}


class PostNorm(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="enter")(x)
        for i in range(2):
            x = nn.LayerNorm(name=f"ln_{i}")(1.5 * x + block(x, f"block_{i}"))
        return x


def test_post_norm_with_a_scaled_skip():
    found = read(PostNorm(), X)

    assert listed(found) == [
        f"block_{i}_up block_{i}_down | block_{i}_down" for i in range(2)
    ]
    assert [b.norms for b in found.structure.branches] == [(), ()]
    assert [b.stream for b in found.structure.branches] == [0, 0]


class Modulated(nn.Module):
    """Adaptive norms: shift, scale and gate come from a condition."""

    @nn.compact
    def __call__(self, x, condition):
        x = nn.Dense(8, name="enter")(x)
        scale, gate = jnp.split(nn.Dense(16, name="modulate")(condition), 2, -1)
        h = nn.LayerNorm(use_scale=False, use_bias=False)(x) * (1 + scale)
        return x + gate * block(h, "a")


def test_a_gated_branch_ends_with_its_own_layer_not_with_the_gate():
    found = read(Modulated(), X, X)

    assert listed(found) == ["modulate a_up a_down | a_down"]


class Highway(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="enter")(x)
        gate = nn.sigmoid(nn.Dense(8, name="gate")(x))
        return gate * block(x, "a") + (1 - gate) * x


def test_a_gated_skip_is_no_stream():
    assert listed(read(Highway(), X)) == []


def test_a_masked_skip_is_a_stream():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x, keep):
            x = nn.Dense(8, name="enter")(x) * keep
            return x + keep * block(x, "a")

    assert listed(read(Model(), X, X)) == ["a_up a_down | a_down"]


def test_a_model_in_one_folder():
    def apply(p, x):
        x = x @ p["enter"]
        for name in ("a", "b"):
            x = x + jax.nn.relu(x @ p[f"{name}_up"]) @ p[f"{name}_down"]
        return x

    shapes = {"enter": (8, 8)}
    for name in ("a", "b"):
        shapes |= {f"{name}_up": (8, 16), f"{name}_down": (16, 8)}
    found = read(function(shapes, apply), X)

    assert listed(found) == ["a_up a_down | a_down", "b_up b_down | b_down"]


def test_layers_in_steps_of_a_loop_share_their_branch():
    def apply(p, x):
        def step(x, _):
            return x + jax.nn.relu(x @ p["up"]) @ p["down"], None

        return jax.lax.scan(step, x @ p["enter"], None, length=4)[0]

    shapes = {"enter": (8, 8), "up": (8, 16), "down": (16, 8)}
    found = read(function(shapes, apply), X)

    assert listed(found) == ["up down | down"]
    assert found.structure.num_branches == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_numbers_follow_execution(reverse):
    """Two places in an inner loop of two, in an outer loop of three."""
    outer = Loop("layers", ((4, 0),), 3, reverse)
    inner = Loop("layers", ((4, 0), (1, 0)), 2)
    places = [
        (Location((), 2), ()),
        (Location(inner.path, 0), (outer, inner)),
        (Location(inner.path, 5), (outer, inner)),
        (Location(outer.path, 7), (outer,)),
        (Location((), 9), ()),
    ]
    order = []
    order.append((0,))
    for i in reversed(range(3)) if reverse else range(3):
        for j in range(2):
            order += [(1, i, j), (2, i, j)]
        order.append((3, i))
    order.append((4,))
    numbers = positions(places)

    for position, (place, *index) in enumerate(order):
        assert numbers[place][tuple(index)] == position


def spike(v):
    return v + jax.lax.stop_gradient((v > 0) - v)


def fires(p, state, x):
    """A layer of neurons that leak, get a current, and fire."""
    state = 0.9 * state + x @ p["w"] + p["b"] - spike(state - 1)
    return state, spike(state - 1)


def fires_on_its_own_spikes(p, state, x):
    state = 0.9 * state + x @ p["w"] + spike(state - 1) @ p["r"]
    return state, spike(state - 1)


def leaks(p, state, x):
    state = 0.9 * state + 0.1 * jnp.tanh(x @ p["w"] + state @ p["r"])
    return state, state


def gains(p, state, x):
    state = p["b"] * state + x @ p["w"]
    return state, jnp.tanh(state)


@pytest.mark.parametrize("written_out", [True, False])
@pytest.mark.parametrize("cell", [fires, fires_on_its_own_spikes, leaks, gains])
def test_the_state_of_a_recurrence_is_no_residual_stream(cell, written_out):
    """Neither as a loop nor written out, with two layers one behind the other."""

    def apply(p, x):
        def step(states, x):
            own = [{name[1:]: p[name] for name in p if name[0] == n} for n in "12"]
            first, x = cell(own[0], states[0], x)
            second, x = cell(own[1], states[1], x)
            return (first, second), x

        states, outputs = (jnp.zeros((4, 8)), jnp.zeros((4, 8))), []
        if not written_out:
            return jax.lax.scan(step, states, x)[1]
        for t in range(4):
            states, output = step(states, x[t])
            outputs.append(output)
        return jnp.stack(outputs)

    one = {"w": (8, 8), "r": (8, 8), "b": (8,)}
    shapes = {number + name: one[name] for number in "12" for name in one}
    found = read(function(shapes, apply), jnp.ones((4, 4, 8)))

    assert listed(found) == []
    assert not found.structure.unclear


@pytest.mark.parametrize("injected", [True, False])
def test_a_tied_block_written_out_is_a_branch_each_time(injected):
    def apply(p, x):
        given, x = x, x @ p["enter"]
        for _ in range(3):
            x = x + jax.nn.relu(x @ p["up"]) @ p["down"]
            x = x + given @ p["enter"] if injected else x
        return x

    shapes = {"enter": (8, 8), "up": (8, 16), "down": (16, 8)}
    found = read(function(shapes, apply), X)

    assert found.structure.num_branches == 3


def log_of_product(p, x):
    """As in flows: the logarithm of a product of matrices that are logarithms."""
    a, b = p["b"][:1], jnp.tanh(x @ p["a"])[:, :, None]
    first = jax.lax.stop_gradient(a.max(-1, keepdims=True))
    second = jax.lax.stop_gradient(b.max(-2, keepdims=True))
    return jnp.log(jnp.exp(a - first) @ jnp.exp(b - second)) + first + second


def log_of_mixture(p, x):
    h = x @ p["a"]
    largest = h.max(-1, keepdims=True)
    return jnp.log(jnp.exp(h - largest) @ p["c"][:, None]) + largest


@pytest.mark.parametrize("apply", [log_of_product, log_of_mixture])
def test_the_logarithm_of_a_sum_is_one_function_and_no_branch(apply):
    shapes = {"a": (8, 8), "b": (8, 8), "c": (8,)}
    assert listed(read(function(shapes, apply), jnp.ones((4, 8)))) == []
