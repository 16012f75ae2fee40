"""Networks read as stacks of blocks: what is counted, and where each weight is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinit.schemes.initialize import initialize, prepare
from jaxinit.schemes.transformer._blocks import read_blocks
from jaxinit.schemes.transformer.gpt2 import gpt2
from tests.schemes.transformers import TOKENS, pair, single

pytestmark = pytest.mark.internals

D = 8
X = jnp.ones((1, 4, D))


def read(model, *inputs):
    network, _ = prepare(model, inputs or (X,), {}, ())
    blocks = read_blocks(network)
    return blocks, {p.parameter.name: p for p in blocks.layers.values()}


def attention(name, x, memory=None):
    return nn.MultiHeadDotProductAttention(2, name=name)(x, memory)


def mlp(name, x):
    return nn.Dense(D, name=f"{name}_2")(nn.relu(nn.Dense(12, name=f"{name}_1")(x)))


def test_scanned_blocks_count_one_by_one():
    blocks, layers = read(single(5), TOKENS)

    (stack,) = blocks.stacks.values()
    assert stack == (5, 10, False, 8)
    np.testing.assert_array_equal(layers["stack/a4"].blocks, range(5))
    assert layers["stack/a1"].parts == {"query"}
    assert layers["stack/a1"].head_size == 4
    assert layers["stack/a4"].parts == {"attention_output"}
    assert layers["stack/m1"].parts == {"inner"}
    assert layers["stack/m2"].parts == {"end"}


def test_cross_attention_belongs_to_the_decoders_blocks():
    blocks, layers = read(pair(2, 3), TOKENS, TOKENS)

    encoder = blocks.stack(layers["encoder/m1"])
    decoder = blocks.stack(layers["decoder/b2"])
    assert encoder == (2, 4, False, 8)
    assert decoder == (3, 9, True, 8)
    assert layers["decoder/b2"].parts == {"key"}
    assert blocks.num_blocks(cross=True) == 3
    assert blocks.num_blocks(cross=False) == 2


class Parallel(nn.Module):
    """An attention and an MLP of one input, twice."""

    together: bool

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            h = nn.LayerNorm(name=f"ln{i}")(x)
            a, m = attention(f"attn{i}", h), mlp(f"mlp{i}", h)
            x = x + (a + m) if self.together else x + a + m
        return x


@pytest.mark.parametrize("together", [True, False])
def test_a_parallel_block_is_one_with_two_ends(together):
    blocks, layers = read(Parallel(together))

    (stack,) = blocks.stacks.values()
    assert (stack.num_blocks, stack.num_ends) == (2, 4)
    assert layers["mlp1_2/kernel"].blocks == 1
    assert layers["mlp1_2/kernel"].parts == {"end"}
    assert layers["attn1/out/kernel"].parts == {"attention_output"}


class Grouped(nn.Module):
    """A skip around two blocks and a layer behind them."""

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(2):
            y = y + attention(f"attn{i}", nn.LayerNorm(name=f"ln{i}")(y))
            y = y + mlp(f"mlp{i}", y)
        return x + nn.Dense(D, name="behind")(y)


def test_a_skip_around_blocks_is_no_block():
    blocks, layers = read(Grouped())

    assert sum(stack.num_blocks for stack in blocks.stacks.values()) == 2
    assert layers["behind/kernel"].parts == {"end"}
    assert layers["attn1/out/kernel"].parts == {"attention_output"}
    assert layers["mlp0_1/kernel"].parts == {"inner"}
    assert layers["mlp1_2/kernel"].parts == {"end"}
    assert layers["mlp1_2/kernel"].blocks == 1


class Latent(nn.Module):
    """Latents that look at the data once, then at themselves."""

    @nn.compact
    def __call__(self, x):
        z = self.param("latents", nn.initializers.normal(), (1, 3, D))
        z = jnp.tile(z, (x.shape[0], 1, 1)) + x[:, :1]
        z = z + attention("look", z, nn.Dense(D, name="embed")(x[:, 1:]))
        z = z + mlp("first", z)
        for i in range(2):
            z = z + attention(f"attn{i}", z)
            z = z + mlp(f"mlp{i}", z)
        return z


def test_a_first_cross_attention_begins_a_block():
    blocks, layers = read(Latent())

    (stack,) = blocks.stacks.values()
    assert (stack.num_blocks, stack.num_ends, stack.cross) == (3, 6, True)
    assert layers["first_2/kernel"].blocks == 0
    assert layers["mlp1_2/kernel"].blocks == 2


class Shared(nn.Module):
    """One block used three times."""

    @nn.compact
    def __call__(self, x):
        layer = nn.MultiHeadDotProductAttention(2, name="attn")
        end = nn.Dense(D, name="end")
        for _ in range(3):
            x = x + layer(x)
            x = x + end(nn.relu(x))
        return x


def test_shared_weights_are_in_their_first_block():
    blocks, layers = read(Shared())

    (stack,) = blocks.stacks.values()
    assert (stack.num_blocks, stack.num_ends) == (3, 6)
    assert layers["end/kernel"].blocks == 0


class LowRank(nn.Module):
    """Queries, and keys with values, by way of a few channels."""

    @nn.compact
    def __call__(self, x):
        q = nn.DenseGeneral((2, 4), name="q_up")(nn.Dense(3, name="q_down")(x))
        shared = nn.Dense(3, name="kv_down")(x)
        k = nn.DenseGeneral((2, 4), name="k_up")(shared)
        v = nn.DenseGeneral((2, 4), name="v_up")(shared)
        out = jax.nn.dot_product_attention(q, k, v)
        return x + nn.DenseGeneral(D, axis=(-2, -1), name="out")(out)


def test_layers_that_lead_up_to_projections_are_none():
    _, layers = read(LowRank())

    assert layers["q_down/kernel"].parts == {"lead"}
    assert layers["q_up/kernel"].parts == {"query"}
    assert layers["kv_down/kernel"].parts == {"lead"}
    assert layers["v_up/kernel"].parts == {"value"}


class Gated(nn.Module):
    """The end of a branch makes twice the stream's channels, half of them gates."""

    @nn.compact
    def __call__(self, x):
        x = x + attention("attn", x)
        return x + nn.glu(nn.Dense(2 * D, name="end")(x))


def test_the_width_is_that_of_the_stream():
    blocks, layers = read(Gated())

    assert blocks.stack(layers["end/kernel"]).width == D


class Norms(nn.Module):
    """A norm whose gain is stored as it is, and one stored as its distance from 1."""

    @nn.compact
    def __call__(self, x):
        shifted = self.param("shifted", nn.initializers.normal(), (D,))
        h = nn.RMSNorm(use_scale=False)(x) * (1 + shifted)
        x = x + nn.Dense(D, name="first")(h)
        h = nn.LayerNorm(scale_init=nn.initializers.normal(), name="ln")(x)
        return x + nn.Dense(D, name="second", bias_init=nn.initializers.normal())(h)


def test_norms_change_nothing_and_biases_are_zero():
    weights = initialize(Norms(), gpt2(), 0, X)["params"]

    assert jnp.all(weights["ln"]["scale"] == 1)
    assert jnp.all(weights["shifted"] == 0)
    assert jnp.all(weights["ln"]["bias"] == 0)
    assert jnp.all(weights["second"]["bias"] == 0)


def test_a_network_without_branches_has_no_stacks():
    blocks, layers = read(nn.Sequential([nn.Dense(D), nn.relu, nn.Dense(D)]))

    assert not blocks.stacks
    assert not layers
    assert blocks.num_blocks(cross=False) == 0


@pytest.mark.parametrize("post", [False, True])
def test_norms_on_the_stream_do_not_end_it(post):
    class PostNorm(nn.Module):
        @nn.compact
        def __call__(self, x):
            for i in range(3):
                x = 1.5 * x + attention(f"attn{i}", x)
                x = nn.LayerNorm(name=f"ln{i}")(x) if post else x
                x = x + mlp(f"mlp{i}", x)
            return x

    blocks, _ = read(PostNorm())

    (stack,) = blocks.stacks.values()
    assert (stack.num_blocks, stack.num_ends) == (3, 6)
