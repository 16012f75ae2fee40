"""The drawer gives what `jax.jit` of the same init gives, bit for bit, for less."""

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxinit.draw import evaluate as replay
from jaxinit.draw.drawer import drawer
from jaxinit.program import versions
from jaxinit.signal.compiled import described
from tests.zoo import convolution, feedforward, modules_nnx, transformer

ORTHOGONAL = jax.nn.initializers.orthogonal()
TRUNCATED = jax.nn.initializers.lecun_normal()
X = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)


def linen(module, *args):
    return lambda key: module.init(key, *args)


def from_nnx(factory):
    return lambda key: nnx.state(factory(rngs=nnx.Rngs(key)), nnx.Param)


def equal_layers(key):
    """Samplers of two forms in turns, one of a third, and a constant."""
    keys = [jax.random.fold_in(key, i) for i in (7, 1, 3, 5)]
    shapes = [(6, 5), (5, 6)] * 2
    layers = [TRUNCATED(k, shape) for k, shape in zip(keys, shapes, strict=True)]
    return layers, jax.random.uniform(key, (4, 3)), jnp.ones(3)


def legacy_keys(key):
    first, second = jax.random.split(jax.random.key_data(key))
    return ORTHOGONAL(first, (5, 4)), jax.random.normal(second, (3, 4))


def many_kinds(key):
    keys = jax.random.split(key, 8)
    return [
        jax.random.uniform(keys[0], (3, 5), minval=-1),
        jax.random.normal(keys[1], (3, 5), jnp.bfloat16),
        jax.random.bernoulli(keys[2], 0.3, (3, 5)),
        jax.random.randint(keys[3], (3, 5), 0, 100),
        jax.random.permutation(keys[5], 9),
        jax.vmap(lambda k: jax.random.normal(k, (2, 3)))(keys[6:]),
        0.02 * jax.random.normal(keys[0], (3, 5)),
    ]


def control_flow(key):
    """A loop over layers, a loop that stops, a branch; parts of each are dead."""

    def layer(carry, key):
        dead, x = carry
        w = jax.random.normal(key, (4, 4))
        return (dead @ w, x + 1), (w, x, dead.sum())

    (_, x), (w, count, _) = lax.scan(
        layer, (jnp.ones((4, 4)), 0.0), jax.random.split(key, 3)
    )
    _, grown, _ = lax.while_loop(
        lambda state: state[0] < 3,
        lambda state: (state[0] + 1, state[1] * 2, state[2] @ state[2]),
        (0, jax.random.normal(key, (2, 3)), jnp.eye(3)),
    )
    chosen, _ = lax.cond(
        x > 2, lambda: (w[0] * 2, w[1] @ w[2]), lambda: (w[1], w[0] @ w[2])
    )
    return w, count, grown, chosen


def data_dependent(key):
    """Each weight is scaled by what the layers before it make of the data."""
    x, weights = jnp.asarray(X), []
    for i in range(3):
        w = TRUNCATED(jax.random.fold_in(key, i), (16, 16))
        w = w / jnp.std(x @ w)
        weights.append(w)
        x = jnp.tanh(x @ w)
    return weights


def keys_from_draws(key):
    """Keys and draws that depend on each other in turn."""
    seed = jax.random.bits(key, (2,))
    derived = jax.random.wrap_key_data(seed)
    w = jax.random.normal(jax.random.fold_in(derived, 1), (3, 4))
    return w, w + (seed[0] >> 9).astype(jnp.float32)


PROGRAMS = {
    "equal_layers": equal_layers,
    "legacy_keys": legacy_keys,
    "many_kinds": many_kinds,
    "control_flow": control_flow,
    "data_dependent": data_dependent,
    "keys_from_draws": keys_from_draws,
    "linen_mlp": linen(feedforward.MLP(), X),
    "linen_bf16": linen(feedforward.MLP(param_dtype=jnp.bfloat16), X),
    "linen_convnet": linen(convolution.ConvNet(), np.ones((2, 8, 8, 3)), True),
    "linen_gpt": linen(transformer.GPT(), np.ones((2, 8), np.int32)),
    "linen_scanned": linen(transformer.ScannedGPT(), np.ones((2, 8), np.int32)),
    "nnx_mlp": from_nnx(modules_nnx.MLP),
}


def program_of(init, *inputs):
    return versions.trace(init, jax.random.key(0), *inputs)[0]


def assert_equal(got, expected):
    expected = jax.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.internals
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_are_those_of_the_jitted_init(name):
    init, key = PROGRAMS[name], jax.random.key(3)

    draw = drawer(program_of(init))

    assert_equal(draw(key), jax.jit(init)(key))


def test_gamma_draws_differ_by_rounding_at_most():
    """The compiler rounds their rejection loop as it likes, here and there."""

    def init(key):
        return jax.random.gamma(key, 2.0, (3, 5))

    key = jax.random.key(3)

    (drawn,) = drawer(program_of(init))(key)

    np.testing.assert_allclose(drawn, jax.jit(init)(key), rtol=1e-6)


@pytest.mark.parametrize("name", ["equal_layers", "control_flow", "data_dependent"])
def test_batched_draws_are_those_of_each_key(name):
    draw = drawer(program_of(PROGRAMS[name]))
    keys = jax.random.split(jax.random.key(3), 5)

    batched = draw.batched(keys)

    # Products of matrices are summed in another order when many seeds share one.
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7)
    for i in range(5):
        for many, one in zip(batched, draw(keys[i]), strict=True):
            (compare if name == "data_dependent" else np.testing.assert_array_equal)(
                many[i], one
            )


def test_large_draws_are_batched_in_parts(monkeypatch):
    monkeypatch.setattr("jaxinit.draw.samplers._CPU_ELEMENTS", 50)
    draw = drawer(program_of(lambda key: jax.random.normal(key, (4, 6))))
    keys = jax.random.split(jax.random.key(3), 5)

    (batched,) = draw.batched(keys)

    for i in range(5):
        np.testing.assert_array_equal(batched[i], draw(keys[i])[0])


def test_other_kinds_of_keys_are_never_mapped_over():
    def init(key):
        return [TRUNCATED(jax.random.fold_in(key, i), (3, 4)) for i in range(3)]

    keys = [jax.random.key(i, impl="unsafe_rbg") for i in range(3)]
    draw = drawer(versions.trace(init, keys[0])[0])

    batched = draw.batched(jnp.stack(keys))

    for i, key in enumerate(keys):
        assert_equal(draw(key), jax.jit(init)(key))
        assert_equal([many[i] for many in batched], jax.jit(init)(key))


def test_draws_traced_without_partitionable_threefry_stay_as_they_are():
    def init(key):
        return jax.random.normal(key, (3, 5))

    key = jax.random.key(3)
    with jax.threefry_partitionable(False):
        program, expected = program_of(init), jax.jit(init)(key)

    assert_equal(drawer(program)(key), expected)
    assert not np.array_equal(expected, init(key))


def test_inputs_are_passed_at_each_call():
    def init(key, x):
        return TRUNCATED(key, (3, 4)) / jnp.std(x), x + 1

    draw = drawer(program_of(init, X))

    for x in (X, 2 * X):
        assert_equal(draw(jax.random.key(3), x), jax.jit(init)(jax.random.key(3), x))
        many = draw.batched(jax.random.split(jax.random.key(3), 2), x)
        np.testing.assert_array_equal(many[1], np.stack([x + 1, x + 1]))


def test_equal_samplers_are_compiled_once(monkeypatch):
    traced = []

    def counted(key, shape):
        traced.append(shape)
        return fast_key(key, shape)

    fast_key = replay.fast_key
    monkeypatch.setattr(replay, "fast_key", counted)
    shapes = [(3, 67)] * 6 + [(67, 3)] * 2

    def init(key):
        return [TRUNCATED(jax.random.fold_in(key, i), s) for i, s in enumerate(shapes)]

    for _ in range(2):  # the second drawer finds the samplers of the first
        draw = drawer(program_of(init))
        draw(jax.random.key(1))
        draw(jax.random.key(2))

    assert traced == [(201,), (201,)]


@pytest.mark.internals
@pytest.mark.parametrize("committed", [False, True])
def test_what_is_compiled_ahead_is_not_compiled_again(caplog, committed):
    def init(key, x):
        scale = jnp.std(x)
        return [scale * layer for layer in equal_layers(key)[0]], x + 1

    key, x = jax.random.key(3), jnp.asarray(X)
    if committed:
        x = jax.device_put(x, jax.devices()[0])
    draw = drawer(program_of(init, X))
    draw.compile(described(key), described(x))
    draw._compiled.clear()  # so that it asks for them again
    jax.config.update("jax_log_compiles", True)  # in all threads
    try:
        found = draw(key, x)
    finally:
        jax.config.update("jax_log_compiles", False)

    assert not [r.getMessage() for r in caplog.records if "ompil" in r.getMessage()]
    assert_equal(found, jax.jit(init)(key, x))


def test_a_loop_may_make_constants_beside_what_it_draws():
    def init(key):
        def body(carry, key):
            return carry, (jax.random.normal(key, (3,)), jnp.zeros(2))

        return lax.scan(body, 0.0, jax.random.split(key, 4))[1]

    draw, keys = drawer(program_of(init)), jax.random.split(jax.random.key(3), 2)
    for key in keys:
        assert_equal(draw(key), jax.jit(init)(key))
        assert_equal(jax.jit(draw.pure)(key), jax.jit(init)(key))
    assert [x.shape for x in draw.batched(keys)] == [(2, 4, 3), (2, 4, 2)]


def test_outputs_that_depend_on_the_key_are_told():
    def init(key):
        carry, ys = lax.scan(
            lambda c, k: (c, jax.random.normal(k)), 0.0, jax.random.split(key, 2)
        )
        return jnp.zeros(3), jax.random.normal(key, (2,)), carry, ys

    draw = drawer(program_of(init))

    assert draw.depends_on_key == (False, True, False, True)


@pytest.mark.parametrize("loop", [False, True])
def test_what_a_key_of_its_own_draws(loop):
    fixed = jax.random.key(7)

    def init(key):
        if loop:
            return lax.fori_loop(
                0,
                2,
                lambda i, x: x + jax.random.normal(fixed, (3, 4)),
                jnp.zeros((3, 4)),
            )
        return jax.random.normal(fixed, (3, 4)), jax.random.normal(key, (2,))

    draw = drawer(program_of(init))
    keys = jax.random.split(jax.random.key(3), 2)

    assert_equal(draw(keys[0]), jax.jit(init)(keys[0]))
    assert_equal([x[1] for x in draw.batched(keys)], jax.jit(init)(keys[1]))


def test_two_threads_may_draw_at_once():
    draw = drawer(program_of(equal_layers))
    keys = jax.random.split(jax.random.key(3), 8)

    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(draw, keys))

    for leaves, key in zip(drawn, keys, strict=True):
        assert_equal(leaves, jax.jit(equal_layers)(key))


def test_a_draw_may_be_traced():
    draw = drawer(program_of(equal_layers))
    keys = jax.random.split(jax.random.key(3), 3)

    mapped = jax.jit(jax.vmap(draw))(keys)

    assert_equal([leaf[2] for leaf in mapped], jax.jit(equal_layers)(keys[2]))


def test_a_program_without_a_key_is_refused():
    program, _ = versions.trace(lambda x: x + 1, 1.0)

    with pytest.raises(ValueError, match=r"typed random key.*float32\[\]"):
        drawer(program)
