"""DeepNorm's constants, to all digits, and what is drawn with them."""

import math

import numpy as np
import pytest

from jaxinit import variance_scaling
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.transformer.deepnorm import (
    deepnorm,
    deepnorm_alpha,
    deepnorm_constants,
    sub_ln,
)
from tests.schemes.transformers import TOKENS, pair, single, stds

GLOROT = variance_scaling(1.0, "fan_avg", "normal")
RTOL = 1e-6
SCALED = ("a3", "a4", "b3", "b4", "m1", "m2")


@pytest.mark.parametrize(
    ("blocks", "alpha", "beta"),
    [
        (6, 1.86120972, 0.37991784),
        (12, 2.21336384, 0.31947155),
        (24, 2.63214803, 0.26864248),
        (100, 3.76060309, 0.18803015),
        (1000, 6.68740305, 0.10573713),
    ],
)
def test_the_table_of_one_stack(blocks, alpha, beta):
    found = deepnorm_constants(blocks)

    assert found.decoder is None
    assert found.encoder == pytest.approx((alpha, beta), abs=5e-9)


def test_the_table_of_encoder_and_decoder():
    found = deepnorm_constants(6, 6)

    assert found.encoder == pytest.approx((1.41793814, 0.49698924), abs=5e-9)
    assert found.decoder == pytest.approx((2.05976714, 0.34329452), abs=5e-9)


def test_a_deep_encoder_with_a_shallow_decoder():
    """16 blocks and 1: the constants are powers of 2 and of 3."""
    found = deepnorm_constants(16, 1)

    assert found.encoder == pytest.approx((0.81 * 2, 0.87 / 2))
    assert found.decoder == pytest.approx((3**0.25, 12**-0.25))


def test_impossible_numbers_of_blocks():
    with pytest.raises(ValueError, match="must not both be 0"):
        deepnorm_constants(0)
    with pytest.raises(ValueError, match=r"`num_decoder_blocks` must be .*, got -1"):
        deepnorm_constants(1, -1)


def test_alpha_is_read_off_the_model():
    alone = deepnorm_alpha(single(12), TOKENS)
    both = deepnorm_alpha(pair(6, 6), TOKENS, TOKENS)

    assert alone == deepnorm_constants(12)
    assert both == deepnorm_constants(6, 6)


def test_one_stack():
    found = stds(single(12), deepnorm(), GLOROT)

    for part in ("a3", "a4", "m1", "m2"):
        np.testing.assert_allclose(found[f"stack/{part}"], 0.31947155, rtol=RTOL)
    for part in ("a1", "a2"):
        np.testing.assert_allclose(found[f"stack/{part}"], 1, rtol=RTOL)


def test_encoder_and_decoder():
    found = stds(pair(6, 6), deepnorm(), GLOROT, TOKENS, TOKENS)

    for name, ratio in found.items():
        stack, _, part = name.rpartition("/")
        if stack:
            beta = {"encoder": 0.49698924, "decoder": 0.34329452}[stack]
            expected = beta if part in SCALED else 1.0
            np.testing.assert_allclose(ratio, expected, rtol=RTOL)


def test_embeddings_and_readout_are_left_alone():
    model = single(2)
    own = initialize(model, deepnorm(), 0, TOKENS)
    other = initialize(model, sub_ln(), 0, TOKENS)

    for name in ("e", "r"):
        np.testing.assert_array_equal(own[name], other[name])
        assert 0.5 < np.std(own[name]) < 2  # the model's own N(0, 1)


def test_sub_ln_grows_with_depth():
    found = stds(single(12), sub_ln(), GLOROT)
    both = stds(pair(6, 4), sub_ln(), GLOROT, TOKENS, TOKENS)

    np.testing.assert_allclose(found["stack/m1"], math.sqrt(math.log(24)), rtol=RTOL)
    np.testing.assert_allclose(found["stack/a1"], 1, rtol=RTOL)
    encoder = math.sqrt(math.log(12) * math.log(12) / 3)
    np.testing.assert_allclose(both["encoder/m2"], encoder, rtol=RTOL)
    np.testing.assert_allclose(both["decoder/b3"], math.sqrt(math.log(12)), rtol=RTOL)
