"""Blocks that repeat are found, and rolled they give the same report."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax.experimental.ode import odeint

import jaxinit
from jaxinit.program import versions
from jaxinit.program.find_repeats import find_repeats
from jaxinit.program.program import build
from jaxinit.signal.compiled import Compiled

pytestmark = pytest.mark.internals

X = jax.random.normal(jax.random.key(1), (5, 6, 8))


class Stack(nn.Module):
    """Equal layers, one after the other, behind one of another shape."""

    depth: int = 6
    head: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4)(x)
        for _ in range(self.depth):
            x = nn.relu(nn.Dense(4)(x))
        return nn.Dense(3, kernel_init=self.head)(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        h = nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x), mask=mask)
        x = x + nn.Dropout(0.3, deterministic=False)(h)
        return x + nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x))))


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x))))


class Transformer(nn.Module):
    block: type = Block
    depth: int = 3

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = self.block()(x)
        return nn.LayerNorm()(x)


class Wired(nn.Module):
    """Every block's output is read behind the blocks, and the first input in each."""

    @nn.compact
    def __call__(self, x):
        first, outputs = x, []
        for _ in range(5):
            x = nn.tanh(nn.Dense(8)(x) + first)
            outputs.append(x)
        return sum(outputs)


class Chain(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(8, 8, rngs=rngs) for _ in range(5)])

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.tanh(layer(x))
        return x


def iterate(params, x):
    """One weight, used again and again."""
    for _ in range(6):
        x = jnp.tanh(x @ params["w"] + params["b"])
    return x


SHARED = jaxinit.Functional(
    lambda key, x: {"w": jax.random.normal(key, (8, 8)), "b": jnp.zeros(8)}, iterate
)
MODELS = {
    "stack": Stack(),
    "zero head": Stack(head=nn.initializers.zeros),
    "transformer": Transformer(),
    "remat": Transformer(nn.remat(Plain)),
    "wired": Wired(),
    "nnx": Chain,
    "shared": SHARED,
}


@pytest.mark.parametrize("name", MODELS)
def test_rolled_or_not_the_report_is_the_same(name):
    model = MODELS[name]

    # Steps of the one are simulated, and squashing and softmaxes of both looked at.
    judge = name in ("zero head", "transformer")
    rolled = jaxinit.analyze(model, X, seeds=2, roll=True, judge=judge)
    plain = jaxinit.analyze(model, X, seeds=2, roll=False, judge=judge)

    assert rolled.settings["rolled"]
    assert not plain.settings["rolled"]
    assert rolled.rows == plain.rows
    assert rolled.params == plain.params
    for group in ("forward", "backward", "weights"):
        for metric, values in getattr(plain, group).items():
            # Up to the order of float32 sums.
            np.testing.assert_allclose(
                getattr(rolled, group)[metric],
                values,
                rtol=1e-4,
                atol=1e-5 * np.nanmax(np.abs(values), initial=0.0),
                err_msg=metric,
            )
    assert bool(plain.evidence.get("curves")) == judge
    for curve, wanted in zip(
        rolled.evidence.get("curves", []),
        plain.evidence.get("curves", []),
        strict=True,
    ):
        for field, value in wanted.items():
            if isinstance(value, float):
                value = pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True)
            assert curve[field] == value, curve
    assert bool(plain.evidence.get("params")) == judge
    for param, facts in plain.evidence.get("params", {}).items():
        numbers = {k: v for k, v in facts.items() if isinstance(v, float)}
        found = rolled.evidence["params"][param]
        assert {k: found[k] for k in numbers} == pytest.approx(
            numbers, rel=1e-4, nan_ok=True
        )


def repeats(function, *args):
    program, _ = versions.trace(function, *args)
    return find_repeats(build(program), lambda node: None, lambda equation: True)


W = jnp.eye(3)
V = jnp.ones(3)


def test_the_longest_repeat_is_found_by_its_shortest_period():
    def function(x, ws):
        x = jnp.exp(x)
        for w in ws:
            x = jnp.tanh(jnp.sin(x @ w))
        return x

    (repeat,) = repeats(function, V, [W * i for i in range(5)])

    assert (repeat.start, repeat.period, repeat.times) == (1, 3, 5)
    assert len(repeat.carried) == len(repeat.stacked) == 1


def test_blocks_that_are_wired_otherwise_are_no_repeat():
    def function(x):
        for i in range(6):
            y = jnp.sin(x)
            x = jnp.tanh(y) + (x if i % 2 else y)
        return x

    (repeat,) = repeats(function, V)

    assert repeat.period == 6  # two rounds are one block
    assert repeat.times == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda i, x: x.astype(jnp.bfloat16) if i == 2 else x,
        lambda i, x: jnp.cos(x) if i % 3 == 2 else x,
    ],
)
def test_blocks_that_differ_are_no_repeat(change):
    def function(x):
        for i in range(5):
            x = change(i, jnp.tanh(jnp.sin(jnp.exp(x))))
        return x

    assert repeats(function, V) == []


def test_a_deeper_model_is_no_larger_a_program(monkeypatch):
    sizes = []
    lowered = Compiled._lowered

    def measured(self, *given):
        made = lowered(self, *given)
        sizes.append(made.as_text().count("\n"))
        return made

    monkeypatch.setattr(Compiled, "_lowered", measured)
    for depth in (20, 60):
        jaxinit.analyze(Stack(depth), X, seeds=1, roll=True, judge=False)

    # Each layer still has inputs of its own, which go into a stack, and gradients that
    # come out of one: 10 lines a layer with jax 0.10 and 0.12, and 34 unrolled.
    assert sizes[1] - sizes[0] < 40 * 15


def test_auto_rolls_what_is_deep_and_not_what_is_shallow():
    deep = jaxinit.analyze(Stack(20), X, seeds=1, judge=False)
    shallow = jaxinit.analyze(Stack(1), X, seeds=1, judge=False)

    assert deep.settings["rolled"]
    assert not shallow.settings["rolled"]


def test_blocks_with_other_constants_are_no_repeat():
    def function(x):
        for i in range(6):
            table = np.full(3, 1.0 + i, np.float32)  # inside of the inner program
            x = jnp.tanh(jnp.sin(jax.jit(lambda x, t=table: jnp.exp(x) * t)(x)))
        return x

    assert repeats(function, V) == []


def test_custom_derivatives_count_by_what_they_are():
    def leaky(slope):
        @jax.custom_jvp
        def function(x):
            return jnp.tanh(x)

        function.defjvp(lambda x, t: (function(x[0]), slope * t[0]))
        return function

    def same(x):
        for _ in range(6):
            x = jnp.sin(leaky(0.5)(jnp.exp(x)))
        return x

    def different(x):
        for i in range(6):
            x = jnp.sin(leaky(0.5 + i)(jnp.exp(x)))
        return x

    (repeat,) = repeats(same, V)
    assert (repeat.period, repeat.times) == (3, 6)
    assert repeats(different, V) == []


def test_a_rule_that_cannot_be_differentiated_here_equals_itself_alone():
    def solves(x, weight):
        for _ in range(6):
            x = odeint(lambda y, t: -weight * y, x, jnp.arange(2.0))[-1]
        return x

    assert repeats(solves, V, V) == []
