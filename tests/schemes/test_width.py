"""Which axes grow with a model's width, read off its program."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from jaxinit.models.functional import Functional
from jaxinit.schemes.width.infinite_axes import mup_widths
from tests.schemes.wide_models import GPT, MLP, TOKENS, VECTORS, NnxMLP, nnx_mlp

IMAGES = jax.ShapeDtypeStruct((2, 6, 6, 3), jnp.float32)


def roles(model, base, *args, **kwargs):
    found = mup_widths(model, base, *args, **kwargs)
    return {w.name: (w.role, w.fan_in, w.fan_out) for w in found}


MLP_ROLES = {
    "first/kernel": ("input", 1, 4),
    "second/kernel": ("hidden", 4, 4),
    "third/kernel": ("hidden", 4, 4),
    "head/kernel": ("output", 4, 1),
    "first/bias": ("vector", 1, 4),
    "second/bias": ("vector", 1, 4),
    "third/bias": ("vector", 1, 4),
    "head/bias": ("finite", 1, 1),
}


@pytest.mark.parametrize(
    ("model", "base"),
    [
        (MLP(32), MLP(8)),
        (nnx_mlp(32), nnx_mlp(8)),
        (NnxMLP(32, rngs=nnx.Rngs(0)), nnx_mlp(8)),
    ],
    ids=["linen", "nnx", "nnx instance"],
)
def test_mlp(model, base):
    assert roles(model, base, VECTORS) == MLP_ROLES


def test_functional():
    def model(width):
        return Functional(
            lambda key, x: {
                "up": jax.random.normal(key, (x.shape[-1], width)),
                "down": jax.random.normal(key, (3, width)),
            },
            lambda p, x: x @ p["up"] @ p["down"].T,
        )

    assert roles(model(24), model(8), VECTORS) == {
        "up": ("input", 1, 3),
        "down": ("output", 3, 1),
    }


def transformer(block, prefix):
    """What is expected of the model, its width times 4."""
    parts = {
        **{f"attn/{p}/kernel": block for p in ("query", "key", "value", "out")},
        **{f"attn/{p}/bias": "vector" for p in ("query", "key", "value", "out")},
        **{f"{p}/kernel": block for p in ("fc", "proj")},
        **{f"{p}/bias": "vector" for p in ("fc", "proj", "ln_1", "ln_2")},
        **{f"{p}/scale": "vector" for p in ("ln_1", "ln_2")},
    }
    return {f"{prefix}/{name}": role for name, role in parts.items()}


GPT_ROLES = {
    "wte/embedding": "input",
    "position": "vector",
    "ln_f/scale": "vector",
    "ln_f/bias": "vector",
    "head/kernel": "output",
    "head/bias": "finite",
}
RATIOS = {
    "input": (1, 4),
    "hidden": (4, 4),
    "output": (4, 1),
    "tied": (4, 4),
    "vector": (1, 4),
    "finite": (1, 1),
}


@pytest.mark.parametrize("heads", [2, 8], ids=["wider heads", "more heads"])
def test_transformer(heads):
    found = roles(GPT(64, heads), GPT(16, 2), TOKENS)

    expected = GPT_ROLES | transformer("hidden", "block_0")
    expected |= transformer("hidden", "block_1")
    assert found == {name: (role, *RATIOS[role]) for name, role in expected.items()}


def test_scanned_blocks_are_as_unrolled_ones():
    found = roles(GPT(64, 8, scanned=True), GPT(16, 2, scanned=True), TOKENS)

    expected = GPT_ROLES | transformer("hidden", "blocks")
    assert found == {name: (role, *RATIOS[role]) for name, role in expected.items()}


def test_tied_table():
    found = roles(GPT(32, tied=True), GPT(16, tied=True), TOKENS)

    assert found["wte/embedding"] == ("tied", 2, 2)


def test_widths_that_grow_apart_have_ratios_of_their_own():
    def model(width, hidden):
        return nn.Sequential([nn.Dense(width), nn.Dense(hidden), nn.Dense(width)])

    found = roles(model(8, 60), model(4, 20), VECTORS)

    assert found["layers_1/kernel"] == ("hidden", 2, 3)
    assert found["layers_2/kernel"] == ("hidden", 3, 2)


def test_convolutions():
    def model(width):
        return nn.Sequential(
            [
                nn.Conv(width, (3, 3)),
                nn.Conv(width, (3, 3)),
                nn.Conv(width, (3, 3), feature_group_count=width),
                nn.Conv(width, (3, 3), feature_group_count=2),
                nn.Conv(5, (1, 1)),
            ]
        )

    found = roles(model(16), model(8), IMAGES)

    assert [found[f"layers_{i}/kernel"] for i in range(5)] == [
        ("input", 1, 2),
        ("hidden", 2, 2),
        ("input", 1, 2),  # each channel by itself
        ("hidden", 2, 2),
        ("output", 2, 1),
    ]


def test_base_with_inputs_of_its_own():
    narrow = jax.ShapeDtypeStruct((4, 2), jnp.float32)

    found = roles(nn.Dense(3), nn.Dense(3), VECTORS, base_args=(narrow,))

    assert found["kernel"] == ("output", 4, 1)


def test_base_that_cannot_take_the_inputs():
    with pytest.raises((TypeError, ValueError)) as error:
        mup_widths(nnx_mlp(32), lambda rngs: nnx.Linear(5, 8, rngs=rngs), VECTORS)

    assert "base_args" in error.value.__notes__[-1]


class Two(nn.Module):
    """One parameter of a given shape, and a layer."""

    shape: tuple[int, ...]
    width: int = 4

    @nn.compact
    def __call__(self, x):
        extra = self.param("extra", nn.initializers.ones, self.shape)
        return nn.Dense(self.width)(x) * extra.sum()


@pytest.mark.parametrize(
    ("model", "base", "args", "message"),
    [
        (MLP(8), MLP(8), VECTORS, "`base` must be narrower .* got MLP with all"),
        (
            MLP(8),
            nn.Sequential([nn.Dense(8)]),
            VECTORS,
            r"It alone has layers_0/bias, layers_0/kernel; it lacks first/bias",
        ),
        (Two((4,)), Two((4, 1)), VECTORS, r"shape \(4,\) in the model and \(4, 1\)"),
        (
            GPT(32, scanned=True),
            GPT(16),
            TOKENS,
            "It alone has block_0",
        ),
        (
            GPT(32, vocabulary=24),
            GPT(16, vocabulary=12),
            TOKENS,
            r"wte/embedding .*\(24, 32\).* the same vocabulary",
        ),
        (
            nn.Sequential([nn.Conv(8, (3, 3))]),
            nn.Sequential([nn.Conv(4, (1, 3))]),
            IMAGES,
            r"axis 0 numbers the taps .* kernels of the same size",
        ),
    ],
    ids=["nothing differs", "names", "ranks", "scanned", "vocabulary", "taps"],
)
def test_models_that_do_not_fit(model, base, args, message):
    with pytest.raises(ValueError, match=message):
        mup_widths(model, base, args)


def test_positions_must_be_as_many():
    def model(time, width):
        def init(key, x):
            return {
                "w": jax.random.normal(key, (8, width)),
                "position": jnp.zeros((time, width)),
            }

        return Functional(init, lambda p, x: x @ p["w"] + p["position"])

    x = jax.ShapeDtypeStruct((2, 6, 8), jnp.float32)
    y = jax.ShapeDtypeStruct((2, 3, 8), jnp.float32)
    with pytest.raises(ValueError, match=r"position .*\(6, 16\).*only one axis"):
        mup_widths(model(6, 16), model(3, 4), x, base_args=(y,))


def test_another_number_of_scanned_layers():
    def model(layers, width):
        def init(key, x):
            return {"w": jax.random.normal(key, (layers, 8, 8)), "u": jnp.ones(width)}

        def apply(p, x):
            y, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, p["w"])
            return y[:, :1] * p["u"]

        return Functional(init, apply)

    with pytest.raises(ValueError, match="number of its stacked layers differs"):
        mup_widths(model(6, 2), model(3, 1), VECTORS)


def test_a_kernel_used_in_both_directions_has_no_ratio():
    def model(width):
        return Functional(
            lambda key, x: {"w": jax.random.normal(key, (8, width))},
            lambda p, x: jnp.tanh(x @ p["w"]) @ p["w"].T,
        )

    with pytest.raises(ValueError, match=r"w is used in several ways.*\[1.0, 2.0\]"):
        mup_widths(model(8), model(4), VECTORS)
