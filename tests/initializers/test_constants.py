"""Constants, and what they do to a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from jaxinit.initializers import constant, ones, zeros

KEY = jax.random.key(0)


def test_values():
    np.testing.assert_array_equal(zeros(KEY, (2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(ones(KEY, (2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(constant(0.5)(KEY, ()), 0.5)


def test_the_key_may_be_none():
    np.testing.assert_array_equal(zeros(None, (2,)), np.zeros(2))


def test_an_array_is_broadcast():
    x = constant(jnp.array([[1.0], [2.0]]))(KEY, (3, 2, 2))

    np.testing.assert_array_equal(x, np.broadcast_to([[1.0], [2.0]], (3, 2, 2)))


def test_complex_values():
    assert constant(1 + 2j)(KEY, (), jnp.complex64) == 1 + 2j

    with pytest.raises(ValueError, match="`value` is complex, but the dtype is float"):
        constant(1 + 2j)(KEY, (2,))


def test_units_with_constant_kernels_stay_equal():
    """After a gradient step all columns are equal: the update has rank one."""
    x = jax.random.normal(KEY, (8, 5))
    y = jax.random.normal(jax.random.key(1), (8, 1))

    def loss(kernels):
        hidden = jnp.tanh(x @ kernels[0])
        return jnp.mean((hidden @ kernels[1] - y) ** 2)

    def step(init):
        kernels = (init(KEY, (5, 4)), init(KEY, (4, 1)))
        return jax.tree.map(lambda w, g: w - g, kernels, jax.grad(loss)(kernels))

    first, second = step(constant(0.3))

    assert np.ptp(first, axis=1).max() < 1e-6
    assert np.ptp(second) < 1e-6
    assert np.ptp(first, axis=0).max() > 1e-3
    # Two zero kernels in a row get no gradient.
    assert all((w == 0).all() for w in step(zeros))


def test_errors():
    with pytest.raises(TypeError, match="`value` must be a number"):
        constant("0.1")
    with pytest.raises(ValueError, match=r"shape \(3,\) does not broadcast to .*\(2,"):
        constant([1.0, 2.0, 3.0])(KEY, (2, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 2\) does not broadcast"):
        constant(np.ones((2, 2)))(KEY, (2,))
    with pytest.raises(ValueError, match=r"`value` must be whole .* int32, got"):
        constant(0.5, jnp.int32)(KEY, ())
    with pytest.raises(ValueError, match="`value` must be finite, got nan"):
        constant(float("nan"))
    with pytest.raises(ValueError, match="float8_e8m0fnu"):
        zeros(KEY, (2,), jnp.float8_e8m0fnu)
    with pytest.raises(ValueError, match="negative entries"):
        zeros(KEY, (2, -1))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (constant, "value"),
        (ji.from_array, "array"),
        (lambda ragged: ji.masked(ji.zeros, ragged), "mask"),
    ],
)
def test_ragged_lists_are_refused_by_name(build, name):
    with pytest.raises(TypeError, match=f"`{name}` must be an array.*ragged"):
        build([[1], [1, 0]])
