"""Histograms of rows by sign and exponent: scale-free, and without a sort."""

import jax
import jax.numpy as jnp

Array = jax.Array

LOW, HIGH = -40, 24
"""Exponents below and from which on values share the outermost bins."""
BINS = 2 * (HIGH - LOW) + 1


def exponents(value: Array) -> Array:
    """The shares of values by sign and exponent, `(BINS,)`; NaN is left out.

    Bin ``HIGH - LOW`` is of zeros. From there the bins to the right are of positive
    values with ``floor(log2(x))`` = LOW, LOW + 1, ..., those to the left of negative
    ones alike.
    """
    x = value.astype(jnp.float32).ravel()
    _, exponent = jnp.frexp(x)
    level = jnp.clip(exponent - 1, LOW, HIGH - 1) - LOW + 1
    level = jnp.where(jnp.isinf(x), HIGH - LOW, level)
    bin_ = HIGH - LOW + jnp.where(x == 0, 0, jnp.sign(x).astype(jnp.int32) * level)
    known = ~jnp.isnan(x)
    counts = jnp.zeros(BINS).at[jnp.where(known, bin_, 0)].add(known)
    return counts / jnp.maximum(jnp.sum(known), 1)
