"""Greedy pre-training: what it reads off a model, and what it changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from sklearn.datasets import load_digits

from jaxinit import Functional
from jaxinit.schemes.initialize import initialize, prepare
from jaxinit.schemes.pretrain._elementwise import NotElementwise, elementwise
from jaxinit.schemes.pretrain._stack import dense_stack
from jaxinit.schemes.pretrain.denoising import (
    Autoencoder,
    denoising_autoencoder,
    reconstruction_error,
)
from jaxinit.schemes.pretrain.greedy_pretrain import greedy_pretrain
from jaxinit.schemes.pretrain.rbm import rbm
from jaxinit.schemes.rules import changed, override, rules

KEY = jax.random.key(0)
METHOD = denoising_autoencoder(epochs=1)


class MLP(nn.Module):
    features: tuple = (12, 6, 4)
    activation: object = jnp.tanh
    between: object = None

    @nn.compact
    def __call__(self, x):
        x = x.reshape(x.shape[0], -1) / 2
        for n in self.features[:-1]:
            x = self.activation(nn.Dense(n)(x))
            x = x if self.between is None else self.between(x)
        return nn.Dense(self.features[-1])(x)


@pytest.fixture(scope="module")
def digits():
    return jnp.asarray(load_digits().images[:300] / 16, jnp.float32)


def stack_of(model, x):
    network, _ = prepare(model, (x,), {}, ())
    return dense_stack(network)


def test_layers_see_what_the_model_gives_them(digits):
    x = digits[:20]
    model = MLP()
    stack = stack_of(model, x)
    variables = model.init(KEY, x)
    params = jax.tree.leaves(variables["params"])

    seen = [stack.data(layer, params, [], KEY, [x]) for layer in stack.layers]

    # 64 inputs and 12 outputs: the unit matrix takes six passes.
    p = variables["params"]
    expected = x.reshape(20, -1) / 2
    for layer, found in zip(stack.layers, seen, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        dense = p[layer.name]
        expected = jnp.tanh(expected @ dense["kernel"] + dense["bias"])


def torch_like():
    def init(key, x):
        del x
        return {
            "a": {"w": jax.random.normal(key, (7, 5)) / 3, "b": jnp.zeros(7)},
            "c": {"w": jax.random.normal(key, (3, 7)) / 3},
        }

    def apply(p, x):
        return jax.nn.softplus(x @ p["a"]["w"].T + p["a"]["b"]) @ p["c"]["w"].T

    return Functional(init, apply)


def nnx_mlp(rngs):
    return nnx.Sequential(
        nnx.Linear(5, 7, rngs=rngs), nnx.silu, nnx.Linear(7, 3, rngs=rngs)
    )


@pytest.mark.parametrize("model", [torch_like(), nnx_mlp])
def test_kernels_of_either_layout_are_trained_and_the_readout_is_not(model):
    x = jax.random.normal(KEY, (40, 5))

    before, after = (
        jax.tree.leaves(nnx.state(made) if model is nnx_mlp else made)
        for made in (
            initialize(model, rules([("**/*", changed(lambda w: w))]), 0, x),
            initialize(model, greedy_pretrain(METHOD), 0, x),
        )
    )

    for old, new in zip(before, after, strict=True):
        assert old.shape == new.shape
        changes = float(jnp.abs(old - new).max())
        assert (changes > 1e-6) == (7 in old.shape and 3 not in old.shape), old.shape


@pytest.mark.parametrize(
    "function",
    [
        jnp.tanh,
        jax.nn.relu,
        jax.nn.gelu,
        jax.nn.silu,
        jax.nn.softplus,
        jax.nn.elu,
        lambda x: jax.nn.leaky_relu(x, 0.3),
        jnp.sin,
    ],
)
def test_nonlinearity_is_the_models_own(function):
    stack = stack_of(MLP((5, 3), function), jnp.ones((4, 6)))
    hidden = stack.hidden(stack.layers[0])
    values = jnp.linspace(-4, 4, 21).reshape(7, 3)  # not the shape in the program

    np.testing.assert_allclose(hidden(values), function(values), rtol=1e-6, atol=1e-7)
    slope = jax.grad(lambda v: hidden(v).sum())(values + 0.01)
    expected = jax.grad(lambda v: function(v).sum())(values + 0.01)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)


def test_what_is_not_elementwise_is_refused():
    program, _ = jax_program(lambda x: x - x.mean())

    with pytest.raises(NotElementwise, match="`reduce_sum` does not work on each"):
        elementwise(program)(jnp.ones(3))


def jax_program(function):
    from jaxinit.program import versions

    return versions.trace(function, jnp.ones(5))


def test_every_layer_reconstructs_better_and_the_readout_stays(digits):
    method = denoising_autoencoder(epochs=60, batch_size=50)
    model = MLP((24, 12, 10))

    own = model.init(KEY, digits)["params"]
    found = initialize(model, greedy_pretrain(method), KEY, digits)["params"]

    np.testing.assert_array_equal(own["Dense_2"]["kernel"], found["Dense_2"]["kernel"])

    @jax.jit
    def error(w, b, data):
        code = jnp.tanh(data @ w + b)
        c = jnp.mean(data - code @ w.T, 0)  # the best visible bias
        coder = Autoencoder(w, b, c)
        return reconstruction_error(coder, data, data, jnp.tanh, "squared")

    data = digits.reshape(300, -1) / 2
    for name in ("Dense_0", "Dense_1"):
        errors = [
            error(params[name]["kernel"], params[name]["bias"], data)
            for params in (own, found)
        ]
        assert errors[1] < 0.7 * errors[0], (name, errors)
        data = jnp.tanh(data @ found[name]["kernel"] + found[name]["bias"])


def test_boltzmann_machines_stack_under_sigmoids_alone(digits):
    method = rbm(epochs=2)

    found = initialize(
        MLP((8, 4, 3), jax.nn.sigmoid), greedy_pretrain(method), 0, digits
    )["params"]

    # Two epochs from samples of 0.01.
    assert float(jnp.std(found["Dense_1"]["kernel"])) < 0.2
    assert float(jnp.abs(found["Dense_1"]["kernel"]).max()) > 0
    with pytest.raises(ValueError, match=r"logistic hidden units.*tanh to Dense_0"):
        initialize(MLP((8, 4, 3)), greedy_pretrain(method), 0, digits)


def test_same_under_jit_and_parameters_of_the_user_stay(digits):
    x = digits[:60]
    scheme = override(
        greedy_pretrain(METHOD, readout=True),
        [("Dense_1/kernel", changed(jnp.negative))],
    )

    eager = initialize(MLP(), scheme, 0, x)["params"]
    jitted = jax.jit(lambda key: initialize(MLP(), scheme, key, x))(KEY)["params"]

    own = MLP().init(KEY, x)["params"]
    np.testing.assert_array_equal(eager["Dense_1"]["kernel"], -own["Dense_1"]["kernel"])
    assert (
        float(jnp.abs(eager["Dense_2"]["kernel"] - own["Dense_2"]["kernel"]).max()) > 0
    )
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


class Conv(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(
            nn.relu(nn.Conv(4, (3, 3))(x[..., None])).reshape(len(x), -1)
        )


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4)(x.reshape(len(x), -1))
        return nn.Dense(3)(x + nn.relu(nn.Dense(4)(x)))


class TwoHeads(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(4)(x.reshape(len(x), -1)))
        return nn.Dense(3)(x), nn.Dense(3)(x)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.LayerNorm()(nn.Dense(4)(x.reshape(len(x), -1)))))


class Tied(nn.Module):
    @nn.compact
    def __call__(self, x):
        dense = nn.Dense(64)
        return dense(nn.relu(dense(x.reshape(len(x), -1))))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Conv(), r"Conv Conv_0 is no product with a kernel \(conv_general_dilated\)"),
        (Residual(), "Residual the model adds two paths"),
        (TwoHeads(), "Dense_2 is not fed by Dense_1 alone"),
        (Normed(), "LayerNorm_0 is no product with a kernel"),
        (Tied(), "shares its kernel with another layer"),
        (
            MLP(between=lambda x: x - x.mean()),
            "Dense_1 does not see an elementwise function of Dense_0",
        ),
        (MLP((4,)), "has one layer, Dense_0, its readout"),
    ],
)
def test_models_that_are_no_stack(model, message, digits):
    with pytest.raises(ValueError, match=message):
        initialize(model, greedy_pretrain(METHOD), 0, digits[:8])


def test_method_of_the_wrong_kind():
    with pytest.raises(TypeError, match="`method` must be denoising_autoencoder"):
        greedy_pretrain("rbm")
