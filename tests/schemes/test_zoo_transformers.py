"""Every transformer of the zoo by every scheme: the std of each role, block by block.

A scanned model and its unrolled twin are held against the same table.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest

from jaxinit import Functional
from jaxinit.schemes.drawing import scheme_draw
from jaxinit.schemes.initialize import prepare
from jaxinit.schemes.transformer.deepnorm import deepnorm
from jaxinit.schemes.transformer.depth_index import depth_index
from jaxinit.schemes.transformer.gpt2 import full_megatron, gpt2
from jaxinit.schemes.transformer.mimetic import mimetic
from jaxinit.schemes.transformer.mitchell import mitchell
from jaxinit.schemes.transformer.small_init import small_init, wang_init
from jaxinit.schemes.transformer.t5 import t5
from jaxinit.schemes.transformer.t_fixup import t_fixup
from tests.initializers.checks import assert_moments
from tests.zoo import ZOO

# Sizes of all of them.
WIDTH, HEAD, HIDDEN = 16, 8, 32
DEPTHS = {
    "gpt": 3,
    "gpt_scanned": 3,
    "encoder_decoder": 1,
    "vit": 1,
    "nnx_transformer": 2,
    "nnx_scanned": 3,
}
SEEDS = 32
CUT = 0.98657839  # the std of a normal cut at 3 sigma


class Weight(NamedTuple):
    """A weight of a block, by its path.

    Attributes:
      part: ``"query"``, ``"key"``, ``"value"``, ``"out"``, ``"fc"`` or ``"proj"``.
      block: the number of its block.
      depth: the number of blocks.
      decoder: whether there is cross-attention, as well as an encoder.
      paired: whether there are an encoder and a decoder.
    """

    part: str
    block: int
    depth: int
    decoder: bool
    paired: bool

    @property
    def is_end(self) -> bool:
        return self.part in ("out", "proj")

    @property
    def fan_in(self) -> int:
        return HIDDEN if self.part == "proj" else WIDTH

    @property
    def glorot(self) -> float:
        return math.sqrt(
            2 / (WIDTH + (HIDDEN if self.part in ("fc", "proj") else WIDTH))
        )


def by_gpt2(w: Weight) -> float:
    branches = (3 if w.decoder else 2) * w.depth
    return 0.02 / math.sqrt(branches) if w.is_end else 0.02


def by_depth_index(w: Weight) -> float:
    return 0.02 / math.sqrt(2 * (w.block + 1)) if w.is_end else 0.02


def by_mitchell(w: Weight) -> float:
    return CUT / math.sqrt(w.fan_in * (2 * (w.block + 1) if w.is_end else 1))


def by_wang(w: Weight) -> float:
    if w.is_end:
        return 2 / (w.depth * math.sqrt(WIDTH))
    return math.sqrt(2 / (5 * WIDTH))


def by_t5(w: Weight) -> float:
    return (w.fan_in * (HEAD if w.part == "query" else 1)) ** -0.5


def by_t_fixup(w: Weight) -> float:
    if w.part in ("query", "key"):
        return w.glorot
    factor = (9 * w.depth) ** -0.25 if w.decoder else 0.67 * w.depth**-0.25
    return w.glorot * factor


def by_deepnorm(w: Weight) -> float:
    if w.part in ("query", "key"):
        return w.glorot
    if w.decoder:
        return w.glorot * 12**-0.25
    return w.glorot * (0.87 if w.paired else (8 * w.depth) ** -0.25)


SCHEMES: dict[str, tuple[object, Callable[[Weight], float], dict[str, float]]] = {
    "gpt2": (gpt2(), by_gpt2, {"table": 0.02, "head": 0.02, "patches": 0.02}),
    "full_megatron": (
        full_megatron(),
        lambda w: CUT * by_gpt2(w),
        {"table": CUT * 0.02, "head": CUT * 0.02},
    ),
    "depth_index": (depth_index(), by_depth_index, {"table": 0.02, "head": 0.02}),
    "mitchell": (
        mitchell(),
        by_mitchell,
        {"table": CUT / 4, "head": CUT / 4, "patches": CUT * 48**-0.5},
    ),
    "small_init": (
        small_init(),
        lambda w: math.sqrt(2 / 80),
        {"table": 80**-0.5 * 2**0.5},
    ),
    "wang_init": (wang_init(), by_wang, {"head": math.sqrt(2 / 80)}),
    "t5": (t5(), by_t5, {"table": 1.0, "head": 0.25, "patches": 48**-0.5}),
    "t_fixup": (t_fixup(), by_t_fixup, {}),
    "deepnorm": (deepnorm(), by_deepnorm, {}),
}


def drawn(name: str, scheme: object, seeds: int = SEEDS) -> dict[str, np.ndarray]:
    """Weights of many seeds, by path, the blocks of a scan apart."""
    entry = ZOO[name]
    network, inputs = prepare(
        entry.make(), entry.args(), dict(entry.kwargs), entry.streams
    )
    keys = jax.random.split(jax.random.key(0), seeds)
    leaves = scheme_draw(network, scheme).batched(keys, *inputs)
    found = {}
    for parameter, leaf in zip(network.params, leaves, strict=False):
        if parameter.path[0] == "blocks" and not parameter.path[1].isdigit():
            rest = "/".join(parameter.path[1:])
            for block in range(leaf.shape[1]):
                found[f"blocks/{block}/{rest}"] = np.asarray(leaf[:, block])
        else:
            found[parameter.name] = np.asarray(leaf)
    return found


def weight_of(model: str, path: str) -> Weight | None:
    """The weight of a block that a path names."""
    found = re.fullmatch(
        r"(?:blocks/|block_)?(encoder|decoder|block|\d+)/(?:(?:attn|cross)/)?"
        r"(query|key|value|out|fc|proj)/kernel",
        path,
    )
    if found is None:
        return None
    place, part = found.groups()
    block = int(place) if place.isdigit() else 0
    paired = model == "encoder_decoder"
    return Weight(part, block, DEPTHS[model], place == "decoder", paired)


@pytest.mark.filterwarnings("ignore:.*without normalization:UserWarning")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("model", DEPTHS)
def test_std_of_each_role(model, scheme):
    chosen, expected, others = SCHEMES[scheme]
    checked = 0
    for path, values in drawn(model, chosen).items():
        weight = weight_of(model, path)
        if weight is not None:
            assert_moments(values, mean=0, std=expected(weight))
            checked += 1
        elif path.endswith("scale"):
            assert np.all(values == 1)
        elif path.endswith("bias"):
            assert np.all(values == 0)
        else:
            folder = path.partition("/")[0]
            kind = folder if folder in ("head", "patches") else "table"
            if kind in others:
                assert_moments(values, mean=0, std=others[kind])
    assert checked == (16 if model == "encoder_decoder" else 6 * DEPTHS[model])


@pytest.mark.parametrize("model", DEPTHS)
def test_mimetic_self_attention(model):
    checked = 0
    found = drawn(model, mimetic(), 4)
    for path, value in found.items():
        if not path.endswith("attn/value/kernel"):
            continue
        out = found[path.replace("value", "out")]
        product = np.einsum(
            "sij,sjk->sik",
            value.reshape(4, WIDTH, WIDTH),
            out.reshape(4, WIDTH, WIDTH),
        )
        noise = (product + 0.4 * np.eye(WIDTH)) / 0.4
        assert_moments(noise, mean=0, std=WIDTH**-0.5)
        query = found[path.replace("value", "query")]
        key = found[path.replace("value", "key")]
        diagonal = np.einsum("sihk,sihk->shi", query, key)
        assert np.all(diagonal.mean(axis=-1) > 0.1)
        checked += 1
    assert checked == (2 if model == "encoder_decoder" else DEPTHS[model])


ALL = [scheme for scheme, _, _ in SCHEMES.values()] + [mimetic()]


@pytest.mark.parametrize("name", sorted(set(ZOO) - set(DEPTHS)))
def test_other_models_are_drawn_or_refused_with_advice(name):
    entry = ZOO[name]
    network, _ = prepare(
        Functional(*entry.make()) if entry.kind == "functional" else entry.make(),
        entry.args(),
        dict(entry.kwargs),
        entry.streams,
    )
    for scheme in ALL:
        advice = None
        try:
            leaves = [a.leaf for a in scheme.assign(network)]
        except ValueError as error:
            advice = str(error)
        if advice is None:
            assert leaves
            assert len(set(leaves)) == len(leaves)
        else:
            assert re.search(r"rules\(|override\(|self-attention", advice)
