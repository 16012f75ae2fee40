"""Which functions squash is read off the program; their slopes are the exact ones."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit.moments.functions import find_functions, shape_of
from jaxinit.schemes.initialize import prepare
from jaxinit.verdict.evidence import curves

X = jax.random.normal(jax.random.key(7), (32, 16))


def model(function, scale=0.25):
    """A function between two products."""

    def init(key, x):
        one, two = jax.random.split(key)
        return {
            "a": scale * jax.random.normal(one, (16, 32), x.dtype),
            "b": jax.random.normal(two, (32, 5), x.dtype) / 6,
        }

    return jaxinit.Functional(init, lambda p, x: function(x @ p["a"]) @ p["b"])


def shapes(function, dtype=jnp.float32):
    given = (jax.ShapeDtypeStruct((32, 16), dtype),)
    network, _ = prepare(model(function), given, {}, ())
    return [shape_of(f) for f in find_functions(network.anchors.flow)]


# Half of the range over the largest slope.
WIDTHS = {
    "tanh": (jnp.tanh, 1.0),
    "scaled tanh": (lambda x: 1.7159 * jnp.tanh(2 * x / 3), 1.5),
    "logistic": (jax.nn.sigmoid, 2.0),
    "logistic by hand": (lambda x: 1 / (1 + jnp.exp(-x)), 2.0),
    "hard_tanh": (jax.nn.hard_tanh, 1.0),
    "hard_sigmoid": (jax.nn.hard_sigmoid, 3.0),
    "relu6": (jax.nn.relu6, 3.0),
    "soft_sign": (jax.nn.soft_sign, 1.0),
    "erf": (jax.scipy.special.erf, math.sqrt(math.pi) / 2),
    "arctan": (jnp.arctan, math.pi / 2),
    "x / sqrt(1 + x^2)": (lambda x: x / jnp.sqrt(1 + x * x), 1.0),
    "narrow": (lambda x: jax.nn.soft_sign(20 * x - 3), 0.05),
    "bell": (lambda x: jnp.exp(-x * x), math.sqrt(math.e / 8)),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_bounded_functions_squash(name):
    function, width = WIDTHS[name]
    (shape,) = shapes(function)

    # soft_sign has come within 1/1000 of its ends where it is looked at.
    assert shape.width == pytest.approx(width, rel=2e-3)
    assert shape.rectifies == (name == "relu6")


def test_what_normal_arguments_of_the_same_width_give():
    (tanh,), (hard,) = shapes(jnp.tanh), shapes(jax.nn.hard_sigmoid, jnp.bfloat16)
    (erf,) = shapes(jax.scipy.special.erf)

    z, w = np.polynomial.hermite_e.hermegauss(80)
    assert tanh.usual == pytest.approx(w @ (1 - np.tanh(z) ** 2) ** 2 / w.sum(), 1e-3)
    # P(|z| < 1), and E exp(-4 v z^2 / 2) with v = pi / 4.
    assert hard.usual == pytest.approx(math.erf(math.sqrt(0.5)), abs=5e-3)
    assert erf.usual == pytest.approx(1 / math.sqrt(1 + math.pi), rel=1e-3)


def _straight_through(x):
    return x + jax.lax.stop_gradient(jnp.sign(x) - x)


@pytest.mark.parametrize(
    "function",
    [
        *(jax.nn.relu, jax.nn.gelu, jax.nn.silu, jax.nn.elu, jax.nn.selu, jax.nn.celu),
        *(jax.nn.softplus, jax.nn.log_sigmoid, jax.nn.hard_silu, jax.nn.mish),
        *(jnp.sin, lambda x: jnp.sin(30 * x), lambda x: x + jnp.sin(x) ** 2),
        lambda x: jnp.sign(x) * jnp.log1p(jnp.abs(x)),
        lambda x: x - jnp.tanh(x),
        lambda x: jnp.round(8 * jnp.clip(x, -1, 1)) / 8,
        lambda x: jnp.where(x > 0, 1.0, 0.0) + 0 * x,
        lambda x: jnp.clip(x, -448, 448),
        _straight_through,
    ],
)
def test_functions_that_grow_turn_or_jump_do_not(function):
    assert set(shapes(function)) <= {None}


def test_a_learned_factor_is_no_part_of_a_function():
    found = jaxinit.Functional(
        lambda key, x: {"a": jnp.ones((16, 4)), "s": jnp.ones(4)},
        lambda p, x: jnp.arctan(p["s"] * (x @ p["a"])),
    )
    network, _ = prepare(found, (X,), {}, ())
    (function,) = find_functions(network.anchors.flow)

    assert [node.primitive for node in function.nodes] == ["atan"]


def _slope_of_soft_sign(z):
    return 1 / (1 + np.abs(z)) ** 2


def _slope_of_relu6(z):
    return np.where(z > 0, (z < 6).astype(float), np.nan)  # its zero half is left out


@pytest.mark.parametrize(
    ("function", "slope", "scale", "flat"),
    [
        (jax.nn.soft_sign, _slope_of_soft_sign, 0.25, False),
        (jax.nn.soft_sign, _slope_of_soft_sign, 3.0, True),
        (jax.nn.relu6, _slope_of_relu6, 1.0, False),
        (jax.nn.relu6, _slope_of_relu6, 10.0, True),
    ],
)
def test_slopes_are_those_of_the_measured_arguments(function, slope, scale, flat):
    net = model(function, scale)
    report = jaxinit.analyze(net, X, seeds=2, progress=False, remedies="none")

    (curve,) = curves(report, "squashing")
    each = []
    for seed in range(2):
        p = net.init(jax.random.fold_in(jax.random.key(0), seed), X)
        z = np.asarray(X, np.float64) @ np.asarray(p["a"], np.float64)
        each.append(np.nanmean(slope(z) ** 2))
    assert curve["slope"] == pytest.approx(np.mean(each), rel=1e-4)
    kinds = {f.kind for f in report.findings}
    assert ("saturated" in kinds) == flat, report.findings


@pytest.mark.parametrize(
    ("bias", "scale", "kind"), [(-4, 1, "ok"), (0, 40, "saturated")]
)
def test_gates_may_be_closed_but_not_at_random(bias, scale, kind):
    def gated(h):
        gate = jax.nn.hard_sigmoid(scale * h[:, 16:] + bias)
        return jnp.tile(2 * h[:, :16] * gate, 2)

    report = jaxinit.analyze(model(gated), X, seeds=4, progress=False, remedies="none")

    (curve,) = curves(report, "squashing")
    assert curve["gate"]
    assert kind in {f.kind for f in report.findings}, report.findings
