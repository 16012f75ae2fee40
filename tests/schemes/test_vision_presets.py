"""Laws of well-known vision models."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.presets.vision import efficientnet, vit_jax
from tests.initializers.checks import assert_moments
from tests.schemes import residual_models as models
from tests.schemes.laws import assert_law, truncated, uniform
from tests.schemes.residual_models import assigned
from tests.zoo import ZOO

VIT = ZOO["vit"]


def test_vit():
    drawn = assigned(VIT.make(), vit_jax(head_bias=-math.log(1000)), *VIT.args())

    assert len(drawn) == 24
    assert not drawn["head/kernel"].any()
    np.testing.assert_allclose(drawn["head/bias"], -6.9077553, rtol=1e-6)
    assert not drawn["token"].any()
    assert_moments(drawn["position"], mean=0.0, std=0.02)
    scale = 1 / math.sqrt(48) / 0.87962566103423978
    assert_law(drawn["patches/kernel"], truncated(scale))
    assert not drawn["patches/bias"].any()
    for name in ("query", "key", "value", "out"):
        kernel = drawn[f"block/attn/{name}/kernel"]
        assert_law(kernel, uniform(math.sqrt(6 / 32)))
        assert not drawn[f"block/attn/{name}/bias"].any()
    for name in ("fc", "proj"):
        assert_law(drawn[f"block/{name}/kernel"], uniform(math.sqrt(6 / 48)))
        assert_moments(drawn[f"block/{name}/bias"], mean=0.0, std=1e-6)


def test_vit_predicts_its_head_bias():
    variables = initialize(VIT.make(), vit_jax(head_bias=-2.0), 0, *VIT.args())

    np.testing.assert_array_equal(VIT.make().apply(variables, *VIT.args()), -2.0)


def test_without_a_head_no_stem_is_zero():
    drawn = assigned(models.Headless(), vit_jax(head_bias=3.0), models.vectors())

    assert_law(drawn["stem/kernel"], uniform(math.sqrt(6 / 32)))
    assert_law(drawn["only/kernel"], uniform(math.sqrt(6 / 32)))
    assert not drawn["stem/bias"].any()


def test_fused_projections_are_drawn_apart():
    x = models.vectors()[None]
    model = models.Attending(2, fused=True)
    kernel = assigned(model, vit_jax(), x)["blocks/qkv/kernel"]
    assert_law(kernel, uniform(math.sqrt(6 / 32)))


def test_the_line_for_kernels_whose_parts_are_not_told_works_as_printed():
    def apply(p, x):
        h = (x @ p["w"].T)[..., np.arange(48)]  # torch: (out, in), by head
        heads = h.reshape(1, 5, 2, 3, 8)
        q, k, v = (heads[:, :, :, i] for i in range(3))
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / 8**0.5)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(1, 5, 16)
        return mixed @ p["o"]

    def init(key, *_):
        return {"w": jnp.zeros((48, 16)), "o": jnp.zeros((16, 16))}

    model, x = jaxinit.Functional(init, apply), jnp.ones((1, 5, 16))
    with pytest.raises(ValueError, match="holds several") as raised:
        assigned(model, vit_jax(), x)
    line = str(raised.value).split("own: ")[1].rstrip(".")
    names = {"jaxinit": jaxinit}
    for room in (jaxinit.schemes, jaxinit.initializers):
        names |= {name: getattr(room, name) for name in room.__all__}
    kernel = assigned(model, eval(line, names), x)["w"]
    assert_law(kernel, uniform(math.sqrt(6 / (16 + 48))))


def test_bad_head_bias():
    with pytest.raises(TypeError, match="`head_bias` must be a number, got 'nlhb'"):
        vit_jax("nlhb")


def test_efficientnet():
    drawn = assigned(ZOO["separable"].make(), efficientnet(), *ZOO["separable"].args())
    resnet = ZOO["resnet"]
    dense = assigned(resnet.make(), efficientnet(), *resnet.args(), train=True)

    # Three groups of 4 channels, twelve of one, and a plain one with 8.
    for name, fan_out in [("grouped", 36), ("depthwise", 9), ("pointwise", 8)]:
        std = math.sqrt(2 / fan_out)
        assert_moments(drawn[f"{name}/kernel"], mean=0.0, std=std)
        assert not drawn[f"{name}/bias"].any()
    assert_law(dense["head/kernel"], uniform(8**-0.5))
    np.testing.assert_array_equal(dense["stem_norm/scale"], 1.0)
