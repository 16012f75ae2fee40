"""Adapters leave the output as it is, and hold what their papers say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxinit.initializers import he_uniform, normal
from jaxinit.transfer.initialize_lora import initialize_lora
from jaxinit.transfer.lora import lora, lora_scale, milora, olora, pissa

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
DECOMPOSING = [pissa, milora, olora]
WIDE = RNG.normal(size=(12, 20)).astype(np.float32)
TALL = RNG.normal(size=(20, 12)).astype(np.float32)


@pytest.mark.parametrize("method", DECOMPOSING)
@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("kernel", [WIDE, TALL], ids=["wide", "tall"])
def test_base_and_adapter_add_up_to_the_kernel(method, scale, kernel):
    a, b, base = method(kernel, 4, scale=scale)

    assert a.shape == (kernel.shape[0], 4)
    assert b.shape == (4, kernel.shape[1])
    assert base.dtype == jnp.float32
    total = np.asarray(base, np.float64) + scale * np.asarray(a, np.float64) @ b
    # Float32 rounding of entries of size 3, times a few for the product.
    np.testing.assert_allclose(total, kernel, atol=2e-6)
    assert np.linalg.matrix_rank(kernel - np.asarray(base), tol=1e-4) == 4


def test_lora_leaves_the_output_exactly():
    a, b, base = lora(WIDE, 4, KEY)
    x = jnp.asarray(RNG.normal(size=(5, 12)), jnp.float32)

    np.testing.assert_array_equal(base, WIDE)
    np.testing.assert_array_equal(x @ base + (x @ a) @ b, x @ jnp.asarray(WIDE))
    assert (b == 0).all()
    assert (a != 0).any()


def test_laws_of_a():
    kernel = jnp.zeros((400, 64))

    default = np.asarray(lora(kernel, 50, KEY).a)
    reference = np.asarray(lora(kernel, 50, KEY, a_init=normal(1 / 50)).a)
    he = np.asarray(lora(kernel, 50, KEY, a_init=he_uniform()).a)

    # 20000 samples each; the error of the mean square is below 5 sqrt(2 / n).
    tolerance = 5 * np.sqrt(2 / default.size)
    assert 0.999 / 20 < np.abs(default).max() <= 1 / 20
    assert abs(np.mean(default**2) * 3 * 400 - 1) < tolerance
    assert abs(np.mean(reference**2) * 50**2 - 1) < tolerance
    assert abs(np.mean(he**2) * 200 - 1) < tolerance


def test_pissa_and_milora_split_the_singular_values():
    values = np.linalg.svd(WIDE, compute_uv=False)

    top, bottom = pissa(WIDE, 3, scale=0.5), milora(WIDE, 3, scale=0.5)

    for adapter, part in ((top, values[:3]), (bottom, values[-3:])):
        # A and B share the singular values evenly: A'A = B B' = S / s.
        np.testing.assert_allclose(
            adapter.a.T @ adapter.a, np.diag(part / 0.5), atol=1e-4
        )
        np.testing.assert_allclose(
            adapter.b @ adapter.b.T, np.diag(part / 0.5), atol=1e-4
        )
    rest = np.linalg.svd(top.base, compute_uv=False)
    np.testing.assert_allclose(rest[:9], values[3:], atol=1e-5)
    rest = np.linalg.svd(bottom.base, compute_uv=False)
    np.testing.assert_allclose(rest[:9], values[:9], atol=1e-5)


def test_olora_is_the_qr_of_the_transpose():
    a, b, _ = olora(WIDE, 5)
    q, r = np.linalg.qr(WIDE.T)

    np.testing.assert_allclose(b @ b.T, np.eye(5), atol=1e-6)
    # Up to the signs that QR leaves open.
    np.testing.assert_allclose(np.abs(b), np.abs(q[:, :5].T), atol=1e-5)
    np.testing.assert_allclose(np.abs(a), np.abs(r[:5].T), atol=1e-5)


@pytest.mark.parametrize("method", DECOMPOSING)
def test_bfloat16_bases_are_rounded_once(method):
    kernel = jnp.asarray(WIDE, jnp.bfloat16)

    a, b, base = method(kernel, 4)

    assert base.dtype == jnp.bfloat16
    assert a.dtype == b.dtype == jnp.float32
    exact = np.asarray(kernel, np.float64) - np.asarray(a, np.float64) @ b
    error = np.abs(exact - np.asarray(base, np.float64))
    # Half a unit in the last of 8 bits.
    assert (error <= 2.0**-8 * np.abs(exact) + 1e-6).all()
    # Adapters in bfloat16: the product of what they are, not of what they were.
    a, b, base = method(kernel, 4, dtype=jnp.bfloat16)
    assert a.dtype == jnp.bfloat16
    exact = np.asarray(kernel, np.float64) - np.asarray(a, np.float64) @ np.asarray(
        b, np.float64
    )
    error = np.abs(exact - np.asarray(base, np.float64))
    assert (error <= 2.0**-8 * np.abs(exact) + 1e-6).all()


@pytest.mark.parametrize(
    ("shape", "num_in_axes", "matrix"),
    [
        ((3, 3, 4, 8), None, (36, 8)),
        ((6, 2, 4), 1, (6, 8)),
        ((2, 4, 6), 2, (8, 6)),
    ],
)
def test_kernels_of_many_axes(shape, num_in_axes, matrix):
    kernel = RNG.normal(size=shape).astype(np.float32)

    a, b, base = pissa(kernel, 2, num_in_axes=num_in_axes)

    assert base.shape == shape
    assert (a.shape[0], b.shape[1]) == matrix
    np.testing.assert_allclose(base + (a @ b).reshape(shape), kernel, atol=1e-5)


def test_under_jit_and_over_stacked_layers():
    stack = jnp.stack([jnp.asarray(WIDE), 2 * jnp.asarray(WIDE)])

    a, b, base = jax.jit(jax.vmap(lambda kernel: pissa(kernel, 2)))(stack)

    np.testing.assert_allclose(base + a @ b, stack, atol=1e-5)


def test_scales():
    assert lora_scale(16, 8) == 0.5
    assert lora_scale(16, 8, stabilized=True) == 2.0
    with pytest.raises(ValueError, match=r"`rank`.*got 0"):
        lora_scale(0, 8)
    with pytest.raises(ValueError, match=r"`alpha`.*got -1"):
        lora_scale(4, -1)


@pytest.mark.parametrize("method", [functools.partial(lora, key=KEY), *DECOMPOSING])
@pytest.mark.parametrize(
    ("kernel", "rank", "options", "error", "message"),
    [
        (WIDE, 0, {}, ValueError, "`rank` must be an integer of at least 1, got 0"),
        (WIDE, 13, {}, ValueError, "at most 12 for a kernel of 12 inputs and 20"),
        (WIDE, 2.5, {}, TypeError, "`rank` must be an integer, got 2.5"),
        (WIDE, 2, {"scale": 0.0}, ValueError, "`scale`"),
        (WIDE, 2, {"num_in_axes": 2}, ValueError, "`num_in_axes`.*got 2"),
        (WIDE[0], 2, {}, ValueError, r"of shape \(20,\)"),
        (WIDE.astype(int), 2, {}, ValueError, "int"),
        (WIDE, 2, {"dtype": "int8"}, ValueError, "int8"),
    ],
)
def test_refuses(method, kernel, rank, options, error, message):
    with pytest.raises(error, match=message):
        method(kernel, rank, **options)


# -- whole models


class Net(nnx.Module):
    """Adapters inside a layer and around one."""

    def __init__(self, rngs):
        self.first = nnx.LoRALinear(6, 8, lora_rank=2, rngs=rngs)
        base = nnx.Linear(8, 5, rngs=rngs)
        self.second = nnx.LoRA(8, 3, 5, base_module=base, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.relu(self.first(x)))

    def plain(self, x):
        hidden = nnx.relu(x @ self.first.kernel + self.first.bias[...])
        return self.second.base_module(hidden)


@pytest.fixture(scope="module")
def net():
    return Net(nnx.Rngs(0))


X = RNG.normal(size=(4, 6)).astype(np.float32)


@pytest.mark.parametrize("method", [lora, *DECOMPOSING])
def test_nnx_models_keep_their_output(net, method):
    graph, state = nnx.split(net)
    expected = net.plain(X)

    new = initialize_lora(state, KEY, method)
    again = nnx.merge(graph, new)

    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert type(again.first.lora.lora_a) is nnx.LoRAParam
    if method is lora:
        np.testing.assert_array_equal(again(X), expected)
    else:
        np.testing.assert_allclose(again(X), expected, atol=1e-5)
        assert (again.first.kernel[...] != net.first.kernel[...]).any()
    assert (again.first.lora.lora_a[...] != net.first.lora.lora_a[...]).any()
    np.testing.assert_array_equal(again.first.bias[...], net.first.bias[...])


def test_named_adapters_and_options():
    params = {
        "q": {"kernel": jnp.asarray(RNG.normal(size=(6, 2, 4)), jnp.float32)},
        "adapters": {"q_a": jnp.zeros((6, 3)), "q_b": jnp.zeros((3, 8))},
    }
    names = {"q/kernel": ("adapters/q_a", "adapters/q_b")}

    new = initialize_lora(params, KEY, functools.partial(pissa, scale=0.5), names)

    product = new["adapters"]["q_a"] @ new["adapters"]["q_b"]
    total = new["q"]["kernel"] + 0.5 * product.reshape(6, 2, 4)
    np.testing.assert_allclose(total, params["q"]["kernel"], atol=1e-5)


def test_keys_by_name():
    layer = {"kernel": jnp.ones((4, 4)), "a": jnp.ones((4, 2)), "b": jnp.ones((2, 4))}
    names = {f"{i}/kernel": (f"{i}/a", f"{i}/b") for i in "xy"}

    new = initialize_lora({"x": layer, "y": layer}, KEY, adapters=names)
    alone = initialize_lora({"x": layer}, KEY, adapters={"x/kernel": ("x/a", "x/b")})

    assert (new["x"]["a"] != new["y"]["a"]).any()
    np.testing.assert_array_equal(new["x"]["a"], alone["x"]["a"])


def test_trees_that_are_refused():
    pair = {"lora_a": jnp.ones((4, 2)), "lora_b": jnp.ones((2, 4))}
    kernel = {"kernel": jnp.ones((4, 4))}

    with pytest.raises(ValueError, match="no leaves lora_a and lora_b in one folder"):
        initialize_lora(kernel, KEY)
    with pytest.raises(ValueError, match="none of the kernels 'x/base_module/kernel'"):
        initialize_lora({"x": pair}, KEY)
    with pytest.raises(ValueError, match="names 'x/a', which is no leaf"):
        initialize_lora({"x": kernel}, KEY, adapters={"x/kernel": ("x/a", "x/b")})
    with pytest.raises(ValueError, match=r"'lora/lora_b' \(2, 4\)"):
        initialize_lora({"kernel": jnp.ones((4, 5)), "lora": pair}, KEY)
