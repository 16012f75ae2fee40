"""GradInit: its search against a program in NumPy, and what it does to a first step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from sklearn.datasets import load_digits

from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.learned._batches import Overlapping
from jaxinit.schemes.learned.gradinit import gradinit
from jaxinit.schemes.learned.learn_scales import Settings, learn_scales
from jaxinit.schemes.rules import changed, override, rules

KEY = jax.random.key(0)


def distance(params, batch, key):
    """A loss with gradients known by hand: half the squared distance to ``batch``."""
    del key
    return sum(
        0.5 * jnp.sum(jnp.square(p - b)) for p, b in zip(params, batch, strict=True)
    )


def in_numpy(weights, first, second, settings, min_scales):
    """The search for ``distance``, with one pair of batches, in float64."""
    scales = np.ones(len(weights))
    moments = {
        kind: [np.zeros(len(weights)), np.zeros(len(weights)), 0]
        for kind in ("constraint", "objective")
    }
    kinds = []
    for _ in range(settings.iterations):
        theta = [s * w for s, w in zip(scales, weights, strict=True)]
        g = [t - b for t, b in zip(theta, first, strict=True)]
        l2 = np.sqrt(sum(np.sum(x**2) for x in g))
        move, norm, slope_of_norm = {
            "sgd": (g, l2, [x / l2 for x in g]),
            "normalized_sgd": ([x / l2 for x in g], l2, [x / l2 for x in g]),
            "adam": (
                [np.sign(x) for x in g],
                sum(np.abs(x).sum() for x in g),
                [np.sign(x) for x in g],
            ),
        }[settings.algorithm]
        if norm > settings.gamma:
            kind, into = "constraint", slope_of_norm
        else:
            kind = "objective"
            after = [t - settings.eta * m for t, m in zip(theta, move, strict=True)]
            into = [(a - b) / settings.eta for a, b in zip(after, second, strict=True)]
        kinds.append(kind)
        slope = np.array([np.sum(x * w) for x, w in zip(into, weights, strict=True)])
        slope = np.clip(slope, -1, 1)
        state = moments[kind]
        state[0] = 0.9 * state[0] + 0.1 * slope
        state[1] = 0.999 * state[1] + 0.001 * slope**2
        state[2] += 1
        mean = state[0] / (1 - 0.9 ** state[2])
        square = state[1] / (1 - 0.999 ** state[2])
        scales -= settings.learning_rate * mean / (np.sqrt(square) + 1e-8)
        scales = np.maximum(scales, min_scales)
    return scales, kinds


@pytest.mark.parametrize(
    ("algorithm", "gamma"), [("sgd", 2.0), ("normalized_sgd", 2.0), ("adam", 4.0)]
)
def test_search_is_the_algorithm(algorithm, gamma):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(4, 3)), rng.normal(size=3)]
    # Near the weights, so that the norm falls below gamma on the way.
    first = [0.3 * w + 0.05 * rng.normal(size=w.shape) for w in weights]
    second = [0.3 * w + 0.05 * rng.normal(size=w.shape) for w in weights]
    settings = Settings(algorithm, 0.1, gamma, iterations=30, learning_rate=0.03)

    with jax.enable_x64():
        found = learn_scales(
            distance,
            [jnp.asarray(w) for w in weights],
            [([jnp.asarray(x) for x in first], [jnp.asarray(x) for x in second])],
            KEY,
            min_scales=[0.01, 0.0],
            settings=settings,
        )

    expected, kinds = in_numpy(weights, first, second, settings, [0.01, 0.0])
    assert set(kinds) == {"constraint", "objective"}
    np.testing.assert_allclose(
        np.concatenate([s.ravel() for s in found]), expected, rtol=1e-9
    )


def test_scales_stay_above_their_bounds_and_zeros_and_fixed_keep_theirs():
    weights = [jnp.full((2, 2), 1.0), jnp.full(3, 1.0), jnp.zeros(2), jnp.ones(2)]
    target = [jnp.zeros_like(w) for w in weights]

    found = learn_scales(
        distance,
        weights,
        [(target, target)],
        KEY,
        min_scales=[0.01, 0.0, 0.01, 0.01],
        fixed=[False, False, False, True],
        settings=Settings("sgd", gamma=100.0, iterations=60, learning_rate=0.05),
    )

    np.testing.assert_allclose(
        [float(s.squeeze()) for s in found], [0.01, 0, 1, 1], atol=1e-7
    )


def test_stacked_tensors_have_scales_of_their_own():
    rng = np.random.default_rng(1)
    a, b, to_a, to_b = (
        jnp.asarray(rng.normal(size=(4, 3)), jnp.float32) for _ in range(4)
    )
    settings = Settings("sgd", gamma=100.0, iterations=10)

    apart = learn_scales(
        distance,
        [a, b],
        [([to_a, to_b],) * 2],
        KEY,
        min_scales=[0.01] * 2,
        settings=settings,
    )
    stacked = learn_scales(
        distance,
        [jnp.stack([a, b], 1)],
        [([jnp.stack([to_a, to_b], 1)],) * 2],
        KEY,
        min_scales=[0.01],
        stacked=[(1,)],
        settings=settings,
    )

    assert stacked[0].shape == (1, 2, 1)
    np.testing.assert_allclose(
        stacked[0].ravel(), [float(s.squeeze()) for s in apart], rtol=1e-5
    )


def test_second_batch_shares_half_of_the_samples():
    batches = [([jnp.full((4, 2), n)], jnp.full(4, n)) for n in range(3)]

    pairs = list(Overlapping(batches))

    assert [int(first[1][0]) for first, _ in pairs] == [0, 1, 2]
    assert [second[1].tolist() for _, second in pairs] == [
        [0, 0, 1, 1],
        [1, 1, 2, 2],
        [2, 2, 0, 0],
    ]
    assert pairs[0][1][0][0].shape == (4, 2)


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.relu(nn.Dense(32)(x)))


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def digits(size=64, count=6):
    data = load_digits()
    x = (data.data / 16).astype(np.float32)
    return [
        (x[i * size : (i + 1) * size], data.target[i * size : (i + 1) * size])
        for i in range(count)
    ]


def loss_after_a_step(variables, batches, eta):
    """The loss on the last batch after a step of gradient descent on the others."""
    *seen, (x, y) = batches

    def loss(variables, x, y):
        return cross_entropy(MLP().apply(variables, x), y)

    whole = tuple(np.concatenate(parts) for parts in zip(*seen, strict=True))
    slopes = jax.grad(loss)(variables, *whole)
    moved = jax.tree.map(lambda w, g: w - eta * g, variables, slopes)
    return float(loss(moved, x, y))


@pytest.mark.parametrize(("factor", "learning_rate"), [(0.1, 0.03), (3.0, 0.01)])
def test_first_step_helps_more_after_gradinit(factor, learning_rate):
    batches = digits()
    start = rules([("**/kernel", changed(lambda w: factor * w))])
    scheme = gradinit(
        cross_entropy, batches[:-1], start=start, learning_rate=learning_rate
    )
    x = batches[0][0]

    before = initialize(MLP(), start, 0, x)
    after = initialize(MLP(), scheme, 0, x)

    # With kernels of a tenth a step of 0.1 does next to nothing (1e-4), and threefold
    # ones begin far above log(10); the slope along a unit step is bounded by gamma.
    without = loss_after_a_step(before, batches, 0.1)
    with_gradinit = loss_after_a_step(after, batches, 0.1)
    assert with_gradinit < without - 0.005, (with_gradinit, without)
    assert with_gradinit < np.log(10) - 0.005
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        norm = np.linalg.norm(old)
        if norm == 0:
            assert not np.any(new)
        else:
            scale = np.linalg.norm(new) / norm
            assert scale >= 0.01 * (1 - 1e-5)
            np.testing.assert_allclose(new, scale * old, atol=1e-5 * scale)


def test_same_under_jit_and_parameters_of_the_user_stay():
    batches = digits(16, 3)
    x = jnp.asarray(batches[0][0])
    scheme = override(
        gradinit(cross_entropy, batches, iterations=7),
        [("Dense_1/kernel", changed(lambda w: 2 * w))],
    )

    eager = initialize(MLP(), scheme, 0, x)
    jitted = jax.jit(lambda key, x: initialize(MLP(), scheme, key, x))(KEY, x)

    own = MLP().init(KEY, x)["params"]["Dense_1"]["kernel"]
    np.testing.assert_array_equal(eager["params"]["Dense_1"]["kernel"], 2 * own)
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_step_is_compiled_once_for_many_steps_and_seeds():
    traces = []

    def loss(logits, labels):
        traces.append(1)
        return cross_entropy(logits, labels)

    from jaxinit.schemes.drawing import scheme_draw
    from jaxinit.schemes.initialize import prepare

    batches = digits(16, 3)
    network, _ = prepare(MLP(), (batches[0][0],), {}, ())
    draw = scheme_draw(network, gradinit(loss, batches, iterations=5))
    draw(jax.random.key(0), batches[0][0])
    once = len(traces)
    draw(jax.random.key(1), batches[0][0])

    assert 0 < len(traces) == once


def test_interruption_passes_through():
    batches = digits(16, 2)

    class Interrupted:
        def __iter__(self):
            yield from batches
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        initialize(MLP(), gradinit(cross_entropy, Interrupted()), 0, batches[0][0])


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (digits(16, 1), "at least 2 batches, got 1"),
        ([], "at least 2 batches, got 0"),
        (
            [(np.zeros((8, 64), np.float32), np.zeros(8, int))] * 2,
            r"batch 0 has shape \[8, 64\] for `args\[0\]`",
        ),
        ([((np.zeros((16, 64)),) * 2, np.zeros(16, int))] * 2, "holds 2 input arrays"),
    ],
)
def test_batches_that_do_not_fit(batches, message):
    x = np.zeros((16, 64), np.float32)

    with pytest.raises(ValueError, match=message):
        initialize(MLP(), gradinit(cross_entropy, batches, iterations=2), 0, x)


def test_loss_that_is_not_finite_is_an_error():
    batches = digits(16, 2)
    start = rules([("**/kernel", changed(lambda w: 1e30 * w))])

    with pytest.raises(FloatingPointError, match="step 1 of 3 is"):
        initialize(
            MLP(),
            gradinit(cross_entropy, batches, start=start, iterations=3),
            0,
            batches[0][0],
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "lion"}, "`algorithm` must be one of .*got 'lion'"),
        ({"eta": 0.0}, r"`eta` must be in \(0, inf\), got 0"),
        ({"gamma": -1.0}, r"`gamma` must be in \(0, inf\)"),
        ({"min_scale": 2.0}, r"`min_scale` must be in \[0, 1\]"),
        ({"iterations": -1}, "`iterations` must be an integer of at least 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        gradinit(cross_entropy, [], **options)


def test_arguments_of_the_wrong_kind():
    with pytest.raises(TypeError, match="`loss` of gradinit must be a function"):
        gradinit(3, [])
    with pytest.raises(TypeError, match=r"got generator. Write list\(batches\)"):
        gradinit(cross_entropy, (b for b in []))
    batches = digits(16, 2)
    with pytest.raises(TypeError, match=r"real scalar, got float32\[16, 10\]"):
        initialize(MLP(), gradinit(lambda out, _: out, batches), 0, batches[0][0])
