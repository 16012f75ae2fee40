"""Rows of embedding tables."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_law, assert_moments

KEY = jax.random.key(7)


def test_the_law_of_a_row_does_not_depend_on_the_vocabulary():
    for vocab in (50, 5000):
        table = ji.embedding()(KEY, (vocab, 64))

        assert_moments(table, mean=0.0, std=0.125)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        ("flax", stats.norm(scale=0.125)),
        ("torch", stats.norm()),
        ("t5", stats.norm()),
        ("palm", stats.norm()),
        ("gpt2", stats.norm(scale=0.02)),
        ("gpt2_position", stats.norm(scale=0.01)),
        ("keras", stats.uniform(-0.05, 0.1)),
    ],
)
def test_each_kind_has_its_law(kind, law):
    assert_law(ji.embedding(kind)(KEY, (200, 64)), law.cdf)


def test_padding_rows_are_zero_and_others_untouched():
    plain = np.array(ji.embedding("torch")(KEY, (20, 64)))
    for index in (0, 19, -1):
        table = ji.embedding("torch", padding_index=index)(KEY, (20, 64))

        expected = plain.copy()
        expected[index] = 0
        np.testing.assert_array_equal(table, expected)


def test_flax_layers():
    init = ji.embedding("gpt2", padding_index=3)
    linen = nn.Embed(100, 64, embedding_init=init).init(KEY, jnp.zeros((1,), int))
    module = nnx.Embed(100, 64, embedding_init=init, rngs=nnx.Rngs(0))

    for table in (linen["params"]["embedding"], module.embedding[...]):
        assert float(jnp.abs(table[3]).max()) == 0.0
        assert float(table.std()) == pytest.approx(0.02 * math.sqrt(0.99), rel=0.05)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`kind` must be one of 'flax'.*got 'bert'"):
        ji.embedding("bert")
    with pytest.raises(TypeError, match=r"`padding_index` must be an integer.* 1.5"):
        ji.embedding(padding_index=1.5)
    with pytest.raises(ValueError, match=r"`padding_index` is 20, .* 20 rows"):
        ji.embedding(padding_index=20)(KEY, (20, 64))
    with pytest.raises(ValueError, match=r"must be \(vocab, features\), got \(3,\)"):
        ji.embedding()(KEY, (3,))


def test_bounds_are_kept_in_low_precision():
    # 0.05 itself rounds up.
    table = ji.embedding("keras")(KEY, (100, 200), jnp.bfloat16)

    assert float(abs(table).max()) < 0.05
