"""What it costs to read a network grows with its blocks, and no faster."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from jaxinit.roles.network import read_network
from jaxinit.signal.between import fronts
from tests.growth import is_linear

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


def read(block: Callable[[Any, jax.Array], jax.Array], count: int) -> Any:
    """A model of ``count`` blocks, traced, and a call that reads it."""
    given = arguments((jnp.ones((3, WIDTH)),), {})
    traced = trace(stack(block, count), given, ())
    return lambda: read_network(traced, given)


@pytest.mark.parametrize(
    "block",
    [residual, projected, routed, attending, over_time],
    ids=lambda f: f.__name__,
)
def test_the_cost_of_reading_is_linear(block):
    assert is_linear(lambda count: read(block, count), (6, 12, 24))


def test_the_cost_of_what_lies_between_layers_is_linear():
    def look(count: int) -> Callable[[], Any]:
        network = read(residual, count)()
        # The last block takes what all others added to the stream.
        assert max(len(front.facts["after"]) for front in fronts(network)) == count
        return lambda: fronts(network)

    assert is_linear(look, (6, 12, 24))
