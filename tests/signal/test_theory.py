"""The analyzer reproduces what mean-field theory says of random networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit

pytestmark = pytest.mark.internals


ACTIVATIONS = {"tanh": jnp.tanh, "relu": nn.relu, "linear": lambda x: x}


class Layer(nn.Module):
    width: int
    activation: str
    weight_variance: float
    bias_variance: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x, _):
        x = nn.Dense(
            self.width,
            kernel_init=nn.initializers.normal(
                math.sqrt(self.weight_variance / self.width)
            ),
            bias_init=nn.initializers.normal(math.sqrt(self.bias_variance)),
        )(x)
        if self.batch_norm:
            x = nn.BatchNorm(
                use_running_average=False, use_scale=False, use_bias=False, epsilon=1e-8
            )(x)
        return ACTIVATIONS[self.activation](x), None


class Deep(nn.Module):
    """A scanned multilayer perceptron: as deep as need be, compiled once."""

    depth: int
    width: int
    activation: str
    weight_variance: float
    bias_variance: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x):
        stack = nn.scan(
            Layer,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            length=self.depth,
        )
        layers = stack(
            self.width,
            self.activation,
            self.weight_variance,
            self.bias_variance,
            self.batch_norm,
            name="layers",
        )
        return layers(x, None)[0]


def measured(model, x, **options):
    return jaxinit.analyze(model, x, judge=False, progress=False, **options)


def standard_error(x):
    return np.std(x, ddof=1) / math.sqrt(len(x))


# sigma_w^2 with sigma_b^2 = 0.05: q*, chi_1 and c* of an infinitely wide tanh net
# (analyzer of Poole et al. 2016 and Schoenholz et al. 2017, by quadrature).
TANH = {
    1.0: (0.19359252, 0.75903165),
    1.3: (0.3153, 0.8802),
    2.5: (1.06395838, 1.13351570),
    4.0: (2.19549393, 1.34240241),
}
WIDTH = 256
FINITE_WIDTH = 0.06
"""At width 512 16 seeds in float64 gave q 2% and chi 1% below the infinite width's;
half the width, twice that."""


@pytest.mark.parametrize("weight_variance", list(TANH))
def test_tanh_length_map(weight_variance):
    q, chi = TANH[weight_variance]
    model = Deep(30, WIDTH, "tanh", weight_variance, 0.05)
    x = jax.ShapeDtypeStruct((4, WIDTH), jnp.float32)
    report = measured(model, x, seeds=8)

    last = report.forward["second_moment"][:, -1]
    assert abs(last.mean() - q) < 4 * standard_error(last) + FINITE_WIDTH * q
    if weight_variance == 2.5:
        # Two inputs decorrelate to c* < 1, so that gradients mix both regimes.
        return
    per_layer = np.log(report.backward["chi"][:, 10:25]).mean(axis=1)
    slack = 4 * standard_error(per_layer) + FINITE_WIDTH
    assert abs(per_layer.mean() - math.log(chi)) < slack


def test_relu_correlation_map():
    """Cho and Saul 2009: c' = (sqrt(1-c^2) + c (pi - acos c)) / pi, from c = 0."""
    x = jnp.eye(2, 512) * math.sqrt(512)
    report = measured(Deep(10, 512, "relu", 2.0), x, seeds=16)

    expected = [0.0]
    for _ in range(9):
        c = expected[-1]
        angle = math.pi - math.acos(c)
        expected.append((math.sqrt(1 - c * c) + c * angle) / math.pi)
    cosines = report.forward["cos"]
    np.testing.assert_allclose(expected[4], 0.6803, atol=2e-3)
    errors = np.abs(cosines.mean(axis=0) - expected)
    spread = np.std(cosines, axis=0, ddof=1) / 4
    # A fluctuation of the first layers is carried on: width 512 adds about 0.01.
    assert (errors < 4 * spread + 0.015).all(), errors


def test_relu_finite_width():
    """Hanin and Rolnick 2018: over seeds log q has mean -5L/2n and variance 5L/n."""
    depth, width, seeds = 20, 50, 256
    x = jax.random.normal(jax.random.key(1), (1, width))
    report = measured(Deep(depth, width, "relu", 2.0), x, seeds=seeds, strategy="vmap")
    q = report.forward["second_moment"]
    log = np.log(q[:, -1] / q[:, 0])
    layers = depth - 1

    expected = -5 * layers / (2 * width)
    assert abs(log.mean() - expected) < 4 * standard_error(log) + 0.05
    # The variance of a sample variance of a normal is 2/(n-1) of its square; the
    # next order in L/n adds a few percent.
    error = 4 * math.sqrt(2 / (seeds - 1)) + 0.1
    assert abs(log.var(ddof=1) / (5 * layers / width) - 1) < error
    # The trap that this sets: the mean looks healthy, the median does not.
    assert np.median(np.exp(log)) < 0.6 < np.exp(log).mean()


@pytest.mark.parametrize(
    ("activation", "batch", "growth"),
    [("linear", 8, 6 / 5), ("relu", 256, math.pi / (math.pi - 1))],
)
def test_batch_norm_gradient_explosion(activation, batch, growth):
    """Yang et al. 2019: (B-2)/(B-3) for linear nets, pi/(pi-1) for ReLU, B large."""
    depth = 12
    x = jax.ShapeDtypeStruct((batch, 512), jnp.float32)
    model = Deep(depth, 512, activation, 1.0, 0.0, batch_norm=True)
    report = measured(model, x, seeds=8)

    per_layer = np.log(report.backward["chi"][:, 2 : depth - 2]).mean(axis=1)
    slack = 4 * standard_error(per_layer) + 0.02
    assert abs(per_layer.mean() - math.log(growth)) < slack


def test_lecun_relu_halves():
    depth = 20
    x = jax.ShapeDtypeStruct((8, WIDTH), jnp.float32)
    report = jaxinit.analyze(
        Deep(depth, WIDTH, "relu", 1.0), x, seeds=16, progress=False
    )
    log2 = np.log2(report.forward["second_moment"])

    per_layer = (log2[:, -1] - log2[:, 0]) / (depth - 1)
    # Width n shifts the mean logarithm by -5/2n/ln 2 a layer.
    expected = -1 - 5 / (2 * WIDTH * math.log(2))
    assert abs(per_layer.mean() - expected) < 4 * standard_error(per_layer) + 0.005
    assert report.verdict == "vanishing"
    assert "he_normal" in str(report.findings[0].remedy)
