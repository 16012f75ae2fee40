"""Blocks are what a stream passes, whatever it is that mixes positions."""

import jax
import jax.numpy as jnp
import pytest

from jaxinit.roles.blocks import number_blocks
from tests.roles.structures import function, network_of

X = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)


def attention(p, name, x):
    q, k, v = (x @ p[f"{name}_{part}"] for part in "qkv")
    return jax.nn.softmax(q @ jnp.swapaxes(k, 1, 2)) @ v @ p[f"{name}_o"]


def recurrence(p, name, x):
    def step(h, x):
        h = 0.5 * h + x
        return h, h

    steps = jnp.swapaxes(x @ p[f"{name}_q"], 0, 1)
    _, states = jax.lax.scan(step, jnp.zeros_like(steps[0]), steps)
    return jax.nn.gelu(jnp.swapaxes(states, 0, 1)) @ p[f"{name}_o"]


def shifted(p, name, x):
    before = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return jax.nn.relu((x + before) @ p[f"{name}_q"]) @ p[f"{name}_o"]


def convolution(p, name, x):
    y = jax.lax.conv_general_dilated(
        x, p[f"{name}_c"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    return jax.nn.relu(y) @ p[f"{name}_o"]


def mlp(p, name, x):
    return jax.nn.relu(x @ p[f"{name}_q"]) @ p[f"{name}_o"]


KINDS = {
    "A": attention,
    "R": recurrence,
    "S": shifted,
    "C": convolution,
    "M": mlp,
}
BLOCKS = {
    "AMAM": [0, 0, 1, 1],
    "RMRMAMRM": [0, 0, 1, 1, 2, 2, 3, 3],  # Griffin
    "SMAM": [0, 0, 1, 1],
    "MACMMACM": [0, 0, 0, 0, 0, 1, 1, 1],  # Conformer
    "AAA": [0, 1, 2],
}


@pytest.mark.parametrize("stream", BLOCKS)
def test_a_block_mixes_positions_then_works_on_each(stream):
    def apply(p, x):
        x = x @ p["enter"]
        for number, kind in enumerate(stream):
            x = x + KINDS[kind](p, str(number), x)
        return x @ p["head"]

    shapes = {"enter": (8, 8), "head": (8, 3)}
    for number, kind in enumerate(stream):
        shapes |= {f"{number}_{part}": (8, 8) for part in "qo"}
        if kind == "A":
            shapes |= {f"{number}_{part}": (8, 8) for part in "kv"}
        if kind == "C":
            shapes[f"{number}_c"] = (3, 8, 8)
            del shapes[f"{number}_q"]
    network = network_of(function(shapes, apply), X)
    structure = network.structure
    found = number_blocks(network.anchors, structure.branches, structure.attentions)

    assert [int(block) for block in found.blocks] == BLOCKS[stream]
    assert found.counts == {0: BLOCKS[stream][-1] + 1}


def test_each_layer_of_a_scan_is_a_block():
    def apply(p, x):
        def block(x, q):
            return x + attention(q, "a", x), None

        return jax.lax.scan(block, x @ p["enter"], {k: p[k] for k in p if "_" in k})[0]

    shapes = {"enter": (8, 8)} | {f"a_{part}": (4, 8, 8) for part in "qkvo"}
    network = network_of(function(shapes, apply), X)
    structure = network.structure
    found = number_blocks(network.anchors, structure.branches, structure.attentions)

    assert [block.tolist() for block in found.blocks] == [[0, 1, 2, 3]]
