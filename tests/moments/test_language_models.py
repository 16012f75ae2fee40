"""AutoInit through what language models do: narrow formats, masks, stacks, shards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, PartitionSpec

import jaxinit as ji
from jaxinit import autoinit
from jaxinit.schemes.data.autoinit import _propagated
from jaxinit.schemes.initialize import prepare

N = jax.random.normal
X = jax.ShapeDtypeStruct((2, 8, 16), jnp.float32)
TOKENS = jax.ShapeDtypeStruct((2, 8), jnp.int32)


def std_of_head(apply, *args, w=(16, 64), v=(64, 512)):
    """The deviation that a second layer is drawn with, times that for unit inputs."""

    def init(key, *_):
        return {"w": N(key, w), "v": N(key, v)}

    network, _ = prepare(ji.Functional(init, apply), args, {}, ())
    found = _propagated(network, 0.0, 1.0).variances
    leaves = {p.name: p.leaf for p in network.params}
    return float(np.sqrt(found[leaves["v"]] * v[0]))


def test_a_division_in_a_narrow_format_counts():
    def apply(p, x):
        h = x.astype(jnp.bfloat16) @ p["w"].astype(jnp.bfloat16)
        return (h / jnp.sqrt(16).astype(jnp.bfloat16)) @ p["v"].astype(jnp.bfloat16)

    assert std_of_head(apply, X) == pytest.approx(4.0, rel=1e-3)


def test_stacks_and_their_parts_keep_the_moments():
    def apply(p, x):
        parts = jnp.unstack((x @ p["w"]).reshape(2, 8, 2, 32), axis=2)
        return jnp.stack([2 * parts[0], parts[1]], 2).reshape(2, 8, 64) @ p["v"]

    # (4 + 1) / 2 is the mean square.
    assert std_of_head(apply, X) == pytest.approx(2.5**-0.5, rel=1e-3)


def test_a_running_sum_has_the_moments_of_sums_of_all_lengths():
    def apply(p, x):
        return jnp.cumsum(x @ p["w"], axis=1) @ p["v"]

    # The mean of 1, 2, ..., 8 is 4.5.
    assert std_of_head(apply, X) == pytest.approx(4.5**-0.5, rel=1e-3)


def test_integers_are_masks_positions_or_classes_by_what_is_done_with_them():
    def masked(p, x, mask):
        return (
            (x @ p["w"]) * mask[..., None] + jnp.where(mask == 0, 9.0, 0.0)[..., None]
        ) @ p["v"]

    def turned(p, x, positions):
        return ((x @ p["w"]) * jnp.where(positions < 4, 1.0, 2.0)[..., None]) @ p["v"]

    def counted(p, x, positions):
        return ((x @ p["w"]) * positions.astype(float)[..., None]) @ p["v"]

    assert std_of_head(masked, X, TOKENS) == pytest.approx(1.0, rel=1e-3)
    # Compared with one number it counts as a mask, which lets everything through.
    assert std_of_head(turned, X, TOKENS) == pytest.approx(1.0, rel=1e-3)
    assert std_of_head(counted, X, TOKENS) == pytest.approx(1.0, rel=1e-3)

    def rotated(p, x, positions):
        angle = positions[..., None] * jnp.ones(64)
        return ((x @ p["w"]) * (2 + jnp.cos(angle))) @ p["v"]

    square = np.mean((2 + np.cos(np.arange(8))) ** 2)
    assert std_of_head(rotated, X, TOKENS) == pytest.approx(square**-0.5, rel=1e-3)


def test_a_shard_map_is_opened():
    mesh = jax.make_mesh((1,), ("t",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec

    def apply(p, x):
        product = jax.shard_map(
            lambda x, w: jax.lax.psum(2 * (x @ w), "t"),
            mesh=mesh,
            in_specs=(spec(None, None, "t"), spec("t", None)),
            out_specs=spec(),
        )
        return product(x, p["w"]) @ p["v"]

    assert std_of_head(apply, X) == pytest.approx(0.5, rel=1e-3)


class Language(nn.Module):
    """Tokens, an integer mask, positions counted from it, attention in bfloat16."""

    @nn.compact
    def __call__(self, tokens, mask):
        positions = jnp.cumsum(mask, -1) - 1
        h = nn.Embed(50, 16)(tokens) + nn.Embed(8, 16)(positions)
        allowed = nn.make_attention_mask(mask > 0, mask > 0)
        attention = nn.MultiHeadDotProductAttention(2, dtype=jnp.bfloat16)
        h = h + attention(nn.LayerNorm()(h), mask=allowed).astype(h.dtype)
        head = nn.Dense(5, kernel_init=nn.initializers.zeros)
        return head(nn.LayerNorm()(h) * mask[..., None])


def test_a_language_model_is_initialized():
    tokens = jnp.ones((2, 8), jnp.int32)
    variables = ji.initialize(Language(), autoinit(), 0, tokens, tokens)
    head = variables["params"]["Dense_0"]["kernel"]
    assert float(16 * head.var()) == pytest.approx(1.0, rel=0.4)
