"""Several kernels in one array: each is drawn as if it were alone."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxinit.initializers as ji
from tests.initializers.checks import assert_moments, assert_orthogonal, assert_same

KEY = jax.random.key(5)


def test_every_slice_has_its_own_fans_and_key():
    w = ji.stacked(ji.he_normal())(KEY, (4, 256, 64))

    assert_moments(w, mean=0.0, std=math.sqrt(2 / 256), kurtosis=2.2)
    assert not np.allclose(w[0], w[1])
    # What the whole array would have got: a fan-in four times too large.
    assert ji.he_normal()(KEY, (4, 256, 64)).std() < 0.6 * w.std()


def test_stacks_along_any_axes():
    w = ji.stacked(ji.orthogonal(), axis=(0, -1))(KEY, (2, 6, 5, 3))

    assert_orthogonal(jnp.moveaxis(w, -1, 1))


def test_a_slice_is_what_the_base_draws_with_its_key():
    w = ji.stacked(ji.normal(), axis=1)(KEY, (6, 3, 5))

    keys = jax.random.split(KEY, 3)
    for i in range(3):
        np.testing.assert_array_equal(w[:, i], ji.normal()(keys[i], (6, 5)))


def test_blocks_have_their_own_law():
    fused = ji.blocked([ji.zeros, ji.orthogonal(2.0), ji.constant(0.5)], axis=0)

    w = fused(KEY, (12, 4))

    np.testing.assert_array_equal(w[:4], np.zeros((4, 4)))
    assert_orthogonal(w[4:8], scale=2.0)
    np.testing.assert_array_equal(w[8:], np.full((4, 4), 0.5))


def test_blocks_of_unequal_sizes():
    # Eight query heads of 16 share two heads of keys and values.
    qkv = ji.blocked(ji.glorot_normal(), sizes=(128, 32, 32))

    q, k, v = np.split(qkv(KEY, (512, 192)), [128, 160], axis=1)

    assert_moments(q, mean=0.0, std=math.sqrt(2 / 640), kurtosis=2.2)
    for block in (k, v):
        assert_moments(block, mean=0.0, std=math.sqrt(2 / 544), kurtosis=2.2)


def test_fused_glorot_equals_separate_glorot_in_distribution():
    fused = ji.blocked(ji.glorot_uniform(), 3)(KEY, (128, 384))
    whole = ji.glorot_uniform()(KEY, (128, 384))

    bound = math.sqrt(6 / 256)
    for block in np.split(fused, 3, axis=1):
        assert_moments(block, mean=0.0, std=bound / math.sqrt(3), kurtosis=1.8)
        assert np.abs(block).max() <= bound
    assert (fused[:, :128] != fused[:, 128:256]).all()
    assert fused.std() / whole.std() == pytest.approx(math.sqrt(2), rel=0.02)


def heads_of(kernel):
    """The query, key and value kernels of a fused one, ``(3, in, out)``."""
    return jnp.moveaxis(kernel.reshape(64, 3, 64), 1, 0)


def test_fused_qkv_in_flax_layers():
    qkv = ji.blocked(ji.orthogonal(), 3)
    x = jnp.zeros((1, 64))
    dense = nn.Dense(192, kernel_init=qkv).init(KEY, x)["params"]["kernel"]
    # DenseGeneral and LinearGeneral show the initializer a flat (64, 192).
    general = nn.DenseGeneral((3, 4, 16), kernel_init=qkv).init(KEY, x)
    linear = nnx.Linear(64, 192, kernel_init=qkv, rngs=nnx.Rngs(0))
    linear_general = nnx.LinearGeneral(
        64, (3, 4, 16), kernel_init=qkv, rngs=nnx.Rngs(0)
    )

    for kernel in (
        dense,
        general["params"]["kernel"],
        linear.kernel[...],
        linear_general.kernel[...],
    ):
        assert_orthogonal(heads_of(kernel))


def test_partitioning_wrappers():
    bare = ji.blocked(ji.scale(ji.he_normal(), 0.5), 2)
    x = jnp.zeros((1, 64))

    boxed = nn.Dense(32, kernel_init=nn.with_partitioning(bare, (None, "x")))
    kernel = boxed.init(KEY, x)["params"]["kernel"]

    assert kernel.names == (None, "x")
    plain = nn.Dense(32, kernel_init=bare).init(KEY, x)["params"]["kernel"]
    assert_same(kernel.value, plain)

    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        annotated = nnx.with_partitioning(bare, (None, "x"))
        layer = nnx.Linear(64, 32, kernel_init=annotated, rngs=nnx.Rngs(0))
    same = nnx.Linear(64, 32, kernel_init=bare, rngs=nnx.Rngs(0))
    assert_same(layer.kernel[...], same.kernel[...])


def test_combinators_take_wrapped_initializers():
    wrapped = nn.with_partitioning(ji.he_normal(), (None, "x"))

    # A box is not an array: it goes outside of the combinators.
    with pytest.raises(TypeError, match="`base` must return an array, got Partitioned"):
        ji.scale(wrapped, 0.5)(KEY, (64, 32))


def test_combinators_compose():
    init = ji.stacked(
        ji.blocked([ji.scale(ji.orthogonal(), 0.1), ji.masked(ji.normal(1.0), [[0]])])
    )

    w = init(KEY, (3, 8, 16), jnp.bfloat16)

    assert w.dtype == jnp.bfloat16
    # bfloat16 keeps 8 bits: an error of 2^-9 in each entry, 8 entries a row.
    assert_orthogonal(w[:, :, :8], scale=0.1, atol=0.02)
    np.testing.assert_array_equal(w[:, :, 8:], np.zeros((3, 8, 8)))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"number of blocks, above 0.* got none"):
        ji.blocked(ji.zeros)
    with pytest.raises(ValueError, match=r"3 by `num_blocks`, 2 by `bases`"):
        ji.blocked([ji.zeros, ji.ones], 3)
    with pytest.raises(ValueError, match=r"`num_blocks` is 3.* axis -1 .*\(4, 4\)"):
        ji.blocked(ji.zeros, 3)(KEY, (4, 4))
    with pytest.raises(ValueError, match=r"`sizes` \(1, 2\) add up to 3.* has 4"):
        ji.blocked(ji.zeros, sizes=(1, 2))(KEY, (4, 4))
    with pytest.raises(TypeError, match=r"`num_blocks` must be an integer, got 1.5"):
        ji.blocked(ji.zeros, 1.5)
    with pytest.raises(TypeError, match=r"`bases` must be an initializer"):
        ji.blocked([ji.zeros, 3.0])
    with pytest.raises(ValueError, match=r"`axis` is \(2,\).* has 2 axes"):
        ji.stacked(ji.zeros, 2)(KEY, (4, 4))
