"""Moments by analysis against sampling, operation by operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinit.initializers import calculate_gain
from jaxinit.initializers.moments import activation_moments
from jaxinit.models.functional import Functional
from jaxinit.moments.propagate import Moments, propagate
from jaxinit.schemes.initialize import prepare

DRAWS = 100


def moments(function, *shapes, mean=0.0, variance=1.0):
    """The analysis of ``function`` of standard normal arrays."""
    model = Functional(
        lambda key, *xs: {"unused": jnp.ones(3)}, lambda p, *xs: function(*xs)
    )
    inputs = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    network, _ = prepare(model, inputs, {}, ())
    (found,) = propagate(network, mean, variance).outputs
    return found


def sampled(function, *shapes, mean=0.0, variance=1.0):
    """Mean and second moment for each of many draws of the whole input."""

    rng = np.random.default_rng(0)
    xs = [
        jnp.asarray(mean + variance**0.5 * rng.standard_normal((DRAWS, *s)), "float32")
        for s in shapes
    ]

    def run(*xs):
        y = function(*xs)
        return y.mean(), jnp.square(y).mean()

    found = jax.jit(jax.vmap(run))(*xs)
    return np.asarray(found, np.float64)


def assert_agrees(found, samples, slack):
    """Both moments within 5 standard errors, and a relative ``slack`` for small k."""
    second = found.variance + found.mean**2
    for value, name, at in [(found.mean, "mean", 0), (second, "second moment", 1)]:
        error = 5 * samples[at].std() / np.sqrt(DRAWS)
        scale = max(second, 1e-12) ** (0.5 if at == 0 else 1.0)
        away = abs(value - samples[at].mean())
        assert away <= error + slack * scale, (name, value, samples[at].mean(), error)


def test_assert_agrees_notices_a_tenth():
    samples = sampled(jnp.tanh, (64, 64))
    right = moments(jnp.tanh, (64, 64))

    assert_agrees(right, samples, 0.0)
    with pytest.raises(AssertionError, match="second moment"):
        assert_agrees(Moments(0.0, 1.1 * right.variance), samples, 0.01)


def _layer_norm(x):
    centered = x - x.mean(-1, keepdims=True)
    return centered * lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-6)


def _fast_layer_norm(x):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.maximum(0.0, jnp.square(x).mean(-1, keepdims=True) - mean**2)
    return (x - mean) * lax.rsqrt(variance + 1e-6)


def _group_norm(x):
    y = x.reshape(x.shape[0], -1, 4, x.shape[-1] // 4)
    mean = y.mean((1, 3), keepdims=True)
    return ((y - mean) / y.std((1, 3), keepdims=True)).reshape(x.shape)


def _causal(x):
    mask = jnp.tril(jnp.ones(x.shape[-2:], bool))
    return jax.nn.softmax(jnp.where(mask, x, -1e9))


def _gated(x):
    gate, value = jnp.split(x, 2, axis=-1)
    return jax.nn.sigmoid(gate) * value


def _rotated(x):
    one, two = jnp.split(x, 2, axis=-1)
    angle = jnp.arange(x.shape[0])[:, None] * jnp.exp(-jnp.arange(one.shape[-1]))
    turned = jnp.concatenate([-two, one], axis=-1)
    return x * jnp.tile(jnp.cos(angle), 2) + turned * jnp.tile(jnp.sin(angle), 2)


def _dropout(x):
    keep = jax.random.bernoulli(jax.random.key(3), 0.8, x.shape)
    return jnp.where(keep, x / 0.8, 0.0)


def _noise_of_split_keys(x):
    one, two = jax.random.split(jax.random.key(3))
    noise = jax.random.normal(one, x.shape) + jax.random.normal(two, x.shape)
    return jnp.tanh(x + noise)


def _over_a_named_axis(x):
    """Batch norm as Equinox has it, and the largest of a batch."""

    def one(row):
        centered = row - lax.pmean(row, "batch")
        scale = lax.rsqrt(lax.pmean(jnp.square(centered), "batch") + 1e-6)
        return jax.nn.relu(centered * scale) + lax.pmax(row, "batch")

    return jax.vmap(one, axis_name="batch")(x)


def _pooled(x, operation, start):
    return lax.reduce_window(x, start, operation, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _one_hot_gates(x):
    values, chosen = lax.top_k(x, 2)
    return jnp.einsum("bk,bke->be", values, jax.nn.one_hot(chosen, x.shape[-1]))


def _attention(q, k, v):
    weights = jax.nn.softmax(q @ k.T / q.shape[-1] ** 0.5)
    return weights @ v


MATRIX, SMALL, IMAGES = (64, 64), (64, 8), (4, 8, 8, 4)

# Name: function, shapes, relative slack for what is counted as in the wide limit.
CASES = {
    "scaled": (lambda x: 3 * x - 2, [MATRIX], 0),
    "relu": (jax.nn.relu, [MATRIX], 0),
    "gelu": (jax.nn.gelu, [MATRIX], 0),
    "silu by hand": (lambda x: x * (1 / (1 + jnp.exp(-x))), [MATRIX], 0),
    "softplus": (jax.nn.softplus, [MATRIX], 0),
    "leaky relu": (jax.nn.leaky_relu, [MATRIX], 0),
    "square": (jnp.square, [MATRIX], 0),
    "clip": (lambda x: jnp.clip(x, -0.5, 1.0), [MATRIX], 0),
    "rounded": (lambda x: jnp.round(2 * x), [MATRIX], 0),
    "same twice": (lambda x: x * 2 + x, [MATRIX], 0),
    "sum": (lambda x, y: jax.nn.relu(x) + y, [MATRIX, MATRIX], 0),
    "sum of sums": (lambda x, y: jnp.tanh(jnp.abs(x + y) - 2), [MATRIX, MATRIX], 0),
    "product": (lambda x, y: jax.nn.relu(x) * (1 + y), [MATRIX, MATRIX], 0),
    "gated halves": (_gated, [MATRIX], 0),
    "rotary positions": (_rotated, [MATRIX], 1e-3),
    "concatenated": (
        lambda x, y: jnp.concatenate([jax.nn.relu(x), 3 + y], axis=1),
        [MATRIX, SMALL],
        1e-3,
    ),
    "padded": (lambda x: jnp.pad(jnp.exp(x), ((0, 0), (8, 0))), [MATRIX], 1e-3),
    "dropout": (_dropout, [MATRIX], 0.02),
    "noise of split keys": (_noise_of_split_keys, [MATRIX], 0.02),
    "over a named axis": (_over_a_named_axis, [MATRIX], 0.02),
    "average": (lambda x: jax.nn.relu(x).mean(0), [MATRIX], 0),
    "function of average": (lambda x: jax.nn.relu(x.mean(0)), [SMALL], 1e-3),
    "average of shared": (
        lambda x, y: jnp.tanh(x + y[:, None]).mean(1),
        [MATRIX, (64,)],
        1e-3,
    ),
    "average pool": (lambda x: _pooled(x, lax.add, 0.0) / 4, [IMAGES], 0),
    "max pool": (lambda x: _pooled(jnp.tanh(x), lax.max, -jnp.inf), [IMAGES], 2e-3),
    "largest": (lambda x: x.max(-1), [SMALL], 5e-3),
    "smallest": (lambda x: x.min(-1), [SMALL], 5e-3),
    "top": (lambda x: lax.top_k(x, 3)[0], [SMALL], 5e-3),
    "layer norm": (_layer_norm, [MATRIX], 1e-4),
    "fast layer norm": (_fast_layer_norm, [MATRIX], 1e-4),
    "norm then relu": (lambda x: jax.nn.relu(_layer_norm(x)), [MATRIX], 0.02),
    "group norm": (_group_norm, [(8, 32, 8)], 1e-4),
    "unit length": (
        lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
        [SMALL],
        1e-4,
    ),
    "softmax": (jax.nn.softmax, [SMALL], 5e-3),
    "wide softmax": (jax.nn.softmax, [MATRIX], 5e-3),
    "causal softmax": (_causal, [(4, 8, 8)], 5e-3),
    "log softmax": (jax.nn.log_softmax, [MATRIX], 0.02),
    "matrix product": (lambda x, y: x @ (1 + y), [MATRIX, MATRIX], 0),
    "attention": (_attention, [MATRIX, MATRIX, MATRIX], 0.01),
    # The two choices are taken as independent; they differ.
    "one-hot gates": (_one_hot_gates, [(64, 4)], 0.15),
    "known matrix": (
        lambda x: (1 + x) @ jnp.sin(jnp.arange(64 * 64.0)).reshape(64, 64),
        [MATRIX],
        1e-3,
    ),
    "sliced": (lambda x: x[:, :8] * x[:, 8:16], [MATRIX], 0),
    "position added": (
        lambda x: jnp.square(x + jnp.arange(8.0)).mean(0),
        [SMALL],
        1e-3,
    ),
    "scan": (
        lambda x: lax.scan(lambda c, y: (0.5 * c + y, c), jnp.zeros(64), x)[0],
        [MATRIX],
        1e-3,
    ),
    "loop of shapes": (
        lambda x: lax.fori_loop(0, 3, lambda i, y: jnp.tanh(y + i), x),
        [MATRIX],
        1e-3,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_moments_are_those_of_samples(name):
    function, shapes, slack = CASES[name]

    found = moments(function, *shapes)

    assert_agrees(found, sampled(function, *shapes), slack)


@pytest.mark.parametrize("name", ["gelu", "product", "layer norm", "max pool"])
def test_moments_for_inputs_that_are_not_standard(name):
    function, shapes, slack = CASES[name]
    law = {"mean": 0.7, "variance": 3.0}

    found = moments(function, *shapes, **law)

    assert_agrees(found, sampled(function, *shapes, **law), slack + 2e-3)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "softplus", "selu", "relu6"])
def test_chains_are_integrated_as_one_function(name):
    exact = activation_moments(name)

    found = moments(getattr(jax.nn, name, jnp.tanh), MATRIX)

    # Constants in the program have the precision of float32.
    assert found.mean == pytest.approx(exact.mean, abs=1e-7)
    assert found.variance == pytest.approx(exact.variance, rel=1e-7)
    second = found.variance + found.mean**2
    assert second == pytest.approx(calculate_gain(name) ** -2, rel=1e-7)


def test_softmax_has_the_exact_mean():
    assert moments(_causal, (4, 8, 8)).mean == pytest.approx(1 / 8, abs=1e-12)


def test_uniform_weights_average_exactly():
    # Without scores each of n entries has 1/n: the mean of 1/n^2 * n over the rows.
    def uniform(x):
        mask = jnp.tril(jnp.ones((8, 8), bool))
        return jax.nn.softmax(jnp.where(mask, 0.0 * x, -1e9))

    found = moments(uniform, (4, 8, 8))

    second = np.mean(1 / np.arange(1, 9)) / 8
    assert found.variance + found.mean**2 == pytest.approx(second, rel=1e-6)


def test_an_operation_without_a_rule_is_named():
    def function(x):
        return lax.cummax(jnp.tanh(x), axis=1)

    with pytest.raises(ValueError, match=r"cummax makes of float32\[64, 64\].*lsuv"):
        moments(function, MATRIX)


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match="complex numbers"):
        moments(lambda x: jnp.abs(jnp.fft.fft(x)), MATRIX)


def test_a_loop_that_data_end_is_refused():
    def function(x):
        return lax.while_loop(lambda y: y.sum() > 0, lambda y: y - 1, x)

    with pytest.raises(ValueError, match="its length depends on data"):
        moments(function, SMALL)
