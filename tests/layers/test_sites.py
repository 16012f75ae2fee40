"""Layers, joins and fans, read off the programs of real models."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import jaxinit
from jaxinit.layers.find import find_sites
from jaxinit.layers.names import row_names
from jaxinit.models.arguments import arguments
from jaxinit.models.trace import trace
from tests.layers.zoo_analysis import case
from tests.zoo import ZOO

pytestmark = pytest.mark.internals


def read(model, *args, **kwargs):
    """Events by name."""
    traced = trace(model, arguments(args, kwargs))
    sites = find_sites(
        traced.forward,
        traced.param_positions,
        traced.input_positions,
        [parts[:-1] for parts in traced.params],
    )
    names = row_names(sites, traced.params)
    return dict(zip(names, sites.events, strict=True)), sites, names


@pytest.mark.parametrize("name", [n for n, entry in ZOO.items() if entry.folders])
def test_layers_are_the_folders_in_the_order_of_data(name):
    found = case(name)
    layers = [
        row.split("#")[0]
        for row, event in zip(found.names, found.sites.events, strict=True)
        if event.kind == "layer"
    ]

    assert tuple(dict.fromkeys(layers)) == ZOO[name].folders


@pytest.mark.parametrize("name", list(ZOO))
def test_every_parameter_is_in_a_layer_or_unreached(name):
    found = case(name)
    in_layers = {leaf for event in found.sites.events for leaf in event.params}
    everything = set(range(len(found.traced.params)))

    assert in_layers | set(found.sites.unreached) == everything
    assert not in_layers & set(found.sites.unreached)
    assert len(set(found.names)) == len(found.names)


class Unused(nn.Module):
    @nn.compact
    def __call__(self, x):
        nn.Dense(3, name="thrown_away")(x)
        return nn.Dense(2, name="used")(x)


def test_a_module_without_effect_is_unreached():
    events, sites, _ = read(Unused(), jnp.ones((2, 4)))

    assert list(events) == ["used"]
    assert len(sites.unreached) == 2


FANS = [
    (lambda: nn.Dense(24), (2, 16), (16, 24)),
    (lambda: nn.Conv(8, (3, 3)), (2, 6, 6, 4), (36, 72)),
    (lambda: nn.Conv(8, (3, 3), feature_group_count=4), (2, 6, 6, 8), (18, 18)),
    (lambda: nn.Conv(8, (3, 3), feature_group_count=8), (2, 6, 6, 8), (9, 9)),
    (lambda: nn.ConvTranspose(8, (2, 2)), (2, 6, 6, 4), (16, 32)),
    (lambda: nn.DenseGeneral((2, 12)), (2, 16), (16, 24)),
    (lambda: nn.DenseGeneral(24, axis=(-2, -1)), (2, 4, 8), (32, 24)),
    (lambda: nn.DenseGeneral(6, batch_dims=(0,)), (2, 16), (16, 6)),
    (lambda: nn.Einsum((4, 6, 8), "btd,dnh->btnh"), (2, 3, 4), (4, 48)),
]


@pytest.mark.parametrize(("make", "shape", "fans"), FANS)
def test_fans_come_from_the_equation(make, shape, fans):
    events, *_ = read(make(), jnp.ones(shape))
    (event,) = [e for e in events.values() if e.kind == "layer"]

    assert (event.uses[0].fan_in, event.uses[0].fan_out) == fans


def test_axes_of_an_attention_kernel():
    model = nn.MultiHeadDotProductAttention(4, qkv_features=8)
    events, *_ = read(model, jnp.ones((2, 3, 6)))

    query, out = events["query"].uses[0], events["out"].uses[0]
    assert (query.in_axis, query.out_axis, query.batch_axis) == ((0,), (1, 2), ())
    assert (out.in_axis, out.out_axis, out.batch_axis) == ((0, 1), (2,), ())
    assert (query.fan_in, out.fan_in) == (6, 8)
    assert events["query"].channels == (2, 3)


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="enter")(x)
        h = nn.relu(nn.Dense(8, name="up")(nn.LayerNorm(name="norm")(x)))
        x = x + nn.Dense(8, name="down")(h)
        shortcut = nn.Dense(4, name="shortcut")(x)
        h = nn.Dense(4, name="second")(nn.relu(nn.Dense(4, name="first")(x)))
        return shortcut + h


def test_gates_of_kernels_side_by_side_are_named_apart():
    *_, names = read(ZOO["lstm"].make(), *ZOO["lstm"].args())

    assert [name for name in names if name.endswith("+")] == [
        *(f"OptimizedLSTMCell_0/i{gate}+" for gate in "ifgo"),
        "OptimizedLSTMCell_0/if++",
    ]


def test_joins_tell_skip_from_branch():
    events, sites, names = read(Residual(), jnp.ones((2, 8)))
    of = dict(zip(sites.numbers, names, strict=True))

    def named(numbers):
        return {of[number] for number in numbers}

    joins = {name: e for name, e in events.items() if e.kind == "join"}
    assert set(joins) == {"down+", "second+"}
    assert named(joins["down+"].skip) == {"enter"}
    assert named(joins["down+"].branch) == {"down"}
    assert named(joins["second+"].skip) == {"shortcut"}
    assert named(joins["second+"].branch) == {"second"}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (nn.relu, "relu"),
        (jnp.tanh, "tanh"),
        (nn.gelu, "gelu"),
        (lambda x: nn.gelu(x, approximate=False), "gelu"),
        (nn.silu, "silu"),
        (nn.sigmoid, "sigmoid"),
        (nn.elu, "elu"),
        (nn.leaky_relu, "leaky_relu"),
        (nn.softplus, "softplus"),
        (lambda x: nn.relu(x).mean(-1, keepdims=True), "relu"),
        (lambda x: x, None),
        (nn.softmax, None),
        (lambda x: 2 * x + 1, None),
    ],
)
def test_activations_are_recognized(function, name):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(function(nn.Dense(8)(x)))

    report = jaxinit.analyze(Model(), jnp.ones((2, 4)), seeds=1, progress=False)

    assert report.rows[0].activation == name


class Tapped(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        logits = jaxinit.tap(x @ x.T, "logits")
        return nn.Dense(2)(nn.softmax(logits) @ x)


def test_a_tap_is_a_row_and_changes_nothing():
    x = jax.random.normal(jax.random.key(0), (3, 4))
    report = jaxinit.analyze(Tapped(), x, seeds=1, progress=False)
    params = Tapped().init(report.key(0), x)["params"]
    hidden = x @ params["Dense_0"]["kernel"]

    assert report.layers == ("Dense_0", "logits", "Dense_1")
    assert report.kinds == ("layer", "tap", "layer")
    assert report.forward["second_moment"][0, 1] == pytest.approx(
        float(jnp.mean((hidden @ hidden.T) ** 2)), rel=1e-5
    )


def test_a_tap_that_no_input_reaches_is_noted():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x) + jaxinit.tap(jnp.ones(2), "constant")

    report = jaxinit.analyze(Model(), jnp.ones((2, 4)), seeds=1, progress=False)

    assert report.layers == ("Dense_0",)
    assert any("no input reaches" in n and "constant" in n for n in report.notes)


def test_scanned_layers_are_rows_and_recurrent_ones_have_profiles():
    class Cell(nn.Module):
        @nn.compact
        def __call__(self, carry, x):
            carry = jnp.tanh(nn.Dense(4)(x) + nn.Dense(4, name="recurrent")(carry))
            return carry, carry

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            over_time = nn.scan(
                Cell,
                variable_broadcast="params",
                split_rngs={"params": False},
                in_axes=1,
                out_axes=1,
            )
            _, x = over_time(name="cell")(jnp.zeros((x.shape[0], 4)), x)
            layers = nn.scan(
                lambda m, c, _: (nn.tanh(m(c)), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
            )
            return layers(nn.Dense(4, name="stack"), x, None)[0]

    x = jax.random.normal(jax.random.key(0), (2, 6, 4))
    report = jaxinit.analyze(Model(), x, seeds=2, progress=False)
    rows = {row.name: row for row in report.rows}

    assert [n for n in report.layers if n.startswith("stack")] == [
        "stack[0]",
        "stack[1]",
        "stack[2]",
    ]
    assert set(rows["stack[2]"].params) == {"stack/kernel[2]", "stack/bias[2]"}
    assert rows["cell/recurrent"].steps == 6
    profile = report.profiles["cell/recurrent"]
    assert profile["second_moment"].shape == (2, 6)
    assert (profile["second_moment"][:, 0] == 0).all()  # the carry starts at zero
    pooled = report.forward["second_moment"][:, report.layers.index("cell/recurrent")]
    assert pooled == pytest.approx(profile["second_moment"].mean(axis=1))


def test_a_layer_whose_output_is_averaged_over_a_named_axis_is_measured_before_it():
    def normalized(params, x):
        def one(row):
            hidden = row @ params["w"]
            return hidden - jax.lax.pmean(hidden, "batch")

        return jax.vmap(one, axis_name="batch")(x)

    x = jax.random.normal(jax.random.key(0), (6, 8))
    model = jaxinit.Functional(
        lambda key, x: {"w": jax.random.normal(key, (8, 4))}, normalized
    )

    report = jaxinit.analyze(model, x, seeds=2)

    for i, found in enumerate(report.forward["second_moment"][:, 0]):
        plain = x @ model.init(report.key(i), x)["w"]
        assert found == pytest.approx(float(jnp.square(plain).mean()))
