"""BEiT's division by the depth."""

import math

import numpy as np
import pytest

import jaxinit
from jaxinit import glorot_uniform, normal
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.transformer.depth_index import depth_index
from tests.schemes.transformers import TOKENS, pair, single, stds

RTOL = 1e-6


def test_each_block_is_divided_by_the_root_of_the_branches_so_far():
    found = stds(single(5), depth_index(), normal(1.0))

    for name in ("a4", "m2"):
        for block in range(5):
            expected = 0.02 / math.sqrt(2 * (block + 1))
            np.testing.assert_allclose(
                found[f"stack/{name}"][block], expected, rtol=RTOL
            )
    for name in ("a1", "a2", "a3", "m1"):
        np.testing.assert_allclose(found[f"stack/{name}"], 0.02, rtol=RTOL)


def test_encoder_and_decoder_count_from_zero():
    found = stds(pair(2, 3), depth_index(), normal(1.0), TOKENS, TOKENS)

    for name in ("encoder/a4", "decoder/a4", "decoder/b4", "decoder/m2"):
        for block, ratios in enumerate(found[name]):
            expected = 0.02 / math.sqrt(2 * (block + 1))
            np.testing.assert_allclose(ratios, expected, rtol=RTOL)


def test_any_initializer_can_be_divided():
    found = stds(single(2), depth_index(glorot_uniform()), glorot_uniform())

    np.testing.assert_allclose(found["stack/m1"], 1, rtol=RTOL)
    np.testing.assert_allclose(found["stack/m2"][0], math.sqrt(1 / 2), rtol=RTOL)
    np.testing.assert_allclose(found["stack/m2"][1], math.sqrt(1 / 4), rtol=RTOL)


def test_it_asks_for_attention():
    model = jaxinit.Functional(
        lambda key, x: {"w": x}, lambda p, x: x + np.float32(2) * (x @ p["w"])
    )

    with pytest.raises(ValueError, match=r"depth_index\(\) is for transformers"):
        initialize(model, depth_index(), 0, np.eye(3, dtype=np.float32))
    with pytest.raises(TypeError, match="`base` must be an initializer"):
        depth_index(0.02)
