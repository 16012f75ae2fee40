"""By which power a kernel grows with the parameter that it is computed from."""

import jax
import jax.numpy as jnp
import pytest

from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from jaxinit.roles.network import read_network
from tests.roles.structures import function

X = jnp.ones((4, 8))

KERNELS = {
    "itself": (lambda p: p["w"], 1),
    "twice itself, cut in parts": (lambda p: (2 * p["w"]).reshape(4, 2, 8)[1:], 1),
    "a sum with another": (lambda p: p["w"] + p["v"], None),
    "its direction": (lambda p: p["w"] / jnp.linalg.norm(p["w"]), 0),
    "its direction, with a gain": (
        lambda p: p["g"] * p["w"] / jnp.sqrt((p["w"] ** 2).sum(0) + 1e-6),
        0,
    ),
    "standardized": (lambda p: (p["w"] - p["w"].mean(0)) / p["w"].std(0), 0),
    "of spectral norm 1": (lambda p: p["w"] / jnp.linalg.norm(p["w"], 2), 0),
    "its square": (lambda p: p["w"] ** 2, 2),
    "its exponential": (lambda p: jnp.exp(p["w"]), None),
}


@pytest.mark.internals
@pytest.mark.parametrize("name", KERNELS)
def test_degree_of_a_kernel(name):
    kernel, expected = KERNELS[name]

    def apply(p, x):
        return jnp.tensordot(x, kernel(p)[..., :8, :].reshape(-1, 8)[:8], 1)

    if "parts" in name:

        def apply(p, x):
            return x[:, :6] @ kernel(p).reshape(6, 8)

    shapes = {"w": (8, 8), "v": (8, 8), "g": (8,)}
    given = arguments((X,), {})
    anchors = read_network(trace(function(shapes, apply), given), given).anchors
    leaf = sorted(shapes).index("w")
    (node,) = [anchors.flow.nodes[i] for i in anchors.weights]
    found = {anchors.degrees[value].get(leaf) for value in node.operands} - {None}

    assert found == (set() if expected is None else {expected})


def test_a_loop_tells_nothing():
    def apply(p, x):
        w = jax.lax.fori_loop(0, 3, lambda i, w: w * w, p["w"])
        return x @ w

    given = arguments((X,), {})
    model = function({"w": (8, 8)}, apply)
    anchors = read_network(trace(model, given), given).anchors
    (number,) = anchors.weights.values()

    assert anchors.has_effect(number, 0)
