"""Every checking helper notices what it is there for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.initializers.checks import (
    assert_law,
    assert_moments,
    assert_orthogonal,
    assert_same,
)

NORMAL = jax.random.normal(jax.random.key(0), (256, 512))


def test_assert_same_notices_one_bit():
    x = jnp.ones((3,))

    with pytest.raises(AssertionError, match="Mismatched elements: 1 / 3"):
        assert_same(x, x.at[1].set(np.nextafter(np.float32(1), np.float32(2))))


def test_assert_same_notices_a_dtype():
    with pytest.raises(AssertionError, match="float32 is not bfloat16"):
        assert_same(jnp.ones((3,)), jnp.ones((3,), jnp.bfloat16))


def test_assert_moments_notices_two_percent_of_std():
    assert_moments(NORMAL, mean=0.0, std=1.0)

    with pytest.raises(AssertionError, match=r"std .*, expected 1\.02"):
        assert_moments(NORMAL, mean=0.0, std=1.02)


def test_assert_moments_notices_two_percent_of_mean():
    with pytest.raises(AssertionError, match=r"mean .*, expected 0\.02"):
        assert_moments(NORMAL, mean=0.02, std=1.0)


def test_assert_law_notices_a_cut_at_two_sigma():
    assert_law(NORMAL, stats.norm.cdf)

    with pytest.raises(AssertionError, match="KS distance"):
        assert_law(NORMAL, stats.truncnorm(-2, 2).cdf)


def test_assert_orthogonal_notices_one_element():
    w = jnp.eye(8)
    assert_orthogonal(w)

    with pytest.raises(AssertionError, match="allowed 1e-05"):
        assert_orthogonal(w.at[2, 3].set(1e-4))
