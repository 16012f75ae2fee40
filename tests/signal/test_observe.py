"""`observe` inside a training step: what `analyze` says, and nothing else changed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit
from jaxinit.signal.metrics import METRICS
from tests.signal.test_against_numpy import Transformer, loss

pytestmark = pytest.mark.internals

TOKENS = jax.random.randint(jax.random.key(0), (2, 7), 0, 11)
X = jax.random.normal(jax.random.key(1), (16, 5))
Y = jnp.sin(X[:, :1])


class Net(nn.Module):
    """Everything that a step may change besides parameters, and what draws keys."""

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.relu(nn.Dense(8)(x))
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = x + nn.Dropout(0.3, deterministic=not train)(nn.tanh(nn.Dense(8)(x)))
        return nn.Dense(1)(x)


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(5, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.last = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))


def close(found, expected, atol=1e-6):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-5, atol=atol)


@pytest.fixture(scope="module")
def transformer():
    """A scanned, rematerialized model, the report on it, and its weights."""
    model = Transformer()
    report = jaxinit.analyze(model, TOKENS, seeds=1, loss=loss, judge=False)
    return model, report, model.init(report.key(0), TOKENS)


def test_forward_statistics_are_those_of_the_report(transformer):
    model, report, variables = transformer
    observed = jax.jit(jaxinit.observe(model, metrics=tuple(METRICS)))
    output, statistics = observed(variables, TOKENS)

    assert (output == jax.jit(model.apply)(variables, TOKENS)).all()
    assert statistics.rows == report.layers
    for name, values in report.forward.items():
        close(statistics.forward[name], values[0])
    names = statistics.scalars("init")
    assert {n for n in names if n.split("/")[1] in report.forward} == {
        n for n in report.scalars() if n.split("/")[1] in report.forward
    }


def test_value_gradients_and_their_statistics_come_in_one_pass(transformer):
    model, report, variables = transformer

    def objective(params, x):
        return loss(model.apply({"params": params}, x))

    params = variables["params"]
    value, grads, statistics = jax.jit(jaxinit.observe_grad(objective))(params, TOKENS)
    plain_value, plain_grads = jax.jit(jax.value_and_grad(objective))(params, TOKENS)

    assert value == plain_value
    jax.tree.map(np.testing.assert_array_equal, grads, plain_grads)
    rows = [statistics.rows.index(name) for name in report.layers]
    close(
        statistics.backward["grad_rms"][np.array(rows)], report.backward["grad_rms"][0]
    )
    assert statistics.params == report.params
    for name, values in report.weights.items():
        close(statistics.weights[name], values[0])


def test_time_steps_are_pooled_as_in_the_report():
    model = nn.RNN(nn.SimpleCell(4))
    x = jax.random.normal(jax.random.key(2), (3, 6, 2))
    report = jaxinit.analyze(model, x, seeds=1, judge=False)
    metrics = ("mean", "rms", "absmax", "cos")
    observed = jax.jit(jaxinit.observe(model, metrics=metrics))
    _, statistics = observed(model.init(report.key(0), x), x)

    for name in metrics:
        close(statistics.forward[name], report.forward[name][0])


def trained(step, steps=4):
    """Parameters, statistics of BatchNorm and losses after a few steps of Adam."""
    variables = Net().init(jax.random.key(0), X)
    optimizer = optax.adam(0.1)
    state = (variables["params"], variables["batch_stats"])
    moments = optimizer.init(state[0])
    losses = []

    @jax.jit
    def run(params, stats, moments, number):
        key = jax.random.fold_in(jax.random.key(3), number)
        value, stats, grads = step(params, stats, key, number)
        updates, moments = optimizer.update(grads, moments)
        return optax.apply_updates(params, updates), stats, moments, value

    for number in range(steps):
        *state, moments, value = run(*state, moments, number)
        losses.append(value)
    return state, losses


def objective(apply, params, stats, key, x):
    prediction, changed = apply(
        {"params": params, "batch_stats": stats},
        x,
        rngs={"dropout": key},
        mutable=["batch_stats"],
    )
    return jnp.mean((prediction - Y) ** 2), changed["batch_stats"]


def plain(params, stats, key, number):
    del number
    (value, stats), grads = jax.value_and_grad(
        lambda p: objective(Net().apply, p, stats, key, X), has_aux=True
    )(params)
    return value, stats, grads


def with_observe(params, stats, key, number):
    seen = jaxinit.observe(Net(), every=2)

    def run(params):
        kept = []

        def apply(*args, **kwargs):
            output, statistics = seen(*args, step=number, **kwargs)
            kept.append(statistics)
            return output

        value, stats_ = objective(apply, params, stats, key, X)
        return value, (stats_, kept[0])

    (value, (stats, statistics)), grads = jax.value_and_grad(run, has_aux=True)(params)
    jax.debug.callback(SEEN.append, statistics.forward["rms"])
    return value, stats, grads


def with_observe_grad(params, stats, key, number):
    step = jaxinit.observe_grad(
        lambda p, s, k, x: objective(Net().apply, p, s, k, x), has_aux=True, every=2
    )
    (value, stats), grads, statistics = step(params, stats, key, X, step=number)
    jax.debug.callback(SEEN.append, statistics.backward["grad_rms"])
    return value, stats, grads


SEEN: list[np.ndarray] = []


@pytest.fixture(scope="module")
def plainly():
    return trained(plain)


@pytest.mark.parametrize("step", [with_observe, with_observe_grad])
def test_training_is_the_same_bit_for_bit(step, plainly):
    SEEN.clear()
    found = trained(step)
    jax.effects_barrier()

    jax.tree.map(np.testing.assert_array_equal, found, plainly)
    measured = [not np.isnan(values).all() for values in SEEN]
    assert measured == [True, False, True, False]


def nnx_trained(observed):
    """An nnx module and its optimizer after three steps."""
    model = NnxNet(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param)

    def objective(model, x, y):
        return jnp.mean((model(x) - y) ** 2)

    @nnx.jit
    def step(model, optimizer):
        if observed:
            _, grads, statistics = jaxinit.observe_grad(objective)(model, X, Y)
        else:
            _, grads = nnx.value_and_grad(objective)(model, X, Y)
            statistics = None
        optimizer.update(model, grads)
        return statistics

    for _ in range(3):
        statistics = step(model, optimizer)
    return nnx.state(model), statistics


def test_an_nnx_module_trains_the_same_with_its_state():
    state, statistics = nnx_trained(True)
    expected, _ = nnx_trained(False)

    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for found, wanted in zip(
        jax.tree.leaves(state), jax.tree.leaves(expected), strict=True
    ):
        if jnp.issubdtype(found.dtype, jax.dtypes.prng_key):
            found, wanted = map(jax.random.key_data, (found, wanted))
        np.testing.assert_array_equal(found, wanted)
    assert {"first", "norm", "last"} <= set(statistics.rows)
    assert set(statistics.params) == {
        f"{module}/{leaf}"
        for module, leaf in (
            *(("first", "kernel"), ("first", "bias"), ("norm", "scale")),
            *(("norm", "bias"), ("last", "kernel"), ("last", "bias")),
        )
    }


def test_an_nnx_module_is_observed_as_it_is_called():
    model, same = NnxNet(nnx.Rngs(0)), NnxNet(nnx.Rngs(0))
    output, statistics = jaxinit.observe(model, rows="first")(model, X)

    np.testing.assert_array_equal(output, same(X))
    np.testing.assert_array_equal(model.norm.mean[...], same.norm.mean[...])
    assert model.drop.rngs.count[...] == same.drop.rngs.count[...] == 1
    close(statistics.forward["rms"], [jnp.sqrt(jnp.mean(same.first(X) ** 2))])


FUNCTIONAL = jaxinit.Functional(
    lambda key, x: {"w": jax.random.normal(key, (x.shape[-1], 3)), "steps": 0},
    lambda variables, x: jax.nn.relu(x @ variables["w"]),
)


def test_what_is_not_asked_for_is_not_computed():
    variables = FUNCTIONAL.init(jax.random.key(0), X)
    observed = jaxinit.observe(FUNCTIONAL, metrics=["absmax"])
    text = str(jax.make_jaxpr(lambda v: observed(v, X))(variables))
    _, statistics = observed(variables, X)

    # The one and the other end of the values, then the largest of the channels.
    assert sorted(re.findall(r"reduce_\w+", text)) == [
        *["reduce_max"] * 2,
        "reduce_min",
    ]
    assert list(statistics.scalars()) == ["absmax/w"]
    close(statistics.forward["absmax"], [jnp.abs(X @ variables["w"]).max()])


def test_it_maps_scans_and_differentiates_like_the_model():
    observed = jaxinit.observe(FUNCTIONAL, metrics=["rms", "dead"])
    many = jnp.stack([FUNCTIONAL.init(jax.random.key(i), X)["w"] for i in range(3)])

    def run(w):
        output, statistics = observed({"w": w}, X)
        return jnp.sum(output**2), statistics

    (_, statistics), grads = jax.vmap(jax.value_and_grad(run, has_aux=True))(many)
    _, (_, stacked) = jax.lax.scan(lambda c, w: (c, run(w)), 0, many)

    expected = jnp.sqrt(jnp.mean(jnp.square(X @ many), axis=(1, 2)))
    close(statistics.forward["rms"][:, 0], expected)
    close(stacked.forward["rms"][:, 0], expected)
    square = jax.grad(lambda w: jnp.sum(FUNCTIONAL.apply({"w": w}, X) ** 2))
    close(grads, jax.vmap(square)(many))
    with pytest.raises(ValueError, match=r"shape \(3, 1\)"):
        statistics.scalars()
    last = jax.tree.map(lambda x: x[-1], statistics)
    assert last.scalars("train")["train/rms/w"] == pytest.approx(float(expected[-1]))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"metrics": ["rsm"]}, ValueError, "'rsm'.*Allowed are mean, var"),
        ({"metrics": "rms"}, TypeError, "`metrics` must hold names"),
        ({"rows": [3]}, TypeError, "`rows` must hold names"),
        ({"every": 0}, ValueError, "`every` must be 1 or more, got 0"),
        ({"every": 0.5}, TypeError, "`every` must be an integer or None"),
        ({"rows": "head"}, ValueError, "`rows` holds 'head'.*begin with 'w'"),
        ({"every": 3}, TypeError, "`step` must be given"),
    ],
)
def test_what_is_refused_names_the_argument(given, error, text):
    with pytest.raises(error, match=text):
        jaxinit.observe(FUNCTIONAL, **given)(FUNCTIONAL.init(jax.random.key(0), X), X)


def test_a_loss_that_is_no_scalar_is_refused():
    with pytest.raises(TypeError, match=r"floating-point scalar, got float32\[16, 3\]"):
        jaxinit.observe_grad(FUNCTIONAL.apply)(FUNCTIONAL.init(jax.random.key(0), X), X)
    with pytest.raises(ValueError, match="not by closing over"):
        jaxinit.observe_grad(lambda w: jnp.sum(X @ w))(jnp.ones((5, 3)))
    with pytest.raises(TypeError, match="`model` must be a flax"):
        jaxinit.observe(3)
