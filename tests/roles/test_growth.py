"""What it costs to read a network grows with its blocks, and no faster."""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from jaxinit.roles.network import read_network

WIDTH = 4


def residual(p: Any, x: jax.Array) -> jax.Array:
    normed = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1) + 1e-6)[:, None]
    return x + jax.nn.relu(normed @ p["a"] + p["b"]) @ p["c"]


def projected(p: Any, x: jax.Array) -> jax.Array:
    return x @ p["skip"] + jnp.tanh(x @ p["a"] + p["b"]) @ p["c"]


def routed(p: Any, x: jax.Array) -> jax.Array:
    gates = jax.nn.softmax(x @ p["skip"])
    h = x @ p["a"]
    by_hand = h / (1 + jnp.exp(-h))
    return x + gates * (by_hand @ p["c"] + p["b"])


def attending(p: Any, x: jax.Array) -> jax.Array:
    scores = jax.nn.softmax((x @ p["a"]) @ (x @ p["skip"]).T)
    return x + scores @ (x @ p["c"]) + p["b"]


def over_time(p: Any, x: jax.Array) -> jax.Array:
    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        gate = jax.nn.sigmoid(x @ p["a"] + h @ p["c"] + p["b"])
        h = gate * h + (1 - gate) * jnp.tanh(x @ p["skip"])
        return h, h

    return x + jax.lax.scan(step, jnp.zeros(WIDTH), x)[1]


def stack(block: Callable[[Any, jax.Array], jax.Array], count: int) -> Any:
    """A model of ``count`` blocks that gives all values between them."""

    def init(key: jax.Array, x: jax.Array) -> Any:
        names = ("a", "c", "skip")
        kernels = [dict.fromkeys(names, jnp.ones((WIDTH, WIDTH)))] * (count + 1)
        return [kernel | {"b": jnp.ones(WIDTH)} for kernel in kernels]

    def apply(params: Any, x: jax.Array) -> list[jax.Array]:
        values = [x @ params[-1]["a"]]
        for p in params[:-1]:
            values.append(block(p, values[-1]))
        return values

    return jaxinit.Functional(init, apply)


def lines_to_read(block: Callable[[Any, jax.Array], jax.Array], count: int) -> int:
    """How many lines of Python reading a model of ``count`` blocks runs."""
    given = arguments((jnp.ones((3, WIDTH)),), {})
    traced = trace(stack(block, count), given, ())
    lines = 0

    def on(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return on

    before = sys.gettrace()
    sys.settrace(on)
    try:
        read_network(traced, given)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(
    "block",
    [residual, projected, routed, attending, over_time],
    ids=lambda f: f.__name__,
)
def test_the_cost_of_reading_is_linear(block):
    first, second, third = (lines_to_read(block, count) for count in (6, 12, 24))

    # Twice as many more blocks cost twice as much more; were it a square, four times.
    assert third - second < 2.2 * (second - first)
