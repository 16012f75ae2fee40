"""MetaInit: quotients that are known by hand, and the rule that moves the norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinit.schemes.initialize import initialize, prepare
from jaxinit.schemes.learned._batches import with_network
from jaxinit.schemes.learned.learn_norms import (
    Settings,
    gradient_quotient,
    learn_norms,
)
from jaxinit.schemes.learned.metainit import cross_entropy, metainit
from jaxinit.schemes.rules import changed, override, rules

KEY = jax.random.key(0)


def quartic(params, batch, key):
    """With gradient t^3 and curvature 3 t^2, the quotient is the mean of 3 t^2."""
    del batch, key
    return sum(0.25 * jnp.sum(p**4) for p in params)


def test_quotient_of_quadratic_losses_is_the_mean_curvature():
    rng = np.random.default_rng(0)
    theta = {
        "a": jnp.asarray(rng.normal(size=(3, 4))),
        "b": jnp.asarray(rng.normal(size=2)),
    }
    curvature = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), theta)

    def loss(theta, curvature):
        terms = jax.tree.map(lambda t, c: 0.5 * jnp.sum(c * t * t), theta, curvature)
        return sum(jax.tree.leaves(terms))

    ones = jax.tree.map(jnp.ones_like, theta)
    found = gradient_quotient(lambda t: loss(t, curvature), theta, 1e-9)
    expected = np.mean([abs(c) for x in jax.tree.leaves(curvature) for c in x.ravel()])

    # eps moves each term by eps / |g|.
    np.testing.assert_allclose(
        gradient_quotient(lambda t: loss(t, ones), theta, 1e-9), 1.0, rtol=1e-5
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_quotient_of_a_linear_loss_is_eps_over_the_slopes():
    slopes = jnp.array([1.0, -2.0, 0.5])

    found = gradient_quotient(lambda t: jnp.dot(slopes, t), jnp.zeros(3), 1e-2)

    expected = np.mean([1e-2 / (abs(g) + 1e-2) for g in (1.0, -2.0, 0.5)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_slope_of_zero_counts_with_sign_plus_one():
    # At 0 the gradient is (0, 1) and Hg is (1, 0): the terms are (0 - 1) / eps - 1
    # and (1 - 0) / (1 + eps) - 1.
    found = gradient_quotient(lambda t: t[1] + t[0] * t[1], jnp.zeros(2), 0.5)

    np.testing.assert_allclose(found, (3 + 1 / 3) / 2, rtol=1e-6)


def test_quotient_agrees_with_the_whole_hessian():
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(16, 3)))
    theta = jnp.asarray(rng.normal(size=3))

    def loss(theta):
        return jnp.mean(jnp.log1p(jnp.exp(x @ theta)))

    g = np.asarray(jax.grad(loss)(theta), np.float64)
    product = np.asarray(jax.hessian(loss)(theta), np.float64) @ g
    expected = np.mean(np.abs((g - product) / (g + 1e-5 * np.sign(g)) - 1))

    np.testing.assert_allclose(gradient_quotient(loss, theta), expected, rtol=1e-4)


def test_norms_follow_the_signs_with_momentum():
    rng = np.random.default_rng(0)
    weights = [jnp.asarray(10 * rng.normal(size=(4, 4)), jnp.float32), jnp.ones(3)]

    found = learn_norms(
        quartic, weights, [()], KEY, tuned=[True, False], settings=Settings(steps=8)
    )

    # The quotient grows with the norm, so that every sign is +1.
    memory, norm = 0.0, float(jnp.linalg.norm(weights[0]))
    expected = norm
    for _ in range(8):
        memory = 0.9 * memory - 0.1
        expected += memory
    np.testing.assert_allclose(found[0].squeeze() * norm, expected, rtol=1e-5)
    assert float(found[1].squeeze()) == 1.0


def test_norms_stay_above_one_percent_and_zeros_stay():
    weights = [jnp.full((2, 2), 1.0), jnp.zeros((2, 2))]
    settings = Settings(steps=40, eps=1e-12)

    found = learn_norms(
        quartic,
        weights,
        [()],
        KEY,
        tuned=[True, True],
        settings=settings,
    )

    np.testing.assert_allclose([float(s.squeeze()) for s in found], [0.01, 1.0])


def test_stacked_tensors_have_norms_of_their_own():
    rng = np.random.default_rng(1)
    a, b = (jnp.asarray(f * rng.normal(size=(4, 3)), jnp.float32) for f in (1, 9))
    settings = Settings(steps=5)

    apart = learn_norms(quartic, [a, b], [()], KEY, tuned=[True] * 2, settings=settings)
    stacked = learn_norms(
        quartic,
        [jnp.stack([a, b], 1)],
        [()],
        KEY,
        tuned=[True],
        stacked=[(1,)],
        settings=settings,
    )

    assert stacked[0].shape == (1, 2, 1)
    np.testing.assert_allclose(
        stacked[0].ravel(), [float(s.squeeze()) for s in apart], rtol=1e-5
    )


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = jnp.tanh(nn.Dense(8)(x))
        return nn.Dense(4)(x)


START = rules([("**/kernel", changed(lambda w: 3 * w))])


def test_scheme_lowers_the_quotient_and_keeps_directions():
    x = jax.random.normal(KEY, (64, 6))
    labels = jax.random.randint(KEY, (64,), 0, 4)
    network, _ = prepare(MLP(), (x,), {}, ())
    loss = with_network(network, cross_entropy)

    @jax.jit
    def quotient(variables):
        params = jax.tree.leaves(variables["params"])
        return gradient_quotient(lambda p: loss(p, ([x], labels), KEY, []), params)

    before = initialize(MLP(), START, 0, x)
    after = initialize(MLP(), metainit(start=START, steps=100), 0, x)

    # Saturated tanh layers curve: measured 3.6 before and 0.21 after.
    assert float(quotient(after)) < 0.5 * float(quotient(before))
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if old.ndim < 2:
            np.testing.assert_array_equal(new, old)
        else:
            assert np.linalg.norm(new) > 0
            np.testing.assert_allclose(
                new / np.linalg.norm(new), old / np.linalg.norm(old), atol=1e-6
            )
            assert abs(np.linalg.norm(new) / np.linalg.norm(old) - 1) > 0.01


def test_same_under_jit_with_batches_and_without():
    x = jax.random.normal(KEY, (8, 6))
    batches = [(x, jnp.zeros(8, jnp.int32)), (2 * x, jnp.ones(8, jnp.int32))]
    kept = ("Dense_1/kernel", changed(lambda w: w))
    for scheme in (metainit(steps=3), metainit(batches=batches, steps=3)):
        scheme = override(scheme, [kept])
        eager = initialize(MLP(), scheme, 0, x)
        jitted = jax.jit(lambda key, s=scheme: initialize(MLP(), s, key, x))(KEY)

        for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        own = MLP().init(KEY, x)["params"]["Dense_1"]["kernel"]
        np.testing.assert_array_equal(eager["params"]["Dense_1"]["kernel"], own)


class Tokens(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        return nn.Dense(5)(jnp.tanh(nn.Dense(4)(nn.Embed(7, 4)(tokens))))


def test_tokens_are_drawn_from_their_table():
    seen = []

    def loss(logits, labels):
        jax.debug.callback(lambda *v: seen.append(v), logits.shape[0], labels)
        return cross_entropy(logits, labels)

    tokens = jnp.zeros((6, 3), jnp.int32)
    variables = initialize(Tokens(), metainit(loss, steps=2), 0, tokens)
    jax.effects_barrier()

    labels = np.stack([v[1] for v in seen])
    assert labels.shape[1:] == (6, 3)
    assert labels.min() >= 0
    assert labels.max() <= 4
    assert len(np.unique(labels)) > 2
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(variables))


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (nn.Dense(1), np.ones((4, 3), np.float32), r"returns \[4, 1\]"),
        (
            nn.Sequential([lambda x: x.astype(jnp.float32), nn.Dense(3)]),
            np.ones((4, 3), np.int32),
            r"cannot draw `args\[0\]`, of dtype int32",
        ),
    ],
)
def test_what_cannot_be_drawn_needs_batches(model, x, message):
    with pytest.raises(ValueError, match=message):
        initialize(model, metainit(steps=1), 0, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "`steps` must be an integer of at least 0, got -1"),
        ({"learning_rate": 0.0}, r"`learning_rate` must be in \(0, inf\)"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\), got 1"),
        ({"eps": 0.0}, r"`eps` must be in \(0, inf\)"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        metainit(**options)
