"""ZerO: partial identities and Hadamard matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

import jaxinit.initializers as ji

KEY = jax.random.key(12)


@pytest.mark.parametrize(
    ("ins", "outs", "singular_values"),
    [
        (5, 8, [1, 1, 1, 1, 1]),
        (5, 6, [1, 1, 1, 0.70710678, 0.5]),
        (8, 5, [1, 1, 1, 1, 1]),
        (1, 2, [1]),
    ],
)
def test_singular_values(ins, outs, singular_values):
    w = ji.zero_hadamard()(KEY, (ins, outs))

    found = np.linalg.svd(np.asarray(w, np.float64), compute_uv=False)
    np.testing.assert_allclose(found, singular_values, atol=1e-7)


@pytest.mark.parametrize("outs", [2, 3, 8, 13, 16])
def test_wide_kernels_are_corners_of_a_hadamard_matrix(outs):
    size = 1 << (outs - 1).bit_length()
    ins = outs - 1

    w = ji.zero_hadamard()(KEY, (ins, outs))

    # As (out, in): eye(out, p) H eye(p, in) / sqrt(p).
    corner = linalg.hadamard(size)[:outs, :ins] / np.sqrt(size)
    np.testing.assert_allclose(w.T, corner, rtol=1e-6)


def test_convolutions_have_it_at_the_center():
    w = ji.zero_hadamard()(KEY, (3, 4, 4, 2))

    np.testing.assert_array_equal(w[1, 1], jnp.eye(4, 2))
    np.testing.assert_array_equal(w.at[1, 1].set(0), jnp.zeros((3, 4, 4, 2)))


def test_rank_is_checked():
    with pytest.raises(ValueError, match=r"at least two axes.* got \(3,\)"):
        ji.zero_hadamard()(KEY, (3,))
