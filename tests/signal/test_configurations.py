"""Models, arguments and configurations of jax that real code brings along."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax.experimental import io_callback

import jaxinit
from jaxinit import Functional
from tests.processes import printed

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (16, 8))


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(8)(x))
        return nn.Dense(4)(x)


def linear(apply, shape=(8, 4), dtype=jnp.float32):
    """A model of one parameter ``w``."""
    return Functional(
        lambda key, *_: {"w": jax.random.normal(key, shape, dtype)}, apply
    )


def measured(model, *args, **kwargs):
    return jaxinit.analyze(model, *args, seeds=2, progress=False, **kwargs)


# Configurations.

SCOPES = {
    "x64": lambda: jax.enable_x64(True),
    "strict promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "debug_nans": lambda: jax.debug_nans(True),
    "transfer guard": lambda: jax.transfer_guard("disallow"),
    "leak checks": lambda: jax.checking_leaks(),
    "disable_jit": lambda: jax.disable_jit(),
}


@pytest.fixture(scope="module")
def plain():
    return measured(MLP(), X)


@pytest.mark.internals
@pytest.mark.parametrize("scope", SCOPES)
def test_a_configuration_changes_no_number(scope, plain):
    x = np.asarray(X)
    with SCOPES[scope]():
        report = measured(MLP(), x)

    assert report.layers == plain.layers
    for metric in ("second_moment", "var", "cos"):
        np.testing.assert_allclose(
            report.forward[metric], plain.forward[metric], rtol=1e-5
        )
    assert not any("No gradients" in note for note in report.notes)


@pytest.mark.internals
def test_a_float64_model_is_measured_in_float64():
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(16, 8))
        model = linear(lambda p, x: x @ p["w"], dtype=jnp.float64)
        report = measured(model, x)
        w = np.asarray(jaxinit.initialize(model, jaxinit.normal(1.0), 0, x)["w"])
        same = measured(model, x, scheme=jaxinit.normal(1.0))
    draws = w.dtype

    assert draws == np.float64
    assert report.rows[0].dtype == "float64"
    # A float32 record would be off by some 1e-8.
    q = same.forward["second_moment"][:, 0]
    chan = same.forward["chan_sq_mean"] + same.forward["chan_var"]
    np.testing.assert_allclose(q, chan[:, 0], rtol=1e-14)
    with jax.enable_x64(True):
        y = x @ np.asarray(
            jaxinit.initialize(model, jaxinit.normal(1.0), same.key(0), x)["w"]
        )
    np.testing.assert_allclose(q[0], np.mean(np.square(y)), rtol=1e-13)


# Keys among the arguments.


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x, key):
        h = nn.Dense(4)(x)
        return nn.Dense(8)(h + jax.random.normal(key, h.shape))


class NoisyNnx(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(8, 4, rngs=rngs)

    def __call__(self, x, rngs):
        h = self.dense(x)
        return h + jax.random.normal(rngs.noise(), h.shape)


@pytest.mark.internals
@pytest.mark.parametrize(
    ("key", "origin"),
    [
        (jax.random.key(3), "given"),
        (jax.random.PRNGKey(3), "given"),
        (jax.ShapeDtypeStruct((), jax.random.key(3).dtype), "drawn"),
    ],
)
def test_a_key_is_an_input_without_statistics(key, origin):
    report = measured(Noisy(), X, key)

    assert report.layers == ("Dense_0", "Dense_1")  # and no join with the noise
    assert any(f"random key, {origin}" in note for note in report.notes)
    assert report.settings["batch_size"] == 16


def test_many_keys_and_a_key_before_the_data():
    def apply(p, keys, x):
        return jax.vmap(lambda k, row: row @ p["w"] + jax.random.normal(k, (4,)))(
            keys, x
        )

    report = measured(linear(apply), jax.random.split(KEY, 16), X)

    assert report.layers == ("w",)
    assert report.settings["batch_size"] == 16


def test_rngs_of_nnx_as_an_argument():
    assert measured(lambda rngs: NoisyNnx(rngs), X, nnx.Rngs(0)).layers == ("dense",)


def test_an_argument_of_the_models_called_rngs():
    class Draws(nn.Module):
        @nn.compact
        def __call__(self, x, rngs):
            return nn.Dense(4)(x) + jax.random.normal(rngs, (16, 4))

    variables = jaxinit.initialize(Draws(), jaxinit.lsuv(), 0, X, rngs=KEY)

    assert variables["params"]["Dense_0"]["kernel"].shape == (8, 4)


def test_a_traced_input_is_refused_by_name():
    with pytest.raises(TypeError, match=r"`args\[0\]` must be an array.*outside of"):
        jax.jit(lambda x: measured(MLP(), x).forward["var"])(X)


# Programs.


@pytest.mark.internals
def test_a_constant_of_the_models_reaches_a_rule_as_an_array():
    @jax.custom_vjp
    def rule(v, c):
        return v * 1.0

    def backward(c, t):
        total = jax.lax.fori_loop(0, 3, lambda i, a: a + t * c[i], jnp.zeros_like(t))
        return total, jnp.zeros_like(c)

    rule.defvjp(lambda v, c: (v * 1.0, c), backward)
    weights = jnp.array([0.0, 1.0, 2.0])
    report = measured(
        linear(lambda p, x: rule(x @ p["w"], weights)), X, loss=lambda y: y.sum()
    )

    np.testing.assert_allclose(report.backward["grad_rms"], 3.0, rtol=1e-6)


def test_a_model_whose_inputs_reach_no_parameter():
    with pytest.raises(ValueError, match="no input of functional model reaches"):
        measured(linear(lambda p, x: p["w"] * 2), X)


@pytest.mark.internals
def test_complex_values_count_by_their_modulus():
    model = linear(lambda p, x: x @ p["w"] + (1 + 3j), (8, 64), jnp.complex64)
    report = measured(model, X, scheme=jaxinit.normal(1.0))
    w = jaxinit.initialize(model, jaxinit.normal(1.0), report.key(0), X)["w"]
    y = np.asarray(X, np.float64) @ np.asarray(w, np.complex128)
    found = {name: values[0, 0] for name, values in report.forward.items()}

    np.testing.assert_allclose(found["second_moment"], np.mean(abs(y) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found["var"], np.var(y), rtol=1e-5)
    np.testing.assert_allclose(found["mean"], abs(y.mean()), rtol=1e-4)
    np.testing.assert_allclose(found["absmax"], abs(y).max(), rtol=1e-6)
    norm = np.sqrt(np.sum(abs(np.asarray(w)) ** 2))
    np.testing.assert_allclose(report.weights["weight_norm"][0, 0], norm, rtol=1e-5)


def printing(p, x):
    h = x @ p["w"]
    jax.debug.print("")
    jax.debug.callback(lambda v: None, h.mean())
    io_callback(lambda v: None, None, h)
    return h


@pytest.mark.internals
def test_effects_without_results():
    assert measured(linear(printing), X).layers == ("w",)


# State among the variables.


def with_state(key, x):
    return {"w": jax.random.normal(key, (8, 4))}, {"mean": jnp.zeros(4)}


def test_state_that_comes_back_is_no_parameter():
    def apply(variables, x):
        params, state = variables
        h = x @ params["w"]
        return h - state["mean"], {"mean": h.mean(0)}

    assert measured(Functional(with_state, apply), X).params == ("0/w",)


def test_a_functional_says_what_is_trained():
    def apply(variables, x):
        return x @ variables[0]["w"] - variables[1]["mean"]

    model = Functional(with_state, apply, trained=lambda variables: variables[0])
    params, state = jaxinit.initialize(model, jaxinit.he_normal(), 0, X)

    assert measured(model, X).params == ("0/w",)
    assert measured(Functional(with_state, apply), X).params == ("0/w", "1/mean")
    assert params["w"].shape == (8, 4)
    np.testing.assert_array_equal(state["mean"], np.zeros(4))


def test_the_running_statistics_of_equinox_are_no_parameters():
    class Net(eqx.Module):
        dense: eqx.nn.Linear
        norm: eqx.nn.BatchNorm

        def __init__(self, key):
            self.dense = eqx.nn.Linear(8, 4, key=key)
            self.norm = eqx.nn.BatchNorm(4, axis_name="batch", mode="ema")

        def __call__(self, x, state):
            return self.norm(self.dense(x), state)

    def apply(variables, x):
        net, state = variables
        mapped = jax.vmap(net, (0, None), (0, None), axis_name="batch")
        return mapped(x, state)[0]

    model = Functional(lambda key, x: eqx.nn.make_with_state(Net)(key), apply)

    assert set(measured(model, X).params) == {
        *("0/dense/weight", "0/dense/bias"),
        *("0/norm/weight", "0/norm/bias"),
    }


# Several devices.


@pytest.mark.internals
def test_on_two_devices():
    assert printed(2, "-m", "tests.signal.two_devices").split() == [
        "shard_map",
        "constrained",
        "committed",
        "explicit",
        "mesh",
    ]
