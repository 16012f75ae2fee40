"""``fast_init`` gives what the model's own init gives, bit for bit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit
from tests.processes import printed

pytestmark = pytest.mark.internals

KEY = jax.random.key(7)
X = jnp.ones((4, 6))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Dense(8)(x))
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        noise = self.variable(
            "noise", "n", lambda: jax.random.normal(self.make_rng("dropout"), (3,))
        )
        return nn.Dense(3)(x) + noise.value


class Linear(nnx.Module):
    def __init__(self, width=4, *, rngs):
        self.inner = nnx.Linear(6, width, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.inner(x))


def assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        jax.random.PRNGKey(7),
        {"params": KEY, "dropout": jax.random.key(1)},
        jax.random.key(7, impl="rbg"),
    ],
    ids=["typed", "raw", "streams", "rbg"],
)
def test_linen(key):
    def init(key, x):
        return Net().init(key, x, train=True)

    assert_same(jaxinit.fast_init(Net(), key, X, train=True), jax.jit(init)(key, X))


def test_linen_by_another_method():
    class Two(nn.Module):
        def setup(self):
            self.a, self.b = nn.Dense(2), nn.Dense(3)

        def encode(self, x):
            return self.a(x)

        def __call__(self, x):
            return self.b(self.encode(x))

    made = jaxinit.fast_init(Two(), 0, X, method="encode")

    assert_same(made, Two().init(jax.random.key(0), X, method="encode"))
    assert list(made["params"]) == ["a"]


@pytest.mark.parametrize(
    "factory", [Linear, lambda rngs: Linear(5, rngs=rngs)], ids=["class", "function"]
)
def test_nnx(factory):
    @nnx.jit
    def expected():
        rngs = nnx.Rngs(KEY)
        return factory(rngs=rngs) if factory is Linear else factory(rngs)

    module = jaxinit.fast_init(factory, KEY)

    assert_same(nnx.state(module), nnx.state(expected()))
    assert module(X).shape == (4, module.inner.out_features)


def test_functional_keeps_what_is_no_array():
    table = np.arange(3.0)

    def init(key, x):
        return {"w": jax.random.normal(key, x.shape), "f": jnp.tanh, "table": table}

    made = jaxinit.fast_init(jaxinit.Functional(init, lambda v, x: x), KEY, X)

    assert made["f"] is jnp.tanh
    assert made["table"] is table
    np.testing.assert_array_equal(made["w"], jax.random.normal(KEY, X.shape))


def test_a_value_at_two_places_is_two_arrays():
    def init(key, x):
        w = jax.random.normal(key, (6, 2))
        return {"online": w, "target": w, "key": key, "again": key}

    made = jaxinit.fast_init(jaxinit.Functional(init, lambda v, x: x), KEY, X)
    expected = jax.jit(init)(KEY, X)

    assert_same(made, expected)
    # Donating one array twice is an error.
    step = jax.jit(lambda tree: jax.tree.map(lambda a: a, tree), donate_argnums=0)
    assert_same(step(made), expected)


def test_data_dependent_init():
    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x / self.param("s", lambda key: x.std(0))

    x = jax.random.normal(KEY, (5, 3))
    assert_same(jaxinit.fast_init(Scaled(), KEY, x), jax.jit(Scaled().init)(KEY, x))


def test_an_init_that_looks_at_values_runs_as_it_is():
    def init(key, x):
        count = int(x[0, 0])  # no tracer survives this
        return {"w": jax.random.normal(key, (count, 2))}

    model = jaxinit.Functional(init, lambda v, x: x)

    assert jaxinit.fast_init(model, KEY, X)["w"].shape == (1, 2)
    with pytest.raises(
        ValueError, match="`model` must have an init that can be traced"
    ):
        jaxinit.abstract_init(model, X)


def test_under_jit_and_over_keys():
    keys = jax.random.split(KEY, 2)

    def kernel(key):
        return jaxinit.fast_init(nn.Dense(3), key, X)["params"]["kernel"]

    many = jax.jit(jax.vmap(kernel))(keys)

    np.testing.assert_allclose(many, [kernel(key) for key in keys], rtol=1e-6)


def test_a_second_key_traces_and_compiles_nothing():
    traced = []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x):
            traced.append(1)
            return nn.Dense(3)(x)

    first = jaxinit.fast_init(Counted(), 0, X)
    second = jaxinit.fast_init(Counted(), 1, X)

    assert len(traced) == 1
    kernels = [v["params"]["Dense_0"]["kernel"] for v in (first, second)]
    assert not np.array_equal(*kernels)


def test_the_abstract_twin_draws_nothing():
    huge = nn.Dense(2**20)
    x = jax.ShapeDtypeStruct((1, 2**20), "float32")  # 4 TiB of weights

    shapes = jaxinit.abstract_init(huge, x)["params"]

    assert shapes["kernel"].shape == (2**20, 2**20)
    state = nnx.state(jaxinit.abstract_init(Linear).inner)
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [(4,), (6, 4)]


@pytest.mark.parametrize(
    ("model", "key", "message"),
    [
        (Linear(rngs=nnx.Rngs(0)), KEY, "An nnx module holds its weights already"),
        (3, KEY, "`model` must be a flax.linen module"),
        (Net(), "seed", "`key` must be what the model's init takes"),
        (Net(), jnp.ones(2), "`key` must be what the model's init takes"),
    ],
)
def test_what_is_no_model_and_no_key(model, key, message):
    with pytest.raises(TypeError, match=message):
        jaxinit.fast_init(model, key, X)


def test_shardings_that_do_not_fit():
    with pytest.raises(ValueError, match="one sharding, or None, for each of the 2"):
        jaxinit.fast_init(nn.Dense(3), KEY, X, shardings=[None])


@pytest.fixture(scope="module")
def facts():
    return json.loads(printed(8, "-m", "tests.draw.eight_devices").splitlines()[-1])


def test_each_device_holds_its_part(facts):
    by_metadata = [[64], [32, 8], [64], [8, 64], [8], [64, 8]]
    assert facts["parts"]["mesh"] == by_metadata
    assert facts["parts"]["set_mesh"] == by_metadata
    assert facts["parts"]["tree"] == by_metadata
    assert facts["parts"]["function"] == [[64], [32, 8], [64], [64, 8], [8], [64, 1]]
    assert facts["logical"] == [[64], [32, 8]]
    assert facts["nnx"] == [[64], [32, 8]]
    assert facts["twins"] == [[8, 8], [1, 64]]


def test_a_scheme_takes_a_mesh_likewise(facts):
    assert facts["scheme"] == facts["parts"]["mesh"]
    assert facts["scheme of nnx"] == facts["nnx"]


def test_sharded_values_are_those_of_the_own_init(facts):
    assert facts["same"] == dict.fromkeys(facts["parts"], True)


def test_nothing_is_ever_whole_on_one_device(facts):
    assert facts["largest"] == [64 * 4096 // 8] * 6


def test_a_mesh_without_the_models_axis(facts):
    assert "the model names 'm'" in facts["refused"]
