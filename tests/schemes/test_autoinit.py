"""AutoInit: its variances by theory, and what they do by measurement."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinit.initializers import calculate_gain, ones, zeros
from jaxinit.models.functional import Functional
from jaxinit.moments.propagate import propagate
from jaxinit.schemes.data.autoinit import autoinit
from jaxinit.schemes.explain import explain
from jaxinit.schemes.initialize import initialize, prepare
from jaxinit.schemes.rules import override
from jaxinit.signal.analyze import analyze
from tests.zoo import ZOO

WORKS = (
    "mlp mlp_bf16_params three_calls lora ensemble weight_norm convnet resnet "
    "separable unet vae gpt_scanned encoder_decoder vit mixture_of_experts lstm cond "
    "fori_loop shard_map nnx_mlp nnx_gru nnx_transformer equinox"
).split()
REFUSED = {
    "state_space": "computes with complex numbers",
    "graph_network": "scatter-add makes of",
    "while_loop": "its length depends on data",
}


def stack(widths, activation):
    """Dense layers with an activation in between, in linen."""
    layers = [nn.Dense(widths[0])]
    for width in widths[1:]:
        layers += [activation, nn.Dense(width)]
    return nn.Sequential(layers)


def vectors(width, batch=1):
    return jax.ShapeDtypeStruct((batch, width), jnp.float32)


def read(model, *inputs):
    network, _ = prepare(model, inputs, {}, ())
    return network


def zoo_network(name):
    entry = ZOO[name]
    model = entry.make()
    if entry.kind == "functional":
        model = Functional(*model)
    return prepare(model, entry.args(), dict(entry.kwargs), entry.streams)[0]


def gains(network, **law):
    """By name: fan-in times variance, which is 1 for LeCun's and 2 for He's."""
    found = propagate(network, **law).variances
    return {
        network.params[leaf].name: variances * network.params[leaf].use.fan_in
        for leaf, variances in found.items()
    }


def test_relu_chains_get_lecun_then_he():
    found = gains(read(stack([32, 64, 16, 8], nn.relu), vectors(24)))

    np.testing.assert_allclose(list(found.values()), [1, 2, 2, 2], rtol=1e-10)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "elu", "softplus", "selu"])
def test_chains_get_the_squared_gain_of_their_activation(name):
    found = gains(read(stack([32, 64], getattr(nn, name)), vectors(24)))

    expected = calculate_gain(name) ** 2
    assert found["layers_2/kernel"] == pytest.approx(expected, rel=1e-6)


def test_only_the_first_layer_sees_the_law_of_the_input():
    network = read(stack([32, 64], nn.relu), vectors(24))

    found = gains(network, mean=2.0, variance=3.0)

    np.testing.assert_allclose(list(found.values()), [1 / 7, 2], rtol=1e-10)


def test_sums_on_a_residual_stream_are_counted():
    class Residual(nn.Module):
        @nn.compact
        def __call__(self, x):
            for i in range(4):
                h = nn.relu(nn.Dense(48, name=f"in_{i}")(x))
                x = x + nn.Dense(24, name=f"out_{i}")(h)
            return x

    network = read(Residual(), vectors(24))
    found = gains(network)

    into = [found[f"in_{i}/kernel"] for i in range(4)]
    np.testing.assert_allclose(into, [1, 1 / 2, 1 / 3, 1 / 4], rtol=1e-9)
    np.testing.assert_allclose([found[f"out_{i}/kernel"] for i in range(4)], 2)
    assert propagate(network).outputs[0].variance == pytest.approx(5)


def test_parts_that_are_laid_side_by_side_are_averaged():
    class Dense(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.relu(nn.Dense(24, name="first")(x))
            return nn.Dense(8, name="second")(jnp.concatenate([x, y], axis=-1))

    found = gains(read(Dense(), vectors(24)))

    assert found["second/kernel"] == pytest.approx(4 / 3, rel=1e-9)


def test_factors_in_the_model_are_undone():
    def apply(p, x):
        return jnp.tanh(x @ (p["a"] / 24**0.5)) @ (3 * p["b"]).T

    model = Functional(
        lambda key, x: {"a": jnp.ones((24, 16)), "b": jnp.ones((8, 16))}, apply
    )
    network = read(model, vectors(24))
    found = propagate(network)

    a, b = found.variances[0], found.variances[1]
    assert a == pytest.approx(1.0)
    assert b == pytest.approx(calculate_gain("tanh") ** 2 / (9 * 16), rel=1e-6)
    assert found.outputs[0].variance == pytest.approx(1)


def test_weights_are_normal_and_biases_zero():
    model = stack([128, 256], nn.relu)
    params = initialize(model, autoinit(), 3, vectors(64))["params"]

    kernel = np.asarray(params["layers_2"]["kernel"], np.float64)
    variance = 2 / 128
    # Standard errors of the second and of the fourth moment of a normal law.
    error = variance * math.sqrt(2 / kernel.size)
    assert abs(np.mean(kernel**2) - variance) < 5 * error
    kurtosis = np.mean(kernel**4) / np.mean(kernel**2) ** 2
    assert abs(kurtosis - 3) < 5 * math.sqrt(24 / kernel.size)
    assert not params["layers_0"]["bias"].any()


@pytest.mark.parametrize("name", WORKS)
def test_every_weight_of_the_zoo_gets_a_variance(name):
    network = zoo_network(name)

    found = propagate(network)

    tables = {p.leaf for p in network.params if "embedding" in p.roles}
    weights = {p.leaf for p in network.params if "weight" in p.roles} - tables
    computed = {"weight_norm": 1}.get(name, 0)
    assert len(weights - set(found.variances)) == computed
    assert all((v > 0).all() for v in found.variances.values())
    for leaf, variances in found.variances.items():
        assert variances.shape == network.params[leaf].layers


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused(name):
    with pytest.raises(ValueError, match=REFUSED[name]):
        propagate(zoo_network(name))


def test_layers_of_a_scan_get_what_unrolled_layers_get():
    unrolled, scanned = (gains(zoo_network(n)) for n in ("gpt", "gpt_scanned"))

    for name, values in scanned.items():
        part = name.removeprefix("blocks/")
        each = [float(unrolled[f"block_{i}/{part}"]) for i in range(3)]
        # Their tables are drawn from different keys.
        np.testing.assert_allclose(values, each, rtol=1e-3)


def test_scanned_residual_layers_are_drawn_with_a_variance_each():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return x + nn.Dense(128, name="fc")(x), None

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            blocks = nn.scan(
                Block,
                variable_axes={"params": 1},
                split_rngs={"params": True},
                length=3,
            )
            return blocks(name="blocks")(x, None)[0]

    params = initialize(Stack(), autoinit(), 0, vectors(128))["params"]

    kernels = np.asarray(params["blocks"]["fc"]["kernel"], np.float64)
    assert kernels.shape == (128, 3, 128)
    expected = 1 / (128 * np.array([1, 2, 3]))
    found = np.mean(kernels**2, axis=(0, 2))
    assert np.all(np.abs(found - expected) < 5 * expected * math.sqrt(2 / 128**2))


def second_moments(model, x, name, **kwargs):
    """Of one row of the report, over seeds: mean and standard error."""
    report = analyze(model, x, scheme=autoinit(), seeds=48, judge=False, **kwargs)
    values = {
        row.name: report.forward["second_moment"][:, i]
        for i, row in enumerate(report.rows)
    }
    return {
        row: (v.mean(), v.std() / math.sqrt(len(v)))
        for row, v in values.items()
        if name in row or "/" in row
    }


def assert_near(measured, expected, slack):
    for name, (mean, error) in measured.items():
        assert abs(mean - expected) < 5 * error + slack, (name, mean, error)


def standardized(shape):
    x = jax.random.normal(jax.random.key(5), shape)
    return (x - x.mean()) / x.std()


def test_measured_variances_of_dense_layers():
    model = stack([64] * 6, nn.gelu)

    measured = second_moments(model, standardized((16, 64)), "layers")

    # Finite width: of order 1/64 for each layer.
    assert len(measured) == 6
    assert_near(measured, 1.0, 0.05)
    with pytest.raises(AssertionError, match="layers_0"):
        assert_near(measured, 1.3, 0.05)


def test_measured_variances_of_convolutions():
    class ConvNet(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(24, (3, 3), padding="VALID", name="conv_0")(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
            x = nn.silu(nn.Conv(32, (3, 3), padding="VALID", name="conv_1")(x))
            return nn.Dense(32, name="conv_head")(x.reshape(x.shape[0], -1))

    measured = second_moments(ConvNet(), standardized((8, 12, 12, 8)), "conv_")

    # Neighboring outputs of a convolution share inputs, which pooling feels.
    assert len(measured) == 3
    assert_near(measured, 1.0, 0.08)


def test_measured_variances_of_a_transformer_block():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
            h = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(2, name="attn")(h, mask=mask)
            h = nn.gelu(nn.Dense(64, name="mlp_in")(nn.LayerNorm()(x)))
            return x + nn.Dense(32, name="mlp_out")(h)

    x = standardized((8, 8, 32))

    measured = second_moments(Block(), x, "_")

    names = ("attn/", "mlp_")
    layers = {
        name: m
        for name, m in measured.items()
        if name.startswith(names) and not name.endswith("+")
    }
    assert len(layers) == 6
    assert_near(layers, 1.0, 0.06)


def test_a_recurrent_kernel_gets_its_variance_from_the_second_step():
    def apply(p, xs):
        def step(h, x):
            h = jnp.tanh(x @ p["w"] + h @ p["u"])
            return h, None

        return jax.lax.scan(step, jnp.zeros((4, 16)), xs)[0]

    model = Functional(
        lambda key, xs: {"u": jnp.ones((16, 16)), "w": jnp.ones((8, 16))}, apply
    )
    found = gains(read(model, jax.ShapeDtypeStruct((5, 4, 8), jnp.float32)))

    assert found["w"] == pytest.approx(1)
    assert found["u"] == pytest.approx(calculate_gain("tanh") ** 2, rel=1e-6)


def test_rules_of_the_user_come_first():
    model = stack([32, 8], nn.relu)
    scheme = override(autoinit(), [("layers_2/*", ones)])

    params = initialize(model, scheme, 0, vectors(24))["params"]

    assert (params["layers_2"]["kernel"] == 1).all()
    assert (params["layers_2"]["bias"] == 1).all()
    assert params["layers_0"]["kernel"].std() == pytest.approx(24**-0.5, rel=0.2)


def test_explain_says_what_was_drawn():
    text = str(explain(stack([32, 8], nn.relu), autoinit(), vectors(24)))

    assert "weights" in text
    assert "normal" in text
    assert "biases" in text


def test_works_under_jit():
    model = stack([32, 8], nn.relu)
    plain = initialize(model, autoinit(), 0, vectors(24))

    jitted = jax.jit(lambda key: initialize(model, autoinit(), key, vectors(24)))(
        jax.random.key(0)
    )

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), plain, jitted
    )


def test_a_weight_that_only_zeros_reach_is_named():
    class Zero(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = x * self.param("gain", zeros, (24,))
            return nn.Dense(8, name="head")(x)

    with pytest.raises(ValueError, match="only zeros reach head/kernel"):
        initialize(Zero(), autoinit(), 0, vectors(24))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_weight_that_meets_no_finite_moment_is_named():
    def model(params, x):
        return jnp.exp(100 * (x @ params["w"])) @ params["head"]

    def init(key, x):
        return {"w": jax.random.normal(key, (8, 8)), "head": jnp.ones((8, 3))}

    x = jax.random.normal(jax.random.key(0), (4, 8))
    with pytest.raises(ValueError, match=r"no finite second moment .* head"):
        initialize(Functional(init, model), autoinit(), 0, x)


def test_integers_of_unknown_law_are_refused():
    class Timed(nn.Module):
        @nn.compact
        def __call__(self, x, time):
            mixed = jnp.bitwise_xor(time, 5).astype(jnp.float32)
            return nn.Dense(8)(x + jnp.sin(mixed)[:, None])

    network = read(Timed(), vectors(24, 4), jax.ShapeDtypeStruct((4,), jnp.int32))

    with pytest.raises(ValueError, match=r"how args\[1\], an input of integers"):
        propagate(network)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.inf, math.nan])
def test_variances_must_be_positive(variance):
    with pytest.raises(ValueError, match=r"`input_variance` must be in \(0, inf\)"):
        autoinit(input_variance=variance)


def test_means_must_be_finite():
    with pytest.raises(ValueError, match="`input_mean` must be finite, got nan"):
        autoinit(input_mean=math.nan)
