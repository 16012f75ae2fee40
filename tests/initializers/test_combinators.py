"""Scaled, recast, masked and given arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from tests.initializers.checks import assert_same

KEY = jax.random.key(2)


def test_scale_multiplies_before_rounding():
    init = ji.scale(ji.normal(1.0), 1 / 3)

    full = init(KEY, (16, 16), jnp.float32)
    np.testing.assert_allclose(full, ji.normal(1.0)(KEY, (16, 16)) / 3, rtol=1e-6)
    assert_same(init(KEY, (16, 16), jnp.bfloat16), full.astype(jnp.bfloat16))
    rounded_twice = ji.normal(1.0)(KEY, (16, 16), jnp.bfloat16) / 3
    assert (rounded_twice != full.astype(jnp.bfloat16)).any()


def test_cast_mends_a_foreign_initializer():
    foreign = jax.nn.initializers.uniform(1.0)
    shape = (256, 256)

    distinct = len(np.unique(np.asarray(foreign(KEY, shape, jnp.bfloat16))))
    mended = ji.cast(foreign)(KEY, shape, jnp.bfloat16)

    assert distinct == 128
    assert_same(mended, foreign(KEY, shape, jnp.float32).astype(jnp.bfloat16))
    assert len(np.unique(np.asarray(mended))) > 512


def test_cast_draws_in_the_dtype_asked_for():
    seen = []

    def base(key, shape, dtype):
        seen.append(np.dtype(dtype).name)
        return jnp.zeros(shape, dtype)

    ji.cast(base)(KEY, (2,), jnp.float16)
    ji.cast(base)(KEY, (2,), jnp.complex64)
    ji.cast(base, jnp.bfloat16)(KEY, (2,))

    assert seen == ["float32", "complex64", "bfloat16"]


def test_every_wrapper_calls_its_base_in_full_precision():
    seen = []

    def base(key, shape, dtype=None):
        seen.append(np.dtype(dtype).name)
        return jax.random.normal(key, shape, dtype)

    for init in (
        ji.scale(base, 2.0),
        ji.masked(base, True),
        ji.stacked(base),
        ji.blocked(base, 2),
        ji.with_axes(base),
        ji.from_einsum("BD,DF->BF", base),
        ji.centered(base),
        ji.normalized(base, 1.0),
        ji.icnr(base),
        ji.looks_linear(base),
    ):
        assert init(KEY, (16, 16), jnp.bfloat16).dtype == jnp.bfloat16

    assert set(seen) == {"float32"}


def test_masked_entries_are_exact_zeros_and_others_untouched():
    mask = np.arange(16) % 3 == 0
    w = ji.masked(ji.normal(), mask)(KEY, (8, 16))

    np.testing.assert_array_equal(w, np.where(mask, ji.normal()(KEY, (8, 16)), 0.0))


def test_a_mask_hides_values_that_are_not_finite():
    w = ji.masked(ji.from_array([np.inf, 1.0]), [False, True])(KEY, (2,))

    np.testing.assert_array_equal(w, [0.0, 1.0])


def test_from_array_gives_the_values_rounded_once():
    x = np.linspace(0, 1, 12).reshape(3, 4)

    assert_same(ji.from_array(x)(KEY, (3, 4)), jnp.asarray(x, jnp.float32))
    assert_same(
        ji.from_array(x)(None, (3, 4), jnp.float16), jnp.asarray(x, jnp.float16)
    )
    assert ji.from_array(jnp.ones((2,), jnp.bfloat16))(KEY, (2,)).dtype == jnp.bfloat16
    assert ji.from_array(np.ones(2) * 1j)(KEY, (2,)).dtype == jnp.complex64
    with jax.enable_x64(True):
        assert_same(ji.from_array(x)(KEY, (3, 4)), jnp.asarray(x, jnp.float64))


def test_what_a_base_returns_is_checked():
    with pytest.raises(TypeError, match="must return an array, got function"):
        ji.scale(lambda *args: ji.normal, 2.0)(KEY, (2,))
    with pytest.raises(ValueError, match=r"shape \(4,\) where \(2,\) was asked for"):
        ji.masked(lambda *args: jnp.zeros(4), True)(KEY, (2,))


def test_mistakes_are_named():
    with pytest.raises(TypeError, match=r"`base` must be an initializer.* got None"):
        ji.scale(None, 1.0)
    with pytest.raises(TypeError, match=r"`factor` must be a number.* got 'a'"):
        ji.scale(ji.zeros, "a")
    with pytest.raises(ValueError, match=r"`factor` must be finite, got nan"):
        ji.scale(ji.zeros, float("nan"))
    with pytest.raises(ValueError, match=r"got int32"):
        ji.cast(ji.zeros, jnp.int32)
    with pytest.raises(ValueError, match=r"complex64, got float32"):
        ji.cast(ji.zeros, jnp.complex64)(KEY, (2,), jnp.float32)
    with pytest.raises(ValueError, match=r"`mask` must hold booleans.* as 0.5"):
        ji.masked(ji.zeros, [0.5])
    with pytest.raises(ValueError, match=r"shape \(3,\).* broadcast to the shape \(4,"):
        ji.masked(ji.zeros, [1, 0, 1])(KEY, (4,))
    with pytest.raises(ValueError, match=r"`shape` must be \(2,\).* got \(3,\)"):
        ji.from_array([1.0, 2.0])(KEY, (3,))
    with pytest.raises(ValueError, match=r"`array` is complex.* is float32"):
        ji.from_array([1j])(KEY, (1,), jnp.float32)
    with pytest.raises(ValueError, match=r"must hold numbers, got .* dtype bool"):
        ji.from_array([True])


@pytest.mark.parametrize(
    ("init", "shape", "dtype"),
    [
        (ji.scale(ji.he_normal(dtype=jnp.bfloat16), 2.0), (2, 3), jnp.bfloat16),
        (ji.cast(jax.nn.initializers.he_normal(dtype="float16")), (2, 3), jnp.float16),
        (ji.stacked(ji.s4d_lin()), (3, 4), jnp.complex64),
        (ji.masked(ji.normal(dtype="bfloat16"), [1, 0]), (2,), jnp.bfloat16),
        (ji.with_axes(ji.normal(dtype="bfloat16")), (2, 3), jnp.bfloat16),
        (ji.blocked([ji.normal(dtype="bfloat16")] * 2), (2, 4), jnp.bfloat16),
        (ji.blocked([ji.normal(dtype="bfloat16"), ji.zeros]), (2, 4), jnp.float32),
        (ji.scale(ji.he_normal(dtype="bfloat16"), 2.0, "float32"), (2, 3), jnp.float32),
    ],
)
def test_the_base_decides_the_default_dtype(init, shape, dtype):
    assert init(KEY, shape).dtype == dtype


@pytest.mark.parametrize(
    "around",
    [
        ji.cast,
        ji.icnr,
        ji.looks_linear,
        ji.stacked,
        lambda base: ji.blocked(base, 2),
        lambda base: ji.masked(base, [0, 1] * 128),
        lambda base: ji.with_axes(base, 0, 1),
        lambda base: ji.from_einsum("EBD,EDF->EBF", base),
    ],
)
def test_what_only_moves_values_keeps_the_open_bounds_of_its_base(around):
    asked = []

    def other(key, shape, dtype):
        asked.append(dtype)
        return jnp.ones(shape, dtype)

    ours = around(ji.uniform(1.0))(KEY, (2, 32, 256), jnp.bfloat16)
    theirs = around(other)(KEY, (2, 32, 256), jnp.bfloat16)

    assert (ours.astype(jnp.float32) < 1).all()
    # What is drawn by others is asked for in full precision, and rounded here.
    assert set(asked) == {np.dtype(np.float32)}
    assert theirs.dtype == jnp.bfloat16
