"""Larger networks compute what the smaller ones do, for linen, nnx and Equinox."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from jaxinit.transfer.net2deeper import net2deeper
from jaxinit.transfer.net2wider import net2wider

KEY = jax.random.key(3)
RNG = np.random.default_rng(1)
IMAGES = jnp.asarray(RNG.normal(size=(3, 6, 6, 2)), jnp.float32)
VECTORS = jnp.asarray(RNG.normal(size=(4, 5)), jnp.float32)
# Sums of a few dozen products of order one, in another order: 1e-6, ten times over.
SAME = {"rtol": 1e-5, "atol": 1e-5}


def filled(shapes):
    """Arrays of positive and, in kernels, negative numbers: each of them counts."""
    rng = np.random.default_rng(0)

    def fill(leaf):
        values = rng.uniform(0.2, 1.0, leaf.shape) - (0.6 if leaf.ndim > 1 else 0)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree.map(fill, shapes)


def initialized(model, x):
    return filled(jax.eval_shape(model.init, KEY, x))


def from_nnx(factory):
    graph, shapes = nnx.split(nnx.eval_shape(lambda: factory(nnx.Rngs(0))))
    return nnx.merge(graph, filled(shapes))


def output(model, variables, x):
    return jax.jit(model.apply)(variables, x)


def output_nnx(model, x):
    graph, state = nnx.split(model)
    return jax.jit(lambda state: nnx.merge(graph, state)(x))(state)


class MLP(nn.Module):
    widths: tuple[int, ...] = (6, 7)

    @nn.compact
    def __call__(self, x):
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(3)(x)


class ConvNet(nn.Module):
    """Convolutions, a residual stream, BatchNorm, a depthwise layer, flatten, dense."""

    stream: int = 4
    inner: int = 3

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(self.stream, (3, 3))(x))
        h = nn.Conv(self.inner, (3, 3))(x)
        h = nn.relu(nn.BatchNorm(use_running_average=True)(h))
        h = nn.Conv(self.inner, (3, 3), feature_group_count=self.inner)(h)
        x = x + nn.Conv(self.stream, (1, 1))(nn.relu(h))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        return nn.Dense(5)(x.reshape(x.shape[0], -1))


class Branch(nnx.Module):
    def __init__(self, hidden, rngs):
        self.inner = nnx.Conv(3, hidden, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(hidden, use_running_average=True, rngs=rngs)
        self.head = nnx.Linear(hidden * 36, 4, rngs=rngs)


class NNXNet(nnx.Module):
    def __init__(self, hidden, rngs):
        self.stem = nnx.Conv(2, 3, (3, 3), rngs=rngs)
        self.blocks = nnx.List([Branch(hidden, rngs)])

    def __call__(self, x):
        block = self.blocks[0]
        x = nnx.relu(block.norm(block.inner(nnx.relu(self.stem(x)))))
        return block.head(x.reshape(x.shape[0], -1))


@pytest.mark.parametrize("width", [7, 20])
def test_mlp_computes_the_same(width):
    small = MLP()
    variables = initialized(small, VECTORS)

    wide = net2wider(variables, KEY, "Dense_0", width, next="Dense_1")

    expected = output(small, variables, VECTORS)
    found = output(MLP((width, 7)), wide, VECTORS)
    assert wide["params"]["Dense_0"]["kernel"].shape == (5, width)
    np.testing.assert_allclose(found, expected, **SAME)


def test_layers_one_after_the_other():
    variables = initialized(MLP(), VECTORS)

    wide = net2wider(variables, KEY, "Dense_0", 8, next="Dense_1")
    wide = net2wider(wide, KEY, "Dense_1", 16, next=["Dense_2"])

    expected = output(MLP(), variables, VECTORS)
    np.testing.assert_allclose(output(MLP((8, 16)), wide, VECTORS), expected, **SAME)


def test_convolutions_with_a_norm_and_a_depthwise_layer_between():
    variables = initialized(ConvNet(), IMAGES)

    wide = net2wider(
        variables,
        KEY,
        "Conv_1",
        8,
        next="Conv_3",
        per_channel=["BatchNorm_0", "Conv_2"],
    )

    assert wide["batch_stats"]["BatchNorm_0"]["mean"].shape == (8,)
    expected = output(ConvNet(), variables, IMAGES)
    np.testing.assert_allclose(output(ConvNet(inner=8), wide, IMAGES), expected, **SAME)


def test_residual_stream_into_a_flattened_dense_layer():
    variables = initialized(ConvNet(), IMAGES)

    wide = net2wider(
        variables, KEY, ["Conv_0", "Conv_3"], 7, next={"Conv_1": 1, "Dense_0": 9}
    )

    expected = output(ConvNet(), variables, IMAGES)
    np.testing.assert_allclose(
        output(ConvNet(stream=7), wide, IMAGES), expected, **SAME
    )


def test_nnx_state():
    small = from_nnx(lambda rngs: NNXNet(2, rngs))
    wide = from_nnx(lambda rngs: NNXNet(5, rngs))

    state = net2wider(
        nnx.state(small),
        KEY,
        "blocks/0/inner",
        5,
        next={"blocks/0/head": 36},
        per_channel="blocks/0/norm",
    )
    nnx.update(wide, state)

    assert jax.tree.structure(state) == jax.tree.structure(nnx.state(wide))
    np.testing.assert_allclose(
        output_nnx(wide, IMAGES), output_nnx(small, IMAGES), **SAME
    )


def test_equinox_has_channels_first():
    def net(model, x):
        conv, dense, last = model
        x = jax.nn.relu(conv(x)).reshape(-1)
        return last(jax.nn.relu(dense(x)))

    def layers(key):
        return [
            eqx.nn.Conv2d(2, 3, 3, key=key),
            eqx.nn.Linear(3 * 16, 4, key=key),
            eqx.nn.Linear(4, 2, key=key),
        ]

    small = filled(jax.eval_shape(layers, KEY))
    x = jnp.moveaxis(IMAGES[0], -1, 0)

    wide = net2wider(small, KEY, "0", 7, next={"1": 16}, layout="torch")
    wide = net2wider(wide, KEY, "1", 9, next="2", layout="torch")

    assert wide[0].bias.shape == (7, 1, 1)
    assert wide[1].weight.shape == (9, 7 * 16)
    run = jax.jit(net)
    np.testing.assert_allclose(run(wide, x), run(small, x), **SAME)


def test_layer_norm_over_equally_many_copies():
    class Normed(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            x = nn.LayerNorm(epsilon=0.0)(nn.Dense(self.width)(x))
            return nn.Dense(2)(nn.gelu(x))

    variables = initialized(Normed(6), VECTORS)

    def widened(width):
        wide = net2wider(
            variables,
            KEY,
            "Dense_0",
            width,
            next="Dense_1",
            per_channel="LayerNorm_0",
        )
        return output(Normed(width), wide, VECTORS)

    expected = output(Normed(6), variables, VECTORS)
    np.testing.assert_allclose(widened(18), expected, **SAME)
    assert np.abs(widened(8) - expected).max() > 1e-3


def test_copies_are_balanced_and_the_first_are_the_old_units():
    kernel = jnp.arange(5.0)[None] + 1
    params = {"a": {"kernel": kernel}, "b": {"kernel": jnp.ones((5, 1))}}

    wide = net2wider(params, KEY, "a", 13, next="b")

    units = np.asarray(wide["a"]["kernel"][0])
    counts = np.bincount(units.astype(int), minlength=6)[1:]
    np.testing.assert_array_equal(units[:5], kernel[0])
    assert set(counts) == {2, 3}
    assert counts.sum() == 13
    np.testing.assert_allclose(
        wide["b"]["kernel"][:, 0], 1 / counts[units.astype(int) - 1]
    )
    other = net2wider(params, jax.random.key(4), "a", 13, next="b")
    assert (other["a"]["kernel"] != wide["a"]["kernel"]).any()


def test_noise_is_on_the_incoming_weights_of_the_copies_alone():
    params = {
        "a": {"kernel": jnp.full((400, 8), 2.0), "bias": jnp.ones(8)},
        "b": {"kernel": jnp.ones((8, 1))},
    }

    wide = net2wider(params, KEY, "a", 24, next="b", noise=0.05)

    noise = np.asarray(wide["a"]["kernel"]) - 2
    assert (noise[:, :8] == 0).all()
    assert (wide["a"]["bias"] == 1).all()
    # 6400 samples: the relative error of a standard deviation is 1/sqrt(2 n).
    assert abs(noise[:, 8:].std() / 0.1 - 1) < 5 / np.sqrt(2 * 6400)


def test_boxes_dtypes_and_inputs_stay():
    class Boxed(nn.Module):
        width: int = 4

        @nn.compact
        def __call__(self, x):
            init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
            x = nn.Dense(self.width, kernel_init=init, param_dtype=jnp.bfloat16)(x)
            return nn.Dense(2)(x)

    variables = initialized(Boxed(), VECTORS)
    before = jax.tree.map(np.asarray, variables)

    wide = jax.jit(lambda v, key: net2wider(v, key, "Dense_0", 6, next="Dense_1"))(
        variables, KEY
    )

    kernel = wide["params"]["Dense_0"]["kernel"]
    assert isinstance(kernel, nn.Partitioned)
    assert kernel.names == (None, "model")
    assert kernel.value.dtype == jnp.bfloat16
    assert kernel.value.shape == (5, 6)
    jax.tree.map(np.testing.assert_array_equal, before, variables)


LAYER = {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
PARAMS = {
    "a": LAYER,
    "b": {"kernel": jnp.ones((4, 2))},
    "flat": {"kernel": jnp.ones((36, 2))},
    "norm": {"scale": jnp.ones(5)},
    "attention": {"kernel": jnp.ones((4, 2)), "kernel_2": jnp.ones((4, 2))},
}


@pytest.mark.parametrize(
    ("layers", "width", "options", "message"),
    [
        ("c", 8, {"next": "b"}, r"`layers` names the layer 'c'.*'a', 'attention', 'b'"),
        ("norm", 8, {"next": "b"}, "'norm', which has no kernel"),
        ("a", 3, {"next": "b"}, "`width` must be at least 4.*got 3"),
        ("a", 8, {"next": "flat"}, r"must read 4 values, but reads 36.*\{'flat': 9\}"),
        ("a", 8, {"next": {"flat": 6}}, "must read 24 values, but reads 36"),
        ("a", 8, {"next": {"b": 0}}, r"`next\['b'\]` must be an integer of at least 1"),
        ("a", 8, {"next": "norm"}, "'norm', which has 0 kernels"),
        ("a", 8, {"next": "attention"}, "'attention', which has 2 kernels"),
        ("a", 8, {"next": ["b", "b"]}, "names a layer twice"),
        ("a", 8, {"next": []}, "`next` must name a layer"),
        ("a", 8, {"next": "b", "per_channel": "norm"}, r"`per_channel`: 'norm/scale'"),
        (["a", "b"], 8, {"next": "b"}, r"`layers`: 'b/kernel' \(4, 2\) must have 4"),
        ("a", 8, {"next": "b", "noise": -1.0}, "`noise` must be in"),
        ("a", 8, {"next": "b", "layout": "tf"}, "`layout` must be one of"),
    ],
)
def test_wider_refuses(layers, width, options, message):
    with pytest.raises(ValueError, match=message):
        net2wider(PARAMS, KEY, layers, width, **options)


def test_deeper_mlp_computes_the_same():
    old = initialized(MLP((6, 7)), VECTORS)
    deep = MLP((6, 6, 7))
    fresh = initialized(deep, VECTORS)

    new = net2deeper(
        fresh, old, "Dense_1", {"Dense_2": "Dense_1", "Dense_3": "Dense_2"}
    )

    expected = output(MLP((6, 7)), old, VECTORS)
    np.testing.assert_allclose(output(deep, new, VECTORS), expected, **SAME)
    assert np.abs(output(deep, fresh, VECTORS) - expected).max() > 0.1


def test_deeper_nnx_convolutions():
    class Net(nnx.Module):
        def __init__(self, convolutions, rngs):
            sizes = [(3, 3), (3, 3), (2, 5)][:convolutions]
            self.convs = nnx.List(
                [
                    nnx.Conv(2 if i == 0 else 4, 4, size, rngs=rngs)
                    for i, size in enumerate(sizes)
                ]
            )
            self.head = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            for conv in self.convs:
                x = nnx.relu(conv(x))
            return self.head(x.mean((1, 2)))

    old, deep = (from_nnx(lambda rngs, n=n: Net(n, rngs)) for n in (1, 3))

    new = net2deeper(nnx.state(deep), nnx.state(old), ["convs/1", "convs/2"])
    nnx.update(deep, new)

    np.testing.assert_allclose(
        output_nnx(deep, IMAGES), output_nnx(old, IMAGES), **SAME
    )


def test_deeper_equinox_with_a_function_as_mapping():
    def layers(key):
        same = eqx.nn.Conv2d(2, 2, 3, padding=1, key=key)
        return eqx.nn.Conv2d(2, 2, 3, key=key), same

    conv, new = filled(jax.eval_shape(layers, KEY))
    x = jnp.moveaxis(IMAGES[0], -1, 0)

    deep = net2deeper(
        {"first": conv, "new": new},
        {"old": conv},
        "new",
        lambda name: name.replace("first", "old"),
        layout="torch",
    )

    y = deep["first"](x)
    np.testing.assert_array_equal(y, conv(x))
    np.testing.assert_array_equal(deep["new"](y), y)


def test_deeper_refuses():
    square = {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}
    norm = {"scale": jnp.ones(3)}
    old = {"a": square}

    with pytest.raises(ValueError, match="3 inputs and 4 outputs"):
        net2deeper({"a": square, "new": LAYER}, old, "new")
    with pytest.raises(ValueError, match="'new/scale' has the shape"):
        net2deeper({"a": square, "new": norm}, old, "new")
    with pytest.raises(ValueError, match="`layers` names the layer 'other'"):
        net2deeper({"a": square, "new": square}, old, "other")
    with pytest.raises(ValueError, match="lacks 'norm/scale'"):
        net2deeper({"a": square, "new": square, "norm": norm}, old, "new")
    with pytest.raises(ValueError, match="which no leaf takes"):
        net2deeper({"a": square, "new": square}, {**old, "b": square}, "new")
    fresh = {"a": square, "new": square, "norm": norm}
    deep = net2deeper(fresh, old, "new", {"norm": None})
    np.testing.assert_array_equal(deep["norm"]["scale"], 1)
