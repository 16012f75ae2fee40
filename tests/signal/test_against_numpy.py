"""Every statistic equals its definition, computed in float64 from whole activations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

import jaxinit
from tests.signal.captured import COLLECTIONS, Stream, capture

pytestmark = pytest.mark.internals

TOLERANCE = 1e-5
SEED = 3


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(24)(x))
        x = nn.relu(nn.Dense(16, bias_init=nn.initializers.normal(1.0))(x))
        return nn.Dense(4)(x)


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        x = nn.relu(nn.Conv(12, (3, 3), strides=2)(x))
        return nn.Dense(4)(x.mean((1, 2)))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        h = nn.MultiHeadDotProductAttention(2)(nn.LayerNorm(use_bias=False)(x))
        x = Stream(name="first")(x + h)
        h = nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
        return Stream(name="second")(x + h), None


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, 16)(tokens)
        blocks = nn.scan(
            nn.remat(Block),
            variable_axes={"params": 0, **COLLECTIONS},
            split_rngs={"params": True},
            length=3,
        )
        x, _ = blocks(name="blocks")(x, None)
        return nn.Dense(11)(nn.LayerNorm()(x))


def loss(out):
    return jnp.mean(jnp.sin(out) ** 2)


# A row of the report -> the module whose output it is, and the activation behind it.
CASES = {
    "mlp": (
        MLP(),
        lambda key: jax.random.normal(key, (6, 10)),
        {"Dense_0": "relu", "Dense_1": "relu", "Dense_2": None},
        {},
    ),
    "convnet": (
        ConvNet(),
        lambda key: 2 + jax.random.normal(key, (4, 6, 6, 3)),
        {"Conv_0": None, "BatchNorm_0": "relu", "Conv_1": "relu", "Dense_0": None},
        {},
    ),
    "transformer": (
        Transformer(),
        lambda key: jax.random.randint(key, (3, 5), 0, 11),
        {
            "Embed_0": None,
            "blocks/LayerNorm_0": None,
            "blocks/MultiHeadDotProductAttention_0/query": None,
            "blocks/MultiHeadDotProductAttention_0/key": None,
            "blocks/MultiHeadDotProductAttention_0/value": None,
            "blocks/MultiHeadDotProductAttention_0/out": None,
            "blocks/LayerNorm_1": None,
            "blocks/Dense_1": "gelu",
            "blocks/Dense_0": None,
            "LayerNorm_0": None,
            "Dense_0": None,
        },
        {
            "blocks/MultiHeadDotProductAttention_0/out+": "blocks/first",
            "blocks/Dense_0+": "blocks/second",
        },
    ),
}
KINDS = (
    nn.Dense,
    nn.Conv,
    nn.BatchNorm,
    nn.LayerNorm,
    nn.Embed,
    nn.DenseGeneral,
    Stream,
)


@pytest.fixture(scope="module", params=list(CASES))
def measured(request):
    """The report of one seed, and all its activations and gradients, whole."""
    model, draw, activations, joins = CASES[request.param]
    x = draw(jax.random.key(7))
    report = jaxinit.analyze(model, x, seeds=[SEED], loss=loss, judge=False)
    variables = model.init(report.key(SEED), x)
    return report, capture(model, variables, (x,), {}, loss, KINDS), activations, joins


def brute_force(a, heads):
    """The definitions of the forward statistics."""
    channels = math.prod(a.shape[-2:]) if heads else a.shape[-1]
    flat = a.reshape(-1, channels)
    chan_mean = flat.mean(0)
    rows = a.reshape(len(a), -1)
    norms = np.linalg.norm(rows, axis=1)
    units = rows[norms > 0] / norms[norms > 0, None]
    gram = units @ units.T
    number = len(units)
    return {
        "mean": a.mean(),
        "var": a.var(),
        "second_moment": (a**2).mean(),
        "rms": np.sqrt((a**2).mean()),
        "chan_sq_mean": (chan_mean**2).mean(),
        "chan_var": flat.var(0).mean(),
        "cos": (gram.sum() - np.trace(gram)) / (number * (number - 1)),
        "absmax": np.abs(a).max(),
        "frac_zero": (a == 0).mean(),
        "frac_nonfinite": (~np.isfinite(a)).mean(),
    }


def pairs(report, outputs, modules):
    """Each row with the whole array that it is about, a scan's layer by layer."""
    for row, module in modules.items():
        whole = outputs[module]
        if row.startswith("blocks/"):
            for layer in range(3):
                yield report.layers.index(f"{row}[{layer}]"), whole[layer], module
        else:
            yield report.layers.index(row), whole, module


def test_every_row_is_compared(measured):
    report, _, activations, joins = measured
    names = {name.split("[")[0] for name in report.layers}

    assert names == {*activations, *joins}


def test_forward(measured):
    report, (outputs, _, _), activations, joins = measured
    modules = {row: row for row in activations} | joins
    for column, whole, module in pairs(report, outputs, modules):
        heads = module.endswith(("query", "key", "value"))
        expected = brute_force(whole, heads)
        rms = expected["rms"]
        for metric, value in expected.items():
            got = report.forward[metric][0, column]
            # A mean may cancel: it is exact to the size of what it averages.
            size = max(abs(value), rms if metric == "mean" else 0)
            if metric == "chan_sq_mean":
                size = max(size, expected["second_moment"])
            assert abs(got - value) <= TOLERANCE * max(size, 1e-30), (
                report.layers[column],
                metric,
                got,
                value,
            )


def test_dead(measured):
    report, (outputs, _, _), activations, _ = measured
    functions = {
        "relu": lambda a: np.maximum(a, 0),
        "gelu": lambda a: np.asarray(nn.gelu(a)),
        None: lambda a: a,
    }
    modules = {row: row for row in activations}
    for column, whole, module in pairs(report, outputs, modules):
        heads = module.endswith(("query", "key", "value"))
        shape = (-1, math.prod(whole.shape[-2:]) if heads else whole.shape[-1])
        after = functions[activations[module]](whole).reshape(shape)
        assert report.forward["dead"][0, column] == pytest.approx(
            (after == 0).all(0).mean(), abs=1e-6
        )


def test_backward(measured):
    report, (_, gradients, _), activations, joins = measured
    modules = {row: row for row in activations} | joins
    for column, whole, _ in pairs(report, gradients, modules):
        got = report.backward["grad_rms"][0, column]
        assert got == pytest.approx(np.sqrt((whole**2).mean()), rel=TOLERANCE)
    delta = report.backward["grad_rms"][0]
    layers = [i for i, kind in enumerate(report.kinds) if kind == "layer"]
    np.testing.assert_allclose(
        report.backward["chi"][0, layers[:-1]],
        delta[layers[:-1]] ** 2 / delta[layers[1:]] ** 2,
        rtol=1e-12,
    )


def test_weights(measured):
    report, (_, _, gradients), *_ = measured
    seen = set()
    for parts, gradient in flatten_dict(gradients).items():
        name = "/".join(parts)
        stacked = name.startswith("blocks/")
        for layer in range(3 if stacked else 1):
            g = np.asarray(gradient, np.float64)
            full = f"{name}[{layer}]" if stacked else name
            g = g[layer] if stacked else g
            column = report.params.index(full)
            seen.add(column)
            norm = np.linalg.norm(g)
            # Exactly zero in theory (a key's bias): both are rounding.
            floor = 5e-7 * report.backward["grad_rms"][0].max()
            got = {k: v[0, column] for k, v in report.weights.items()}
            assert got["wgrad_norm"] == pytest.approx(norm, rel=TOLERANCE, abs=floor)
            assert got["wgrad_rms"] == pytest.approx(
                norm / math.sqrt(g.size), rel=TOLERANCE, abs=floor
            )
            if got["weight_norm"] > 0 and norm > 1e3 * floor:
                assert got["wgrad_rel"] == pytest.approx(
                    norm / got["weight_norm"], rel=TOLERANCE
                )
    assert seen == set(range(len(report.params)))
    assert report.loss is not None
