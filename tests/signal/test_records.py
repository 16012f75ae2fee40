"""One record: shares are counts, and little code is made for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.signal import records
from jaxinit.signal.records import Axes


@pytest.mark.internals
def test_shares_are_counts_where_values_are_not_finite():
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    x[0, :, 1] = 0
    x[1, 2] = np.inf, -np.inf, np.nan
    x[2, 0, 0] = np.nan

    record = records.forward_record(jnp.asarray(x), Axes(0, (2,)))

    found = dict(zip(records.FORWARD, np.asarray(record), strict=True))
    np.testing.assert_allclose(found["frac_zero"], (x == 0).mean(), rtol=1e-6)
    np.testing.assert_allclose(
        found["frac_nonfinite"], (~np.isfinite(x)).mean(), rtol=1e-6
    )


@pytest.mark.internals
def test_what_a_mask_hides_counts_nowhere():
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32) + 100
    x[:, :, 2] = -np.inf
    x[:2, :, 1] = -1e9
    x[3, 1, 0] = np.nan

    record = records.forward_record(jnp.asarray(x), Axes(0, (2,), masked=True))

    found = dict(zip(records.FORWARD, np.asarray(record), strict=True))
    np.testing.assert_allclose(found["frac_nonfinite"], 1 / 30 / 3, rtol=1e-6)
    assert found["frac_zero"] == 0


@pytest.mark.internals
def test_the_variance_around_a_mean_far_from_zero():
    x = np.random.default_rng(0).normal(size=(8, 16, 4)).astype(np.float32) + 1e4

    record = records.forward_record(jnp.asarray(x), Axes(0, (2,)))

    # What is left of a float32 of 1e4 is 1e-3: the variance of these very numbers.
    expected = x.astype(np.float64).var()
    found = records.statistics(np.asarray(record, np.float64))
    unit = 2 ** float(found["exponent"])
    np.testing.assert_allclose(found["var"] * unit**2, expected, rtol=1e-4)
    np.testing.assert_allclose(found["mean"] * unit, x.mean(dtype=np.float64))


@pytest.mark.internals
def test_a_record_writes_out_few_arrays():
    shape = jax.ShapeDtypeStruct((8, 128, 128), jnp.float32)
    record = jax.jit(records.forward_record, static_argnums=1)

    text = record.lower(shape, Axes(0, (2,))).compile().as_text()

    assert text.count("kind=kLoop") <= 7  # ten before sums took in what they read
