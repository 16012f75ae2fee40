"""``initialize``: what it keeps, where it runs, what it refuses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit as ji
from tests.processes import printed
from tests.zoo import ZOO

pytestmark = pytest.mark.internals

X = jnp.ones((4, 8))


class Net(nnx.Module):
    """A linear layer, a norm with statistics and dropout's random state."""

    def __init__(self, rngs):
        self.fc = nnx.Linear(8, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(self.norm(self.fc(x)))


def test_linen_gets_its_variables_with_state():
    entry = ZOO["convnet"]
    own = jax.eval_shape(
        lambda: entry.make().init(jax.random.key(0), *entry.args(), **entry.kwargs)
    )
    drawn = ji.initialize(entry.make(), ji.he_normal(), 0, *entry.args(), train=True)
    assert jax.tree.structure(drawn) == jax.tree.structure(own)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), drawn) == jax.tree.map(
        lambda x: (x.shape, x.dtype), own
    )


def test_boxes_and_low_precision_are_kept():
    entry = ZOO["partitioned"]
    own = entry.make().init(jax.random.key(0), *entry.args())
    drawn = ji.initialize(entry.make(), ji.orthogonal(), 0, *entry.args())
    assert jax.tree.structure(drawn) == jax.tree.structure(own)
    assert nn.get_partition_spec(drawn) == nn.get_partition_spec(own)
    entry = ZOO["mlp_bf16_params"]
    drawn = ji.initialize(entry.make(), ji.orthogonal(), 0, *entry.args())
    assert {x.dtype for x in jax.tree.leaves(drawn)} == {jnp.dtype("bfloat16")}


def test_nnx_gets_a_module_and_keeps_its_own():
    given = Net(nnx.Rngs(0))
    before = np.asarray(given.fc.kernel[...]).copy()
    made = [
        ji.initialize(Net, ji.constant(1.0), 0, X),
        ji.initialize(lambda rngs: Net(rngs), ji.constant(1.0), 0, X),
        ji.initialize(given, ji.constant(1.0), 0, X),
    ]
    for module in made:
        assert isinstance(module, Net)
        assert np.all(module.fc.kernel[...] == 1)
        assert module(X).shape == (4, 16)
    assert np.array_equal(given.fc.kernel[...], before)
    # What no rule takes keeps the values that the module holds.
    kept = ji.initialize(given, ji.rules([("norm/scale", ji.zeros)]), 3, X)
    assert np.array_equal(kept.fc.kernel[...], before)


def test_functional_gets_its_own_pytree():
    model = ji.Functional(
        lambda key, x: {"w": jax.random.normal(key, (8, 2)), "name": "plain"},
        lambda variables, x: x @ variables["w"],
    )
    drawn = ji.initialize(model, ji.ones, 0, X)
    assert drawn["name"] == "plain"
    assert np.all(drawn["w"] == 1)


def test_the_same_weights_wherever_it_runs():
    model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(2)])

    def draw(key):
        return ji.initialize(model, ji.lsuv(), key, noise)

    noise = jax.random.normal(jax.random.key(3), (16, 8))
    keys = jax.random.split(jax.random.key(1), 2)
    eager = [draw(key) for key in keys]
    jitted = jax.jit(draw)(keys[0])
    mapped = jax.vmap(draw)(keys)
    shapes = jax.eval_shape(draw, keys[0])
    for path, leaf in jax.tree_util.tree_leaves_with_path(eager[0]):
        name = jax.tree_util.keystr(path)
        others = [dict(jax.tree_util.tree_leaves_with_path(t)) for t in (jitted,)]
        assert np.allclose(others[0][path], leaf, rtol=1e-4, atol=1e-6), name
    for i, one in enumerate(eager):
        ours = jax.tree.map(lambda x, i=i: x[i], mapped)
        assert all(jax.tree.leaves(jax.tree.map(_close, ours, one)))
    assert jax.tree.map(jnp.shape, eager[0]) == jax.tree.map(lambda s: s.shape, shapes)


def _close(a, b):
    return np.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_key_from_outside_of_the_trace():
    model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(2)])
    noise, key = jax.random.normal(jax.random.key(3), (16, 8)), jax.random.key(1)
    eager = ji.initialize(model, ji.lsuv(), key, noise)
    jitted = jax.jit(lambda x: ji.initialize(model, ji.lsuv(), key, x))(noise)
    assert all(jax.tree.leaves(jax.tree.map(_close, eager, jitted)))


def test_old_keys_integers_and_typed_keys_agree():
    drawn = [
        ji.initialize(nn.Dense(2), ji.normal(), key, X)["params"]["kernel"]
        for key in (7, jax.random.key(7), jax.random.PRNGKey(7))
    ]
    assert jnp.array_equal(drawn[0], drawn[1])
    assert jnp.array_equal(drawn[0], drawn[2])


def test_shapes_will_do_where_no_values_are_needed():
    shape = jax.ShapeDtypeStruct((4, 8), "float32")
    drawn = ji.initialize(nn.Dense(2), ji.normal(), 0, shape)
    given = ji.initialize(nn.Dense(2), ji.normal(), 0, X)
    assert jnp.array_equal(drawn["params"]["kernel"], given["params"]["kernel"])
    with pytest.raises(ValueError, match=r"looks at data .* Pass a batch"):
        ji.initialize(nn.Dense(2), ji.lsuv(), 0, shape)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ji.initialize(nn.Dense(2), "lsu", 0, X), ValueError, "`scheme`"),
        (lambda: ji.initialize(nn.Dense(2), 3, 0, X), TypeError, "`scheme`"),
        (
            lambda: ji.initialize(nn.Dense(2), ji.he_normal, 0, X),
            TypeError,
            r"Call it: he_normal\(\)",
        ),
        (lambda: ji.initialize(3, ji.zeros, 0, X), TypeError, "`model`"),
        (lambda: ji.initialize(nn.Dense(2), ji.zeros, "0", X), TypeError, "`key`"),
        (
            lambda: ji.initialize(lambda x: x, ji.zeros, 0, X),
            TypeError,
            "nnx factory or jaxinit.Functional",
        ),
        (
            lambda: ji.initialize(nn.LayerNorm(), ji.he_normal(), 0, X),
            ValueError,
            "has none",
        ),
        (
            lambda: ji.initialize(nn.Dense(2), ji.zeros, 0, X, shardings={"a": None}),
            ValueError,
            "one entry for each of the 2",
        ),
    ],
)
def test_bad_calls_are_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_on_eight_devices():
    """Sharded values equal unsharded ones; no device holds a whole weight."""
    facts = json.loads(printed(8, "-m", "tests.schemes.eight_devices"))
    assert all(facts.pop("annotated").values())
    for name, fact in facts.items():
        assert fact["sharding_is_as_asked"], name
        assert fact["error"] < 1e-5, name
    assert facts["he_normal"]["largest_share"] <= 1 / 8
