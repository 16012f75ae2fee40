"""LSUV: unit variances after one pass, whatever the layers are in."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit as ji
from tests.roles.structures import function
from tests.zoo import ZOO

pytestmark = pytest.mark.internals

X = jax.random.normal(jax.random.key(1), (64, 16))


class MLP(nn.Module):
    depth: int = 4
    activation: str = "tanh"

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = getattr(nn, self.activation)(nn.Dense(32)(x))
        return nn.Dense(4)(x)


def variances(model, scheme, *args, **kwargs):
    """By row, the variance of its output under the scheme, as analyze measures it."""
    report = ji.analyze(model, *args, scheme=scheme, seeds=1, **kwargs)
    return {
        row.name: var
        for row, var in zip(report.rows, report.forward["var"][0], strict=True)
        if row.kind == "layer" and row.fan_in and row.operation != "gather"
    }


def layer_by_layer(model, variables, x):
    """The paper's loop: one forward pass for every layer, in NumPy."""
    params = {k: dict(v) for k, v in variables["params"].items()}
    h = np.asarray(x, np.float64)
    for name in sorted(params):
        kernel = np.asarray(params[name]["kernel"], np.float64)
        kernel = kernel / (h @ kernel).std()
        params[name]["kernel"] = kernel
        h = np.tanh(h @ kernel)
    return params


def test_equals_the_loop_over_layers():
    model = MLP()
    start = ji.initialize(model, ji.rules([("**/kernel", ji.orthogonal())]), 0, X)
    expected = layer_by_layer(model, start, X)
    drawn = ji.initialize(model, ji.lsuv(), 0, X)["params"]
    for name, folder in expected.items():
        assert np.allclose(drawn[name]["kernel"], folder["kernel"], rtol=2e-5), name
        assert np.all(drawn[name]["bias"] == 0)


def test_scaled_input_changes_the_first_layer_alone():
    one = ji.initialize(MLP(), ji.lsuv(), 0, X)["params"]
    ten = ji.initialize(MLP(), ji.lsuv(), 0, 10 * X)["params"]
    for name in one:
        factor = 0.1 if name == "Dense_0" else 1.0
        assert np.allclose(ten[name]["kernel"], factor * one[name]["kernel"], rtol=1e-4)


# Rows that no kernel of their own scales: a later use of a shared kernel, a table
# that is the readout as well, and what comes behind fresh random numbers.
NOT_ONE = {
    "three_calls": {"shared#2", "shared#3"},
    "gpt": {"wte#2"},
    "gpt_scanned": {"wte#2"},
}


@pytest.mark.parametrize(
    "name",
    [
        "convnet",
        "gpt_scanned",
        "mixture_of_experts",
        "lstm",
        "nnx_gru",
        "state_space",
        "three_calls",
        "shard_map",
        "while_loop",
        "equinox",
    ],
)
def test_every_layer_of_the_zoo(name):
    entry = ZOO[name]
    model = entry.make()
    model = ji.Functional(*model) if entry.kind == "functional" else model
    again = "the layer with shared/kernel is off where the kernel is used again"
    with pytest.warns(match=again) if name == "three_calls" else nullcontext():
        found = variances(model, ji.lsuv(), *entry.args(), **entry.kwargs)
    assert len(found) > 1 or name in ("while_loop", "shard_map")
    for row, variance in found.items():
        if row not in NOT_ONE.get(name, ()):
            assert variance == pytest.approx(1, abs=0.1), row


def test_a_kernel_that_is_used_again_is_named_where_it_is_off():
    def alike(p, x):
        return x @ p["w"] + jnp.flip(x, 0) @ p["w"]

    def halved(p, x):
        return alike(p, x), (x / 2) @ p["w"], x @ p["w"]

    ji.initialize(function({"w": (16, 16)}, alike), ji.lsuv(), 0, X)
    with pytest.warns(UserWarning, match="with w is off where the kernel is used"):
        ji.initialize(function({"w": (16, 16)}, halved), ji.lsuv(), 0, X)


def test_nnx():
    net = nnx.Sequential
    found = variances(
        lambda rngs: net(nnx.Linear(16, 32, rngs=rngs), nnx.Linear(32, 8, rngs=rngs)),
        ji.lsuv(),
        X,
    )
    assert list(found.values()) == pytest.approx([1, 1], abs=1e-3)


def test_behind_the_activation():
    report = ji.analyze(TappedMLP(), X, scheme=ji.lsuv(target="activation"), seeds=1)
    taps = [i for i, row in enumerate(report.rows) if row.kind == "tap"]
    assert len(taps) == 3
    assert report.forward["var"][0, taps] == pytest.approx(np.ones(3), abs=0.1)


class TappedMLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i in range(3):
            x = ji.tap(nn.silu(nn.Dense(32)(x)), f"behind {i}")
        return nn.Dense(4)(x)


def test_each_channel_is_centered_and_scaled():
    model = MLP(3, "relu")
    drawn = ji.initialize(model, ji.data_dependent(), 0, X)
    _, state = model.apply(drawn, X, capture_intermediates=True)
    for name in ("Dense_0", "Dense_1", "Dense_2", "Dense_3"):
        (out,) = state["intermediates"][name]["__call__"]
        assert np.allclose(out.mean(0), 0, atol=1e-5), name
        assert np.allclose(out.var(0), 1, atol=1e-4), name


def test_channels_of_a_scanned_transformer():
    entry = ZOO["gpt_scanned"]
    scheme = ji.data_dependent()
    report = ji.analyze(entry.make(), *entry.args(), scheme=scheme, seeds=1)
    rows = [i for i, row in enumerate(report.rows) if "/fc[" in row.name]
    assert len(rows) == 3
    assert report.forward["chan_var"][0, rows] == pytest.approx(np.ones(3), abs=1e-3)
    assert report.forward["chan_sq_mean"][0, rows] == pytest.approx(
        np.zeros(3), abs=1e-6
    )


class Flow(nn.Module):
    """Convolutions, each behind an ActNorm layer."""

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = ActNorm(name=f"norm_{i}")(x)
            x = nn.tanh(nn.Conv(6, (3, 3), name=f"conv_{i}")(x))
        return x


class ActNorm(nn.Module):
    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1:]
        gain = self.param("gain", nn.initializers.ones, channels)
        return gain * x + self.param("shift", nn.initializers.zeros, channels)


def test_act_norm_layers_normalize_the_first_batch():
    x = 3 + 2 * jax.random.normal(jax.random.key(2), (16, 8, 8, 4))
    own = Flow().init(jax.random.key(0), x)["params"]
    drawn = ji.initialize(Flow(), ji.act_norm(), 0, x)
    _, state = Flow().apply(drawn, x, capture_intermediates=True)
    for i in range(2):
        (out,) = state["intermediates"][f"norm_{i}"]["__call__"]
        assert np.allclose(out.mean((0, 1, 2)), 0, atol=1e-5)
        assert np.allclose(out.var((0, 1, 2)), 1, atol=1e-4)
        kernels = [p[f"conv_{i}"]["kernel"] for p in (own, drawn["params"])]
        assert np.allclose(*kernels)
    with pytest.raises(ValueError, match="has none"):
        ji.initialize(MLP(), ji.act_norm(), 0, X)


def test_weight_norm_is_scaled_by_its_gain():
    entry = ZOO["weight_norm"]
    (x,) = entry.args()
    report = ji.analyze(
        entry.make(), x, scheme=ji.data_dependent(), seeds=1, strategy="loop"
    )
    rows = [i for i, row in enumerate(report.rows) if row.fan_in]
    assert report.forward["chan_var"][0, rows] == pytest.approx(1, abs=1e-3)
    assert len(rows) > 1


def test_a_layer_that_does_not_vary_is_named_and_left():
    with pytest.warns(UserWarning, match="does not vary") as caught:
        drawn = ji.initialize(MLP(1), ji.lsuv(), 0, jnp.zeros((4, 16)))
    said = [str(warning.message) for warning in caught]
    assert len(said) == 2
    assert "Dense_0/kernel does not vary" in said[0]
    kernel = drawn["params"]["Dense_0"]["kernel"]
    assert np.allclose(kernel @ kernel.T, np.eye(16), atol=1e-5)


def test_what_a_rule_takes_is_left_alone():
    scheme = ji.override(ji.lsuv(), [("Dense_1/kernel", ji.constant(0.3))])
    drawn = ji.initialize(MLP(), scheme, 0, X)["params"]
    assert np.all(drawn["Dense_1"]["kernel"] == np.float32(0.3))
    found = variances(MLP(), scheme, X)
    assert found.pop("Dense_1") > 1.2
    assert list(found.values()) == pytest.approx([1, 1, 1, 1], abs=1e-3)


def test_a_bias_that_a_rule_takes_counts_in_the_variance():
    given = [("Dense_1/bias", ji.normal(0.5))]
    found = variances(MLP(), ji.override(ji.lsuv(), given), X)
    assert list(found.values()) == pytest.approx([1] * 5, abs=0.1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ji.lsuv(target="middle"), "`target` must be"),
        (lambda: ji.lsuv(tolerance=0), r"`tolerance` must be in \(0, inf\)"),
        (lambda: ji.data_dependent(max_iterations=-1), "`max_iterations` must be"),
    ],
)
def test_bad_options(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_models_without_what_is_needed():
    with pytest.raises(ValueError, match="finds none to scale"):
        ji.initialize(nn.LayerNorm(), ji.lsuv(), 0, X)
    bare = nn.Sequential([nn.Dense(8, use_bias=False), nn.relu, nn.Dense(2)])
    with pytest.raises(ValueError, match="no bias of 8 entries"):
        ji.initialize(bare, ji.data_dependent(), 0, X)


# What one pass cannot settle.


def test_kernels_without_size_are_named_and_the_next_layers_are_right():
    def standardized(w):
        return (w - w.mean(0)) / w.std(0)

    def apply(p, x):
        h = jnp.tanh(x @ standardized(p["a"]))
        h = h @ (p["b"] / jnp.linalg.norm(p["b"], 2))
        return h, h @ p["head"]

    model = function({"a": (8, 8), "b": (8, 8), "head": (8, 4)}, apply)
    x = jax.random.normal(jax.random.key(0), (64, 8))
    with pytest.warns(UserWarning, match="its scale has no effect") as caught:
        params = ji.initialize(model, ji.lsuv(), 0, x)
    named = [str(w.message).partition("layer with ")[2][:2] for w in caught]

    assert named == ["a ", "b "]
    assert abs(float(apply(params, x)[1].var()) - 1) < 1e-4


@pytest.mark.parametrize(
    "leak",
    [
        lambda p, h: jnp.where(h > 0, h, 0.1 * h),
        lambda p, h: jnp.where(h > 0, h, p["slope"] * h),
    ],
    ids=["fixed slope", "learned slope"],
)
def test_any_elementwise_function_is_an_activation(leak):
    def apply(p, x):
        h = leak(p, x @ p["w"])
        return h, h @ p["head"]

    model = function({"w": (8, 32), "slope": (), "head": (32, 4)}, apply)
    x = jax.random.normal(jax.random.key(0), (64, 8))
    params = ji.initialize(model, ji.lsuv(target="activation", tolerance=1e-3), 0, x)
    hidden, output = apply(params, x)

    assert abs(float(hidden.var()) - 1) < 1e-3
    assert abs(float(output.var()) - 1) < 1e-3


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (np.full((4, 8), np.nan), "got 32 NaN"),
        (np.full((4, 8), np.inf), "got 32 infinite"),
        (np.full((4, 8), 1e30), r"got 1e\+30"),
        (np.ones((0, 8)), r"got an empty array of shape \(0, 8\)"),
    ],
)
def test_data_that_scale_nothing_are_refused(data, got):
    model = function({"w": (8, 4)}, lambda p, x: x @ p["w"])
    with pytest.raises(ValueError, match=rf"`args\[0\]` must.*{got}"):
        ji.initialize(model, ji.lsuv(), 0, data.astype(np.float32))
