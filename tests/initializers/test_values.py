"""Initializers are values: equal, hashable, picklable, printed, static."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit.initializers as ji
from jaxinit.initializers._sharding import _kept
from jaxinit.initializers._value import law_of, with_fans
from tests.initializers.table import MEMBERS

KEY = jax.random.key(2)
# By lambda, so that each call builds anew.
BUILT = {
    "zeros": lambda: ji.zeros_init(),
    "he_normal": lambda: ji.he_normal(),
    "constant[array]": lambda: ji.constant(np.arange(3.0)),
    "stacked": lambda: ji.stacked(ji.he_normal(), 2),
    "blocked": lambda: ji.blocked([ji.normal(0.5), ji.zeros], sizes=[1, 2]),
    "scaled_by_activation": lambda: ji.scaled_by_activation(jnp.tanh),
    "masked": lambda: ji.masked(ji.orthogonal(2.0), np.tri(3)),
    "from_array": lambda: ji.from_array(jnp.arange(3.0)),
    "with_axes": lambda: ji.with_axes(ji.scale(ji.he_uniform(), 2), [0, 1], 2),
}

each_built = pytest.mark.parametrize(
    "build", [pytest.param(build, id=name) for name, build in BUILT.items()]
)


@each_built
def test_built_equally_they_are_equal(build):
    assert build() == build()
    assert hash(build()) == hash(build())
    assert len({build(), build()}) == 1


def test_any_difference_counts():
    different = [
        *(build() for build in BUILT.values()),
        ji.he_normal(in_axis=0),
        ji.he_normal(dtype=jnp.bfloat16),
        ji.he_uniform(),
        ji.from_array(np.float16(2.0)),
        ji.from_array(2.0),
        ji.constant(np.arange(3.0) + 1),
        ji.constant(1.0),
        ji.constant(True),
        ji.constant(1 + 0j),
        ji.constant(0.0),
        ji.constant(-0.0),
        ji.stacked(ji.he_normal(), 1),
        ji.stacked(jax.nn.initializers.he_normal(), 2),
        ji.scaled_by_activation(jnp.sin),
    ]

    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: ji.normal(1), lambda: ji.normal(np.float64(1))),
        (lambda: ji.normal(0.5), lambda: ji.normal(jnp.bfloat16(0.5))),
        (lambda: ji.he_normal(-2), lambda: ji.he_normal(in_axis=np.int64(-2))),
        (
            lambda: ji.he_normal(dtype="float32"),
            lambda: ji.he_normal(dtype=jnp.float32),
        ),
        (lambda: ji.kaiming_normal(), lambda: ji.he_normal()),
        (lambda: ji.zeros, lambda: ji.zeros_init()),
        (lambda: ji.constant([0, 1]), lambda: ji.constant(np.arange(2.0))),
        (lambda: ji.normal(np.int8([1, 2])), lambda: ji.normal(np.array([1.0, 2.0]))),
        (lambda: ji.constant(jnp.arange(2.0)), lambda: ji.constant([0, 1])),
        (lambda: ji.normal(jnp.ones(2)), lambda: ji.normal(np.ones(2))),
        (
            lambda: ji.masked(ji.zeros, jnp.array([0, 1], jnp.bfloat16)),
            lambda: ji.masked(ji.zeros, [False, True]),
        ),
        (lambda: ji.masked(ji.zeros, [0, 1]), lambda: ji.masked(ji.zeros, [0.0, True])),
        (lambda: ji.stacked(ji.zeros, [0, 1]), lambda: ji.stacked(ji.zeros, (0, 1))),
    ],
)
def test_spellings_of_one_call_are_equal(one, other):
    assert one() == other()
    assert hash(one()) == hash(other())


@pytest.mark.parametrize(
    "member", [pytest.param(member, id=member.name) for member in MEMBERS]
)
def test_every_member_is_a_value(member):
    init = member.init

    assert copy.deepcopy(init) == init
    assert init.law
    assert init.__doc__.strip()
    assert repr(init) == f"{init.call}: {init.law}"
    assert jax.tree.leaves(init) == []
    if "callable" not in member.name and "cast" not in member.name:
        twin = pickle.loads(pickle.dumps(init))
        assert twin == init
        assert hash(twin) == hash(init)


def test_pickled_ones_draw_the_same():
    init = ji.stacked(ji.orthogonal(jnp.float32(2)), -1)

    twin = pickle.loads(pickle.dumps(init))

    np.testing.assert_array_equal(twin(KEY, (4, 4, 2)), init(KEY, (4, 4, 2)))


@pytest.mark.parametrize(
    ("init", "text"),
    [
        (ji.he_normal(), "he_normal(): truncated normal, variance 2/fan_in"),
        (ji.normal(0.02), "normal(0.02): normal, std 0.02"),
        (
            ji.variance_scaling(1.0, "fan_out", "uniform", dtype=jnp.bfloat16),
            "variance_scaling(1.0, 'fan_out', 'uniform', dtype=bfloat16): uniform, "
            "variance 1/fan_out",
        ),
        (
            ji.scale(ji.stacked(ji.he_normal(), 2), 0.5),
            "scale(stacked(he_normal(), 2), 0.5): 0.5 * (truncated normal, variance "
            "2/fan_in, each slice by itself)",
        ),
        (ji.orthogonal(), "orthogonal(): orthogonal"),
        (
            ji.masked(ji.constant([0, 1]), np.array([True, False])),
            "masked(constant([0.0, 1.0]), [True, False]): the given array of shape "
            "(2,), masked",
        ),
    ],
)
def test_they_print_as_their_call_and_law(init, text):
    assert repr(init) == text


def test_the_call_of_most_members_can_be_run():
    names = {name: getattr(ji, name) for name in ji.__all__} | {"inf": np.inf}

    # Arrays, and functions of others, are named only.
    inits = [
        member.init
        for member in MEMBERS
        if not any(word in member.init.call for word in ("[", "<", "_quadratic"))
    ]

    assert len(inits) > 0.7 * len(MEMBERS)
    for init in inits:
        assert eval(init.call, names) == init, init.call


def test_arrays_are_copied_when_built():
    values = np.arange(2.0)
    init = ji.from_array(values)

    values[0] = 7.0

    assert init(KEY, (2,))[0] == 0.0
    assert init == ji.from_array(np.arange(2.0))


def test_traced_arguments_work_and_are_equal_to_themselves_alone():
    def draw(scale):
        init, same = ji.normal(scale), ji.normal(scale)
        assert init == init
        assert init == same
        assert init != ji.normal(scale + 0.0)
        sharding = jax.sharding.NamedSharding(
            jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,)),
            jax.sharding.PartitionSpec("x"),
        )
        return init(KEY, (4,)), init(KEY, (4,), jnp.float32, sharding)

    before = _kept._cache_size()
    plain, sharded = jax.jit(draw)(2.0)

    np.testing.assert_allclose(plain, ji.normal(2.0)(KEY, (4,)), rtol=1e-6)
    np.testing.assert_allclose(sharded, plain, rtol=1e-6)
    assert _kept._cache_size() == before


@pytest.mark.parametrize("build", [ji.he_normal, lambda: ji.stacked(ji.zeros, 0)])
def test_a_linen_module_with_a_fresh_one_is_traced_once(build):
    traces = []

    def init(module, key, x):
        traces.append(module)
        return module.init(key, x)

    compiled = jax.jit(init, static_argnums=0)
    for _ in range(3):
        compiled(nn.Dense(2, kernel_init=build()), KEY, jnp.ones((1, 3)))

    assert len(traces) == 1


def test_an_nnx_module_with_a_fresh_one_is_traced_once():
    traces = []

    @nnx.jit
    def apply(model, x):
        traces.append(1)
        return model(x)

    for seed in range(3):
        linear = nnx.Linear(3, 2, kernel_init=ji.he_normal(), rngs=nnx.Rngs(seed))
        apply(linear, jnp.ones((1, 3)))

    assert len(traces) == 1


def test_a_compiled_function_takes_one_as_it_is():
    traces = []

    @jax.jit
    def draw(init, key):
        traces.append(init)
        return init(key, (2, 2))

    for _ in range(3):
        draw(ji.he_normal(), KEY)

    assert len(traces) == 1


def test_one_sharded_program_for_one_law():
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    before = _kept._cache_size()

    for _ in range(3):
        ji.he_normal(out_axis=(-1,))(KEY, (6, 5), jnp.float32, sharding)

    assert _kept._cache_size() == before + 1


def test_the_fans_of_an_equal_one_are_equal():
    fans = ji.Fans(8.0, 2.0)
    init = with_fans(ji.scale(ji.he_normal(), 0.5), fans)

    assert init == with_fans(ji.scale(ji.he_normal(), 0.5), fans)
    assert pickle.loads(pickle.dumps(init)) == init
    assert law_of(init) == "0.5 * (truncated normal, variance 2/fan_in)"
    assert with_fans(ji.orthogonal(), fans) is None
    assert with_fans(jax.nn.initializers.zeros, fans) is None
    samples = np.asarray(init(KEY, (300, 100)))
    np.testing.assert_allclose(samples.std(), 0.5 * np.sqrt(2 / 8), rtol=0.02)
