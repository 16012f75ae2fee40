"""Laws of language models, diffusion transformers and what stands in for norms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

import jaxinit
from jaxinit import schemes
from jaxinit.initializers import normal, truncated_normal
from tests.schemes.laws import assert_law, uniform
from tests.schemes.residual_models import assigned
from tests.schemes.transformers import single, stds

WIDTH, BLOCKS = 16, 3
MODEL = single(BLOCKS, width=WIDTH, heads=2, size=8, hidden=32)
CUT = truncated_normal(1.0, lower=-3.0, upper=3.0)
INSIDE = ("a1", "a2", "a3", "m1")
ENDS = ("a4", "m2")


def laws(scheme, reference, names=(*INSIDE, *ENDS, "e", "r")):
    """The deviation of each parameter, one for each block of the stack."""
    found = stds(MODEL, scheme, reference)
    result = {}
    for name, ratio in found.items():
        short = name.split("/")[-1]
        if short not in names:
            continue
        rows = ratio.reshape(BLOCKS, -1) if name.startswith("stack") else ratio
        rows = rows.reshape(len(rows), -1) if rows.ndim > 1 else rows[None]
        assert np.ptp(rows, axis=-1).max() < 1e-5 * np.abs(rows).max(), name
        result[short] = rows[:, 0]
    return result


def test_olmo2_is_one_law_for_all():
    found = laws(schemes.olmo2(), CUT)

    for name, std in found.items():
        np.testing.assert_allclose(std, 0.02, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("depth", ["total", "index"])
def test_llama_divides_ends_by_depth(depth):
    scheme = schemes.llama() if depth == "total" else schemes.llama_depth()
    found = laws(scheme, CUT, (*INSIDE, *ENDS, "r"))
    blocks = np.full(BLOCKS, BLOCKS) if depth == "total" else np.arange(1, BLOCKS + 1)

    for name in INSIDE:
        np.testing.assert_allclose(found[name], 0.02, rtol=1e-5, err_msg=name)
    for name in ENDS:
        wanted = 0.02 / np.sqrt(2 * blocks)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(found["r"], 1 / math.sqrt(WIDTH), rtol=1e-5)


def test_llama_embeddings_are_units():
    found = laws(schemes.llama(), normal(1.0), ("e",))

    np.testing.assert_allclose(found["e"], 1, rtol=1e-5)


def test_ngpt_draws_entries_of_unit_vectors():
    found, unit = laws(schemes.ngpt(), normal(1.0)), 1 / math.sqrt(WIDTH)

    for name in (*INSIDE, "e", "r"):
        np.testing.assert_allclose(found[name], unit, rtol=1e-5, err_msg=name)
    for name in ENDS:
        wanted = unit / math.sqrt(2 * BLOCKS)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, err_msg=name)


def test_nanochat():
    drawn = assigned(MODEL, schemes.nanochat(0.8, mlp=0.4), jnp.zeros((1, 2), int))

    bound = math.sqrt(3 / WIDTH)
    for name in ("a1", "a2", "a3"):
        assert_law(drawn[f"stack/{name}"], uniform(bound))
    assert_law(drawn["stack/m1"], uniform(0.4 * bound))
    for name in ENDS:
        assert not drawn[f"stack/{name}"].any()
    assert_law(drawn["e"], stats.norm(scale=0.8))
    assert_law(drawn["r"], stats.norm(scale=0.001))


class Gated(nn.Module):
    """A block whose MLP is gated."""

    @nn.compact
    def __call__(self, x):
        h = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(2, name="attn")(h)
        h = nn.LayerNorm()(x)
        gate, up = (nn.Dense(64, name=n, use_bias=False)(h) for n in ("gate", "up"))
        return x + nn.Dense(16, name="down", use_bias=False)(nn.silu(gate) * up)


def test_llama_tells_the_gate_from_the_other_half():
    x = jnp.ones((1, 3, 16))
    drawn = assigned(Gated(), schemes.llama(), x)

    def cut(std):
        return stats.truncnorm(-3, 3, scale=std)

    assert_law(drawn["gate/kernel"], cut(0.02))
    assert_law(drawn["up/kernel"], cut(0.02 / math.sqrt(2)))
    assert_law(drawn["down/kernel"], cut(0.02 / math.sqrt(2)))


class DiT(nn.Module):
    """A block with adaLN, in the fewest layers."""

    @nn.compact
    def __call__(self, x, t, label):
        c = nn.Dense(16, name="time")(t[:, None]) + nn.Embed(5, 16, name="label")(label)
        x = nn.Conv(16, (2,), strides=2, name="patches")(x)
        six = nn.Dense(3 * 16, name="modulation")(nn.silu(c))
        shift, scale, gate = jnp.split(six[:, None], 3, -1)
        h = nn.LayerNorm(use_bias=False, use_scale=False)(x) * (1 + scale) + shift
        x = x + gate * nn.Dense(16, name="mlp")(h)
        return nn.Dense(4, name="final")(x)


def test_dit_begins_as_the_identity_and_predicts_zero():
    args = jnp.ones((2, 8, 4)), jnp.ones(2), jnp.zeros(2, int)
    scheme = schemes.dit("modulation/*", timestep="time/kernel")

    drawn = assigned(DiT(), scheme, *args)
    for name in ("modulation", "final"):
        assert not drawn[f"{name}/kernel"].any()
        assert not drawn[f"{name}/bias"].any()
    assert_law(drawn["label/embedding"], stats.norm(scale=0.02))
    assert_law(drawn["time/kernel"], stats.norm(scale=0.02))
    assert_law(drawn["mlp/kernel"], uniform(math.sqrt(6 / 32)))
    # Patches as a dense kernel: 2 by 4 inputs, whose outputs are 16 a position.
    assert np.abs(drawn["patches/kernel"]).max() <= math.sqrt(6 / (8 + 16)) + 1e-6
    with pytest.raises(ValueError, match="matches"):
        jaxinit.initialize(DiT(), schemes.dit("nothing/*"), 0, *args)


class DyT(nn.Module):
    @nn.compact
    def __call__(self, x):
        alpha = self.param("alpha", nn.initializers.ones, (1,))
        other = self.param("other", nn.initializers.ones, (1,))
        gamma = self.param("gamma", nn.initializers.ones, (8,))
        return nn.Dense(2)(other * (gamma * jnp.tanh(alpha * nn.Dense(8)(x))))


def test_dynamic_tanh_sets_its_slopes_alone():
    drawn = assigned(DyT(), schemes.dynamic_tanh(), jnp.ones((2, 4)))

    assert {name: float(value[0]) for name, value in drawn.items()} == {"alpha": 0.5}
    with pytest.raises(ValueError, match="has none"):
        assigned(Gated(), schemes.dynamic_tanh(), jnp.ones((1, 3, 16)))


def test_hyper_connections_begin_as_a_residual_network():
    key, streams = jax.random.key(0), 3
    kernels = jax.random.normal(key, (5, 8, 8)) / 4
    x = jax.random.normal(key, (8,))
    plain, hyper = x, jnp.tile(x, (streams, 1))
    for k, kernel in enumerate(kernels):
        plain = plain + jnp.tanh(plain @ kernel)
        alpha = schemes.hyper_connection(k, streams)(key, (streams, streams + 1))
        np.testing.assert_array_equal(alpha.T[0], np.arange(streams) == k % streams)
        mixed = alpha.T @ hyper
        hyper = mixed[1:] + jnp.ones((streams, 1)) * jnp.tanh(mixed[0] @ kernel)
    np.testing.assert_allclose(hyper, jnp.tile(plain, (streams, 1)), rtol=1e-4)
    with pytest.raises(ValueError, match="`layer`"):
        schemes.hyper_connection(-1, 2)
