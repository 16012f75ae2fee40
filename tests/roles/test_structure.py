"""What each parameter does, read off the programs of real models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from tests.roles.structure_tables import ROLES
from tests.roles.structures import function, of_zoo, read

pytestmark = pytest.mark.internals

X = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)
TOKENS = jax.ShapeDtypeStruct((2, 5), jnp.int32)


def check(found: dict[str, set[str]], table: dict[str, str]) -> None:
    """Each parameter has exactly the roles of the table."""
    assert found == {name: set(roles.split()) for name, roles in table.items()}


@pytest.mark.parametrize("name", ROLES)
def test_roles(name):
    check(of_zoo(name).roles, ROLES[name])


def test_check_notices_a_missing_role():
    table = ROLES["mlp"] | {"Dense_1/kernel": "weight branch_end"}

    with pytest.raises(AssertionError, match="branch_end"):
        check(of_zoo("mlp").roles, table)


def test_batch_norm_is_a_norm_with_running_averages_too():
    check(of_zoo("resnet", train=False).roles, ROLES["resnet"])


def test_dropout_changes_no_role():
    check(of_zoo("encoder_decoder", train=False).roles, ROLES["encoder_decoder"])


def test_scanned_and_unrolled_models_agree():
    unrolled, scanned = of_zoo("gpt").roles, of_zoo("gpt_scanned").roles

    for name, roles in scanned.items():
        for block in range(3):
            assert unrolled[name.replace("blocks", f"block_{block}")] == roles


NORMS = {
    "rms": lambda x: x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6),
    "rms by a quotient": lambda x: x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True)),
    "layer": lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
    "power": lambda x: x * (jnp.mean(x**2, -1, keepdims=True) + 1e-6) ** -0.5,
    "unit length": lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
    "standardized": lambda x: jax.nn.standardize(x),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_by_hand(name):
    normalize = NORMS[name]

    def apply(p, x):
        y = normalize(x) * (1 + p["gain"]) + p["shift"]
        return (p["later"] * y + p["moved"]) @ p["w"]

    shapes = {n: (8,) for n in ("gain", "shift", "later", "moved")} | {"w": (8, 3)}
    check(
        read(function(shapes, apply), X).roles,
        {
            "gain": "norm_scale",
            "shift": "norm_bias",
            "later": "gain",
            "moved": "bias",
            "w": "weight input readout",
        },
    )


def test_a_softmax_is_no_norm():
    def apply(p, x):
        return p["temper"] * jax.nn.softmax(x) + p["shift"]

    shapes = {"temper": (), "shift": (8,)}
    found = read(function(shapes, apply), X).roles
    assert found["temper"] == {"gain"}
    assert found["shift"] == {"bias", "readout_bias"}


def test_a_norm_over_several_axes():
    model = nn.LayerNorm(reduction_axes=(1, 2), feature_axes=(1, 2))
    check(read(model, X).roles, {"scale": "norm_scale", "bias": "norm_bias"})


def test_positions_and_biases_along_several_axes():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.DenseGeneral((2, 4), name="split")(x)
            return x + self.param("at", nn.initializers.normal(), (1, 5, 2, 4))

    check(
        read(Model(), X).roles,
        {
            "split/kernel": "weight input readout",
            "split/bias": "bias readout_bias",
            "at": "position",
        },
    )


def test_a_mask_token_and_a_one_hot_product():
    def apply(p, tokens):
        x = jax.nn.one_hot(tokens, 7) @ p["table"]
        return jnp.where((tokens == 3)[..., None], p["mask"], x)

    check(
        read(function({"table": (7, 8), "mask": (8,)}, apply), TOKENS).roles,
        {"table": "embedding", "mask": "token"},
    )


def test_weight_norm_by_hand_keeps_the_kernels_axes():
    def apply(p, x):
        direction = p["v"] / jnp.linalg.norm(p["v"], axis=0)
        kernel = jnp.broadcast_to(p["g"], direction.shape) * direction
        return x @ kernel + p["b"]

    found = read(function({"v": (8, 3), "g": (3,), "b": (3,)}, apply), X)
    check(
        found.roles,
        {"v": "weight input readout", "g": "gain", "b": "bias readout_bias"},
    )
    (use,) = found.sites.events[0].uses
    assert (use.leaf, use.in_axis, use.out_axis) == (2, (0,), (1,))
    assert (use.fan_in, use.fan_out) == (8, 3)


def test_spectral_norm_keeps_the_kernels_axes():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.SpectralNorm(nn.Dense(3))(x, update_stats=False)

    found = read(Model(), X)
    check(
        found.roles,
        {"Dense_0/kernel": "weight input readout", "Dense_0/bias": "bias readout_bias"},
    )
    (use,) = found.sites.events[0].uses
    assert (use.in_axis, use.out_axis) == ((0,), (1,))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_of_a_convolution(groups):
    model = nn.Conv(8, (3,), feature_group_count=groups)
    (use,) = read(model, X).sites.events[0].uses

    assert use.groups == groups
    assert use.fan_in == 3 * 8 // groups
    assert use.fan_out == 3 * 8 // groups


@pytest.mark.parametrize(
    ("window", "stride", "products"),
    [((2,), (2,), 1.0), ((4,), (2,), 2.0), ((3,), (2,), 1.5), ((2,), (3,), 2 / 3)],
)
def test_a_transposed_convolution_sums_over_what_is_not_zero(window, stride, products):
    """Ones through a kernel of ones count the products of each output."""
    model = nn.ConvTranspose(4, window, stride, use_bias=False, padding="CIRCULAR")
    (use,) = read(model, X).sites.events[0].uses
    kernel = {"params": {"kernel": jnp.ones((*window, 8, 4))}}
    counted = np.asarray(model.apply(kernel, jnp.ones(X.shape))).mean()

    assert counted == pytest.approx(8 * products)
    assert use.fan_in == round(counted)
    assert use.fan_out == 4 * window[0]


def test_kernels_that_act_on_learned_queries():
    """Their product with the keys holds three parameters at once."""

    def apply(p, x):
        queries = p["latents"] @ p["wq"] + p["bq"]
        weights = jax.nn.softmax(queries @ (x @ p["wk"]).mT)
        return weights @ (x @ p["wv"]) @ p["wo"]

    shapes = {"latents": (3, 8), "bq": (8,)} | {f"w{n}": (8, 8) for n in "qkvo"}
    check(
        read(function(shapes, apply), X).roles,
        {
            "latents": "token",
            "wq": "weight input query",
            "bq": "bias",
            "wk": "weight input key",
            "wv": "weight input value",
            "wo": "weight readout attention_output",
        },
    )


def test_several_uses_of_one_leaf():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(7, 8, rngs=rngs)
            self.unused = nnx.Linear(8, 8, rngs=rngs)

        def __call__(self, tokens):
            return self.embed.attend(self.embed(tokens))

    check(
        read(lambda rngs: Model(rngs), TOKENS).roles,
        {
            "embed/embedding": "embedding weight readout",
            "unused/kernel": "",
            "unused/bias": "",
        },
    )
