"""Which weights choose, or weigh, the paths that data take."""

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from tests.roles.structures import function

X = jnp.ones((6, 8))
SHAPES = {"gate": (8, 4), "up": (4, 8, 16), "down": (4, 16, 8), "head": (8, 3)}


def roles(apply, shapes=SHAPES):
    rows = jaxinit.explain(function(shapes, apply), jaxinit.lecun_normal(), X).rows
    return {row.name: set(row.roles) for row in rows}


def top(p, x):
    share = jax.nn.softmax(x @ p["gate"])
    largest, where = jax.lax.top_k(share, 2)
    return jnp.zeros_like(share).at[jnp.arange(6)[:, None], where].set(largest)


def dense(p, x):
    return jax.nn.softmax(x @ p["gate"])


def switch(p, x):
    scores = x @ p["gate"]
    return jax.nn.one_hot(scores.argmax(-1), 4) * jax.nn.softmax(scores)


@pytest.mark.parametrize("gates", [top, dense, switch])
def test_the_gates_of_experts_are_a_router_and_end_no_branch(gates):
    def apply(p, x):
        h = jax.nn.relu(jnp.einsum("td,edf->etf", x, p["up"]))
        h = jnp.einsum("etf,efd->etd", h, p["down"])
        return (x + jnp.einsum("te,etd->td", gates(p, x), h)) @ p["head"]

    found = roles(apply)

    assert {name for name, has in found.items() if "router" in has} == {"gate"}
    assert {name for name, has in found.items() if "branch_end" in has} == {"down"}


def test_neither_a_gated_unit_nor_an_attention_has_a_router():
    def apply(p, x):
        h = jax.nn.silu(x @ p["a"]) * (x @ p["b"])
        scores = jax.nn.softmax((h @ p["q"]) @ (h @ p["k"]).T)
        return jax.nn.log_softmax(scores @ h @ p["head"])

    shapes = {"a": (8, 8), "b": (8, 8), "q": (8, 8), "k": (8, 8), "head": (8, 3)}

    assert not any("router" in has for has in roles(apply, shapes).values())
