"""Large orthogonal kernels from small ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.initializers import kronecker_orthogonal, orthogonal
from jaxinit.initializers.kronecker_orthogonal import factors
from tests.initializers.checks import assert_orthogonal, widened

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(24, 16), (16, 24), (12, 12), (3, 2, 6), (7, 5)])
def test_all_singular_values_are_the_scale(shape):
    w = kronecker_orthogonal(1.5)(KEY, shape)

    assert_orthogonal(w.reshape(-1, shape[-1]), scale=1.5)


def test_it_is_a_product_of_two_haar_factors():
    draw = jax.vmap(lambda key: kronecker_orthogonal()(key, (6, 4)))
    w = widened(draw(jax.random.split(KEY, 2000)))

    # With the indices of each factor together, the matrix has rank one.
    (r1, c1), (r2, c2) = factors(6, 4)
    split = w.reshape(-1, r1, r2, c1, c2).transpose(0, 1, 3, 2, 4)
    blocks = split.reshape(-1, r1 * c1, r2 * c2)
    sizes = np.linalg.svd(blocks, compute_uv=False)
    np.testing.assert_allclose(sizes[:, 1:], 0, atol=1e-5)
    # An element of a Haar matrix has mean square 1/rows, here of each factor.
    power = np.mean(w**2, 0)
    np.testing.assert_allclose(power, 1 / 6, atol=0.03)
    np.testing.assert_allclose(np.mean(w, 0), 0, atol=0.05)


def test_columns_and_stacks_lie_where_asked():
    w = kronecker_orthogonal(column_axis=0, batch_axis=1)(KEY, (4, 3, 8))

    for index in range(3):
        assert_orthogonal(w[:, index].T)
    assert float(jnp.abs(w[:, 0] - w[:, 1]).max()) > 0.1


@pytest.mark.parametrize(
    ("rows", "cols", "wanted"),
    [
        (4096, 4096, {(64, 64)}),
        (3072, 768, {(48, 32), (64, 24)}),
        (30522, 768, {(6, 6), (5087, 128)}),
        (8, 3, {(2, 1), (4, 3)}),  # prime columns do not stand in the way
        (13, 7, {(13, 7), (1, 1)}),
    ],
)
def test_factors_are_tall_and_cheap(rows, cols, wanted):
    found = factors(rows, cols)

    assert set(found) == wanted
    assert np.prod(found, axis=0).tolist() == [rows, cols]
    assert all(r >= c for r, c in found)


def test_a_prime_number_of_rows_has_no_factors():
    plain = orthogonal()(KEY, (13, 7))

    np.testing.assert_array_equal(kronecker_orthogonal()(KEY, (13, 7)), plain)
