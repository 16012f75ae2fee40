"""Branches that begin at zero: what does not matter at first, and what learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.residual.zero_gains import (
    layer_scale,
    rezero,
    skip_init,
    zero_gamma,
    zero_output_projection,
)
from jaxinit.schemes.rules import override
from tests.schemes import residual_models as models
from tests.zoo import ZOO

RESNET = ZOO["resnet"]
GPT = ZOO["gpt_scanned"]


def _resnet(scheme, seed=0):
    return jax.jit(
        lambda: initialize(RESNET.make(), scheme, seed, *RESNET.args(), train=True)
    )()


def _apply(variables):
    return RESNET.make().apply(
        variables, *RESNET.args(), train=True, mutable=["batch_stats"]
    )[0]


_resnet_logits = jax.jit(_apply)


def _with_other(params, others, in_branch):
    """The parameters, those in branches taken from ``others``."""
    return jax.tree_util.tree_map_with_path(
        lambda path, p, other: other if in_branch(jax.tree_util.keystr(path)) else p,
        params,
        others,
    )


@pytest.fixture(scope="module")
def zeroed():
    return [_resnet(zero_gamma(), seed) for seed in (0, 1)]


def _is_branch_kernel(path):
    return "ResidualBlock" in path and "Conv" in path


def test_zero_gamma_takes_the_last_norm_of_each_branch_alone(zeroed):
    params = zeroed[0]["params"]

    for i in range(3):
        block = params[f"ResidualBlock_{i}"]
        np.testing.assert_array_equal(block["BatchNorm_1"]["scale"], 0.0)
        np.testing.assert_array_equal(block["BatchNorm_0"]["scale"], 1.0)
    np.testing.assert_array_equal(params["stem_norm"]["scale"], 1.0)


def test_zero_gamma_makes_branch_weights_irrelevant(zeroed):
    first, second = zeroed
    mixed = _with_other(first["params"], second["params"], _is_branch_kernel)
    logits = _resnet_logits(first)

    assert float(logits.std()) > 0.01
    np.testing.assert_array_equal(logits, _resnet_logits({**first, "params": mixed}))
    # The check can fail: the stem does matter.
    mixed = _with_other(first["params"], second["params"], lambda path: "stem" in path)
    assert (logits != _resnet_logits({**first, "params": mixed})).any()


def test_zero_gamma_lets_only_the_scale_learn_at_first(zeroed):
    variables = zeroed[0]

    def loss(params):
        return jnp.square(_apply({**variables, "params": params})).sum()

    grads = jax.jit(jax.grad(loss))(variables["params"])

    for i in range(3):
        block = grads[f"ResidualBlock_{i}"]
        assert not block["Conv_0"]["kernel"].any()
        assert not block["Conv_1"]["kernel"].any()
        assert not block["BatchNorm_0"]["scale"].any()
        assert block["BatchNorm_1"]["scale"].any()


def test_zero_gamma_in_nnx():
    net = initialize(
        lambda rngs: models.GainedNNX(rngs=rngs), zero_gamma(), 0, models.vectors()
    )

    for norm in net.norms:
        np.testing.assert_array_equal(norm.scale[...], 0.0)
    x = models.vectors()
    np.testing.assert_array_equal(net(x), net.head(net.stem(x)))


def test_zero_gamma_needs_a_norm_at_the_end():
    message = (
        r"none between blocks/attn/out/kernel and the sum: it has blocks/ln_1/scale "
        r"of shape \(3, 16\)"
    )
    with pytest.raises(ValueError, match=message):
        initialize(GPT.make(), zero_gamma(), 0, *GPT.args())


def test_one_branch_without_a_norm_is_named():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = x + nn.LayerNorm()(nn.Dense(models.WIDTH, name="good")(x))
            return x + nn.Dense(models.WIDTH, name="bare")(nn.relu(x))

    with pytest.raises(
        ValueError, match=r"none between bare/kernel and .* none at all"
    ):
        initialize(Net(), zero_gamma(), 0, models.vectors())


def test_both_ends_of_a_sum_of_paths_get_their_norm_zeroed():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.LayerNorm(name="ln_a")(nn.Dense(models.WIDTH, name="a")(x))
            z = nn.LayerNorm(name="ln_b")(nn.Dense(models.WIDTH, name="b")(x))
            return nn.Dense(2)(x + (y + z))

    params = initialize(Net(), zero_gamma(), 0, models.vectors())["params"]

    assert not params["ln_a"]["scale"].any()
    assert not params["ln_b"]["scale"].any()


def test_of_two_norms_in_a_row_the_last_one_is_zeroed():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.LayerNorm(name="first")(nn.Dense(models.WIDTH)(x))
            return nn.Dense(2)(x + nn.LayerNorm(name="last")(nn.relu(y)))

    drawn = models.assigned(Net(), zero_gamma(), models.vectors())

    assert list(drawn) == ["last/scale"]


def test_a_rule_of_the_users_comes_first():
    rules = [("ResidualBlock_0/BatchNorm_1/scale", jaxinit.ones)]
    params = _resnet(override(zero_gamma(), rules))["params"]

    np.testing.assert_array_equal(
        params["ResidualBlock_0"]["BatchNorm_1"]["scale"], 1.0
    )
    np.testing.assert_array_equal(
        params["ResidualBlock_1"]["BatchNorm_1"]["scale"], 0.0
    )


@pytest.mark.parametrize(("scheme", "scan"), [(rezero, True), (skip_init, False)])
def test_a_zero_scalar_makes_each_block_the_identity(scheme, scan):
    x = models.vectors()
    model = models.Gained(scan=scan)
    variables = initialize(model, scheme(), 0, x)
    params = variables["params"]
    stem, head = params["stem"], params["head"]
    outside = (x @ stem["kernel"] + stem["bias"]) @ head["kernel"] + head["bias"]

    def loss(params):
        return jnp.square(model.apply({"params": params}, x)).sum()

    grads = jax.jit(jax.grad(loss))(params)

    np.testing.assert_allclose(model.apply(variables, x), outside, rtol=1e-5, atol=1e-6)
    assert float(outside.std()) > 0.1
    blocks = {k: v for k, v in params.items() if k.startswith("block")}
    assert len(blocks) == (1 if scan else 3)
    for name, block in blocks.items():
        assert not block["alpha"].any()
        assert block["fc"]["kernel"].any()
        assert jnp.all(grads[name]["alpha"] != 0)
        rest = {k: v for k, v in grads[name].items() if k != "alpha"}
        assert not any(g.any() for g in jax.tree.leaves(rest))


def test_rezero_in_nnx():
    net = initialize(
        lambda rngs: models.GainedNNX(rngs=rngs), rezero(), 0, models.vectors()
    )

    assert [float(alpha[...]) for alpha in net.alphas] == [0.0, 0.0]
    graph, params = nnx.split(net, nnx.Param)[:2]
    grads = jax.grad(lambda p: jnp.square(nnx.merge(graph, p)(models.vectors())).sum())(
        params
    )
    assert not grads["layers"][0]["kernel"][...].any()
    assert float(grads["alphas"][0][...]) != 0.0


def test_rezero_needs_a_scalar():
    message = r"rezero\(\) sets the scalar .* block_0/alpha of shape \(16,\)"
    with pytest.raises(ValueError, match=message):
        initialize(models.Gained(shape=(16,)), rezero(), 0, models.vectors())


@pytest.mark.parametrize(
    ("depth", "value"), [(18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6)]
)
def test_layer_scale_goes_by_the_depth(depth, value):
    model = models.Gained(depth, (models.WIDTH,), scan=True)
    drawn = models.assigned(model, layer_scale(), models.vectors())

    assert list(drawn) == ["blocks/alpha"]
    np.testing.assert_array_equal(drawn["blocks/alpha"], np.float32(value))


@pytest.mark.parametrize(("depth", "value"), [(12, 0.1), (20, 1e-5)])
def test_layer_scale_counts_blocks_with_attention(depth, value):
    drawn = models.assigned(
        models.Attending(depth), layer_scale(), models.vectors()[None]
    )

    assert sorted(drawn) == ["blocks/gain_1", "blocks/gain_2"]
    for gain in drawn.values():
        np.testing.assert_array_equal(gain, np.float32(value))


def test_layer_scale_takes_a_value():
    model = models.Gained(shape=(models.WIDTH,))
    drawn = models.assigned(model, layer_scale(0.25), models.vectors())

    assert sorted(drawn) == [f"block_{i}/alpha" for i in range(3)]
    np.testing.assert_array_equal(drawn["block_2/alpha"], 0.25)


def test_layer_scale_needs_a_gain_for_each_channel():
    with pytest.raises(ValueError, match=r"block_0/alpha of shape \(\)"):
        initialize(models.Gained(), layer_scale(), 0, models.vectors())
    with pytest.raises(ValueError, match="`value` must be finite, got nan"):
        layer_scale(float("nan"))


@pytest.mark.parametrize("name", ["gpt", "gpt_scanned", "vit", "resnet"])
def test_zero_output_projection_zeroes_the_ends_and_their_biases(name):
    entry = ZOO[name]
    drawn = models.assigned(
        entry.make(), zero_output_projection(), *entry.args(), **entry.kwargs
    )
    blocks = {
        "gpt": ["block_0", "block_1", "block_2"],
        "gpt_scanned": ["blocks"],
        "vit": ["block"],
    }.get(name, [])
    parts = ("attn/out/bias", "attn/out/kernel", "proj/bias", "proj/kernel")
    ends = [f"{block}/{part}" for block in blocks for part in parts]
    if name == "resnet":
        ends = [f"ResidualBlock_{i}/Conv_1/kernel" for i in range(3)]

    assert sorted(drawn) == ends
    assert not any(value.any() for value in drawn.values())


def test_zero_output_projection_zeroes_biases_that_the_model_draws():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            ones = nn.initializers.ones
            h = nn.Dense(models.WIDTH, bias_init=ones, name="first")(x)
            return x + nn.Dense(models.WIDTH, bias_init=ones, name="last")(nn.relu(h))

    x = models.vectors()
    variables = initialize(Net(), zero_output_projection(), 0, x)

    np.testing.assert_array_equal(Net().apply(variables, x), x)
    np.testing.assert_array_equal(variables["params"]["first"]["bias"], 1.0)


@pytest.mark.parametrize(
    "scheme", [zero_gamma, rezero, skip_init, layer_scale, zero_output_projection]
)
def test_no_branches(scheme):
    entry = ZOO["mlp"]
    message = rf"{scheme.__name__}\(\) is for networks with residual branches"

    with pytest.raises(ValueError, match=message):
        initialize(entry.make(), scheme(), 0, *entry.args())
