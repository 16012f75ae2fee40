"""Biases that a model's own init sets off 0, and the schemes that would zero them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxinit
from jaxinit.draw.one_sided import one_sided
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from jaxinit.schemes._norms_and_biases import norms_and_biases
from jaxinit.schemes.initialize import prepare

X = jnp.ones((4, 8))


def inverse_softplus_of_steps(key, shape, dtype=jnp.float32):
    """Of steps of 0.001 to 0.1, as a selective state-space model's."""
    low, high = np.log(1e-3), np.log(0.1)
    steps = jnp.exp(jax.random.uniform(key, shape, dtype, low, high))
    return steps + jnp.log(-jnp.expm1(-steps))


def eagerly(key, shape, dtype=jnp.float32):
    return -1.0 - abs(float(jax.random.normal(key))) * jnp.ones(shape, dtype)


BIASES = {
    "zeros": (jax.nn.initializers.zeros, False),
    "uniform": (jax.nn.initializers.uniform(1.0), True),
    "around 0": (lambda k, s, d: jax.random.uniform(k, s, d, -1, 1), False),
    "ones": (jax.nn.initializers.ones, True),
    "some ones": (lambda k, s, d: jnp.arange(s[0]) % 2 * jnp.ones(s, d), False),
    "steps": (inverse_softplus_of_steps, True),
    "rare class": (jax.nn.initializers.constant(-4.6), True),
    "eager": (eagerly, True),
}


class Net(nnx.Module):
    """A layer of width 1, whose bias is a single number, and a softplus behind it."""

    def __init__(self, init, rngs, width=1):
        self.fc = nnx.Linear(8, width, bias_init=init, rngs=rngs)
        self.out = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(x * jax.nn.softplus(self.fc(x)).mean(-1, keepdims=True))


@pytest.mark.parametrize(
    ("name", "impl"), [*((name, None) for name in BIASES), ("steps", "rbg")]
)
def test_biases_on_one_side_of_zero_are_told(name, impl):
    init, expected = BIASES[name]
    given = arguments((X,), {})

    def model(rngs):
        return nnx.Linear(8, 1 + (name == "some ones"), bias_init=init, rngs=rngs)

    traced = trace(model, given, impl=impl)
    leaf = traced.params.index(("bias",))

    assert one_sided(traced, [leaf], given.shapes) == ({leaf} if expected else set())


@pytest.mark.parametrize("name", ["around 0", "steps"])
def test_they_are_told_under_jit(name):
    found = []

    @jax.jit
    def run(x):
        given = arguments((jax.ShapeDtypeStruct(X.shape, X.dtype),), {})
        init, _ = BIASES[name]
        traced = trace(lambda rngs: nnx.Linear(8, 2, bias_init=init, rngs=rngs), given)
        leaf = traced.params.index(("bias",))
        found.append(one_sided(traced, [leaf], given.shapes) == {leaf})
        return x

    run(X)
    assert found == [BIASES[name][1]]


def softplus_layer(rngs):
    return Net(inverse_softplus_of_steps, rngs, width=8)


def test_transformers_keep_them_too():
    network, _ = prepare(softplus_layer, (X,), {}, ())
    taken = {network.params[a.leaf].name for a in norms_and_biases(network)}

    assert taken == {"out/bias"}


def test_a_scheme_leaves_them_and_says_so():
    explained = jaxinit.explain(softplus_layer, jaxinit.autoinit(), X)
    found = {row.name: row for row in explained.rows}

    assert found["fc/bias"].law == ""
    assert found["fc/bias"].kept == "a bias, not 0 on purpose"
    assert found["fc/bias"].std > 0.1
    assert found["out/bias"].law == "zeros"


def test_a_bias_of_its_own_is_counted():
    model = jaxinit.Functional(
        lambda key, x: {"w": x[:1].T, "b": jnp.full(1, 3.0), "v": jnp.ones((1, 64))},
        lambda p, x: (x @ p["w"] + p["b"]) @ p["v"],
    )
    rows = {r.name: r for r in jaxinit.explain(model, jaxinit.autoinit(), X).rows}

    # The first layer's output has mean 3 and variance 1, so a mean square of 10.
    assert rows["b"].law == ""
    assert rows["v"].std == pytest.approx(10**-0.5, rel=0.35)
