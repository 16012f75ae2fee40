"""OLMo's law: fan-in, cut at three sigma, ends of branches by depth."""

import math

import numpy as np

from jaxinit import truncated_normal
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.transformer.mitchell import mitchell
from tests.initializers.checks import assert_moments
from tests.schemes.transformers import TOKENS, single, stds

UNIT = truncated_normal(1.0, lower=-3.0, upper=3.0)
RTOL = 1e-6


def test_inputs_of_a_block_depend_on_the_width_alone():
    found = stds(single(3, width=16, heads=2, size=3, hidden=24), mitchell(), UNIT)

    for name in ("stack/a1", "stack/a2", "stack/a3", "stack/m1", "e", "r"):
        np.testing.assert_allclose(found[name], 16**-0.5, rtol=RTOL)


def test_ends_fall_with_depth():
    found = stds(single(3, width=16, heads=2, size=3, hidden=24), mitchell(), UNIT)

    for block in range(3):
        attention = 1 / math.sqrt(2 * 16 * (block + 1))
        mlp = 1 / math.sqrt(2 * 24 * (block + 1))
        np.testing.assert_allclose(found["stack/a4"][block], attention, rtol=RTOL)
        np.testing.assert_allclose(found["stack/m2"][block], mlp, rtol=RTOL)


def test_the_truncation_is_not_made_up_for():
    weights = initialize(single(1, width=64, hidden=512), mitchell(), 0, TOKENS)
    inside = weights["stack"]["m1"]

    assert np.abs(inside).max() < 3 / 8
    assert_moments(inside, mean=0, std=0.98657839 / 8)
