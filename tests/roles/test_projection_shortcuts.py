"""Residual branches beside a shortcut that has weights of its own."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import jaxinit
from tests.roles.structures import function


class Block(nn.Module):
    """A block of a diffusion U-Net: a time embedding enters its branch."""

    features: int
    train: bool

    @nn.compact
    def __call__(self, x, t):
        h = nn.BatchNorm(use_running_average=not self.train)(x)
        h = nn.Conv(self.features, (3, 3))(nn.silu(h))
        h = h + nn.Dense(self.features)(nn.silu(t))[:, None, None]
        h = nn.BatchNorm(use_running_average=not self.train)(h)
        h = nn.Conv(self.features, (3, 3))(nn.silu(h))
        shortcut = nn.Conv(self.features, (1, 1))(x)
        return h + nn.BatchNorm(use_running_average=not self.train)(shortcut)


class Net(nn.Module):
    train: bool

    @nn.compact
    def __call__(self, x, t):
        t = nn.Dense(4)(nn.silu(nn.Dense(4)(t)))
        x = nn.Conv(4, (3, 3))(x)
        for features in (6, 4):
            x = Block(features, self.train)(x, t)
        return nn.Conv(3, (3, 3))(x)


@pytest.mark.parametrize("train", [True, False])
def test_a_time_embedding_and_norms_in_training(train):
    shapes = [jax.ShapeDtypeStruct(s, "float32") for s in ((2, 4, 4, 3), (2, 4))]
    found = jaxinit.residual_structure(Net(train), *shapes)

    assert found.num_branches == 2
    assert [branch.ends for branch in found.branches] == [
        ("Block_0/Conv_1/kernel",),
        ("Block_1/Conv_1/kernel",),
    ]


def test_the_scores_of_a_softmax_are_no_stream():
    def apply(p, tokens):
        h = p["table"][tokens]
        mask = jnp.where(tokens[:, None, :] > 0, 0.0, -1e9)
        scores = (h @ p["q"]) @ jnp.swapaxes(h @ p["k"], 1, 2) + mask + p["relative"]
        return (h + jax.nn.softmax(scores) @ (h @ p["v"]) @ p["o"]) @ p["head"]

    shapes = {
        **{"table": (20, 8), "relative": (6, 6), "head": (8, 4)},
        **dict.fromkeys("qkvo", (8, 8)),
    }
    tokens = jnp.arange(12).reshape(2, 6)
    found = jaxinit.residual_structure(function(shapes, apply), tokens)

    assert [branch.ends for branch in found.branches] == [("o",)]


def test_a_projection_in_a_model_without_folders():
    def apply(p, x):
        x = jax.nn.relu(x @ p["stem"])
        x = jax.nn.relu(x @ p["a"]) @ p["b"] + x @ p["shortcut"]
        return jax.nn.relu(x) @ p["head"]

    shapes = {"stem": (8, 8), "a": (8, 6), "b": (6, 4), "shortcut": (8, 4)}
    model = function({**shapes, "head": (4, 2)}, apply)
    found = jaxinit.residual_structure(model, jax.ShapeDtypeStruct((3, 8), "float32"))

    assert [branch.ends for branch in found.branches] == [("b",)]


def test_sums_inside_a_gated_cell_are_no_branches():
    def cell(p, h, x):
        reset = jax.nn.sigmoid(x @ p["xr"] + h @ p["hr"])
        new = jnp.tanh(x @ p["xn"] + reset * (h @ p["hn"]))
        return h @ p["out"] + new @ p["o"]

    names = ("xr", "hr", "xn", "hn", "out", "o")
    model = function(dict.fromkeys(names, (8, 8)), lambda p, x: cell(p, x, x[::-1]))
    found = jaxinit.residual_structure(model, jax.ShapeDtypeStruct((3, 8), "float32"))

    assert [branch.ends for branch in found.branches] == [("o",)]


def test_the_output_of_a_gated_recurrence_is_a_stream():
    """Its gates lie within the loop; what is added to it is a branch."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.RNN(nn.GRUCell(4))(nn.Dense(4)(x))
            x = x + nn.Dense(4)(nn.relu(nn.Dense(6)(x)))
            return nn.Dense(2)(x)

    shape = jax.ShapeDtypeStruct((2, 3, 4), "float32")
    found = jaxinit.residual_structure(Model(), shape)

    assert [branch.ends for branch in found.branches] == [("Dense_1/kernel",)]
