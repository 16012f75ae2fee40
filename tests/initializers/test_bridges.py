"""Initializers in libraries that call them otherwise."""

import functools
import importlib
import math

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from jaxinit.initializers._activations import elementwise
from tests.initializers.checks import assert_moments, assert_orthogonal

KEY = jax.random.key(4)
STD = math.sqrt(2 / 400)


def test_haiku_draws_with_its_own_keys():
    @hk.transform
    def apply(x):
        w_init = ji.for_haiku(ji.he_normal())
        return hk.Linear(400, w_init=w_init)(hk.Linear(400, w_init=w_init)(x))

    params = apply.init(KEY, jnp.ones((1, 400)))

    first, second = params["linear"]["w"], params["linear_1"]["w"]
    assert_moments(first, mean=0.0, std=STD)
    assert (first != second).any()


def test_equinox_keeps_outputs_first():
    linear = eqx.nn.Linear(400, 80, key=KEY)

    drawn = ji.he_normal(-1, -2)(KEY, linear.weight.shape)
    linear = eqx.tree_at(lambda layer: layer.weight, linear, drawn)

    assert_moments(linear.weight, mean=0.0, std=STD)
    conv = ji.he_normal(1, 0)(KEY, (80, 100, 2, 2))
    assert_moments(conv, mean=0.0, std=STD)


def test_penzai_names_the_axes():
    from penzai import pz

    def he(key, *, input_axes, output_axes, dtype, **_):
        shape = (*input_axes.values(), *output_axes.values())
        return pz.nx.wrap(ji.he_normal()(key, shape, dtype), *input_axes, *output_axes)

    linear = pz.nn.Linear.from_config(
        "l", KEY, {"in": 400}, {"out": 80}, initializer=he
    )

    weights = linear.weights.value
    assert_moments(weights.unwrap("in", "out"), mean=0.0, std=STD)
    x = pz.nx.wrap(jnp.ones(400), "in")
    assert linear(x).named_shape == {"out": 80}


@pytest.fixture
def keras(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return importlib.import_module("keras")


def keras_model(keras, seed):
    dense = keras.layers.Dense
    return keras.Sequential(
        [
            keras.Input((400,)),
            dense(80, kernel_initializer=ji.for_keras(ji.he_normal(), seed)),
            dense(80, kernel_initializer=ji.for_keras(ji.scale(ji.orthogonal(), 2.0))),
        ]
    )


# Keras' own, with NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_draws_saves_and_loads(keras, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras_model(keras, seed=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(
        tmp_path / "model.keras", custom_objects=ji.keras_objects()
    )

    first, second = (layer.kernel.value for layer in model.layers)
    assert_moments(first, mean=0.0, std=STD)
    assert_orthogonal(second, scale=2.0)
    inits = [layer.kernel_initializer for layer in loaded.layers]
    assert [init.init for init in inits] == [
        ji.he_normal(),
        ji.scale(ji.orthogonal(), 2.0),
    ]
    np.testing.assert_array_equal(loaded.layers[0].kernel.value, first)
    # An initializer with a seed draws the same where it is built again.
    np.testing.assert_array_equal(keras_model(keras, 1).layers[0].kernel.value, first)
    assert (keras_model(keras, 2).layers[0].kernel.value != first).any()


def test_keras_trains_in_bfloat16_with_one(keras):
    init = ji.for_keras(ji.glorot_uniform(), seed=np.int64(3))
    layer = keras.layers.Dense(4, kernel_initializer=init, dtype="bfloat16")

    layer.build((None, 8))

    assert layer.kernel.value.dtype == jnp.bfloat16
    assert init.get_config()["seed"] == 3
    assert init.clone()((2, 2), "float32").dtype == jnp.float32


def test_keras_on_another_backend_is_refused(keras, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    ji.bridges._keras_class.cache_clear()

    with pytest.raises(RuntimeError, match=r"must run on JAX .* not on torch"):
        ji.for_keras(ji.zeros)


def test_every_elementwise_activation_of_keras_has_its_name_here(keras):
    theirs = keras.activations
    functions = {
        name: function
        for name, function in vars(theirs).items()
        if callable(function) and not name.startswith("_")
    }
    for name in ("get", "serialize", "deserialize", "threshold"):
        del functions[name]
    # As in jax, the default approximation and slope are others.
    functions["gelu"] = functools.partial(theirs.gelu, approximate=True)
    functions["leaky_relu"] = functools.partial(theirs.leaky_relu, negative_slope=0.01)
    x = jnp.linspace(-4, 4, 42)

    for name in ("softmax", "log_softmax", "sparsemax", "glu"):
        del functions[name]
        with pytest.raises(ValueError, match="`activation` must be one of"):
            ji.calculate_gain(name)
    for name, function in functions.items():
        ours = elementwise(name).function
        np.testing.assert_allclose(ours(x), function(x), atol=1e-5, err_msg=name)
    ours = elementwise("threshold", 0.5).function
    np.testing.assert_array_equal(ours(x), theirs.threshold(x, 0.5, 0.0))


def test_a_tree_of_initializers_is_mapped_by_is_leaf():
    inits = {"w": ji.he_normal(), "b": ji.zeros}

    drawn = jax.tree.map(lambda init: init(KEY, (4, 8)), inits, is_leaf=callable)

    assert {name: x.shape for name, x in drawn.items()} == {"w": (4, 8), "b": (4, 8)}


@pytest.mark.parametrize(
    "init",
    [
        ji.he_normal(dtype=jnp.bfloat16, groups=2),
        ji.stacked(ji.scale(ji.orthogonal(1.5), 0.5), (0, 1)),
        ji.blocked([ji.normal(0.5), ji.zeros], sizes=[1, 2]),
        ji.embedding("gpt2", padding_index=0),
        ji.masked(ji.from_array([[1, 2]]), np.array([True, False])),
        ji.constant(np.float32([0.5, 2.0])),
    ],
)
def test_configurations_give_equal_ones_back(init):
    assert ji.from_config(ji.to_config(init)) == init


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="`init` must be an initializer"):
        ji.for_haiku(3)
    with pytest.raises(TypeError, match="`init` must be an initializer of jaxinit"):
        ji.for_keras(jax.nn.initializers.zeros)
    with pytest.raises(TypeError, match=r"`seed` must be an integer, got 1\.5"):
        ji.for_keras(ji.zeros, seed=1.5)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="`seed` must be"):
            ji.for_keras(ji.zeros, seed=seed)
    with pytest.raises(TypeError, match="`array` of the initializer cannot be written"):
        ji.to_config(ji.from_array(jnp.ones(2)))
    for arguments in ({"stdev": 1.0}, [1.0], None):
        with pytest.raises(ValueError, match="`config` must hold the arguments of nor"):
            ji.from_config({"jaxinit": "normal", "arguments": arguments})
    for config in ({"jaxinit": "os"}, {}, None, {"jaxinit": "fans", "arguments": {}}):
        with pytest.raises(ValueError, match="`config`"):
            ji.from_config(config)
