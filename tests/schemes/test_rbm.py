"""Restricted Boltzmann machines: against their energy and against NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxinit.schemes.pretrain import rbm as module
from jaxinit.schemes.pretrain.rbm import (
    Machine,
    contrastive_divergence,
    hidden_probabilities,
    initial_visible_bias,
    rbm,
    visible_means,
)

KEY = jax.random.key(0)


def machine(rng, visible=4, hidden=3):
    shapes = ((visible, hidden), (hidden,), (visible,))
    return [rng.normal(size=shape) for shape in shapes]


def in_jax(arrays):
    return Machine(*(jnp.asarray(x, jnp.float32) for x in arrays))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def energy(w, b, c, v, h):
    return -(v @ w @ h + b @ h + c @ v)


def test_conditional_probabilities_are_those_of_the_energy():
    rng = np.random.default_rng(0)
    w, b, c = machine(rng)
    every_h = np.array(list(itertools.product([0, 1], repeat=3)))
    every_v = np.array(list(itertools.product([0, 1], repeat=4)))
    joint = np.exp([[-energy(w, b, c, v, h) for h in every_h] for v in every_v])

    of_hidden = (joint / joint.sum(1, keepdims=True)) @ every_h
    of_visible = (joint / joint.sum(0, keepdims=True)).T @ every_v

    m = in_jax([w, b, c])
    np.testing.assert_allclose(
        hidden_probabilities(m, jnp.asarray(every_v, jnp.float32)), of_hidden, rtol=1e-5
    )
    np.testing.assert_allclose(
        visible_means(m, jnp.asarray(every_h, jnp.float32), "binary"),
        of_visible,
        rtol=1e-5,
    )


def test_gaussian_means_minimize_the_energy():
    w, b, c = machine(np.random.default_rng(1))
    h = np.array([1.0, 0.0, 1.0])

    (found,) = visible_means(in_jax([w, b, c]), jnp.asarray(h[None]), "gaussian")

    # d/dv of |v - c|^2 / 2 - v W h is v - c - W h.
    np.testing.assert_allclose(found, c + w @ h, rtol=1e-5)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@pytest.mark.parametrize("steps", [1, 3])
def test_divergence_is_that_of_a_chain_in_numpy(visible, steps):
    rng = np.random.default_rng(2)
    w, b, c = machine(rng)
    data = rng.integers(0, 2, (6, 4)).astype(np.float64)

    found, error = contrastive_divergence(
        in_jax([w, b, c]),
        jnp.asarray(data, jnp.float32),
        KEY,
        steps=steps,
        visible=visible,
    )

    h0 = p = sigmoid(data @ w + b)
    errors = []
    for key in jax.random.split(KEY, steps):
        h = np.asarray(jax.random.uniform(key, p.shape)) < p
        v = h @ w.T + c
        v = sigmoid(v) if visible == "binary" else v
        p = sigmoid(v @ w + b)
        errors.append(np.sum((v - data) ** 2, 1).mean())
    expected = [(data.T @ h0 - v.T @ p) / 6, (h0 - p).mean(0), (data - v).mean(0)]
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(error, errors[0], rtol=1e-5)


def test_momentum_is_a_half_for_five_epochs_and_then_nine_tenths(monkeypatch):
    def constant(machine, data, key, *, steps, visible):
        del data, key, steps, visible
        return jax.tree.map(jnp.ones_like, machine), jnp.zeros(())

    monkeypatch.setattr(module, "contrastive_divergence", constant)
    data = jnp.full((4, 3), 0.5)

    _, bias = rbm(epochs=7, learning_rate=0.2).train(
        jnp.zeros((3, 2)), jnp.ones(2), data, KEY
    )

    velocity = expected = 0.0
    for epoch in range(7):
        velocity = (0.5 if epoch < 5 else 0.9) * velocity + 0.2
        expected += velocity
    np.testing.assert_allclose(bias, expected, rtol=1e-5)


def test_weights_begin_small_and_visible_biases_at_the_means():
    data = jnp.asarray(np.random.default_rng(3).uniform(size=(50, 6)), jnp.float32)
    data = data.at[:, 0].set(0).at[:, 1].set(1)

    binary = initial_visible_bias(data, "binary")
    gaussian = initial_visible_bias(data, "gaussian")

    np.testing.assert_allclose(sigmoid(binary[2:]), data.mean(0)[2:], rtol=1e-5)
    np.testing.assert_allclose(sigmoid(binary[:2]), [0.01, 0.99], rtol=1e-5)
    np.testing.assert_allclose(gaussian, data.mean(0))
    weight, bias = rbm(epochs=1, learning_rate=1e-9).train(
        jnp.ones((6, 2000)), jnp.ones(2000), data, KEY
    )
    # 12,000 samples: a relative standard error of 0.0065.
    assert abs(np.std(weight) / 0.01 - 1) < 0.033
    np.testing.assert_allclose(bias, 0, atol=1e-7)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_digits_are_reconstructed_better_with_training(visible):
    data = jnp.asarray(load_digits().data[:600] / 16, jnp.float32)
    if visible == "gaussian":
        data = (data - data.mean(0)) / jnp.maximum(data.std(0), 0.1)

    def error(weight, bias):
        m = Machine(weight, bias, initial_visible_bias(data, visible))
        seen = visible_means(m, hidden_probabilities(m, data), visible)
        return float(jnp.sum(jnp.square(seen - data), -1).mean())

    rate = 0.1 if visible == "binary" else 0.01
    method = rbm(visible=visible, learning_rate=rate, epochs=15)
    trained = method.train(jnp.zeros((64, 24)), jnp.zeros(24), data, KEY)

    # Without weights the reconstruction is the mean of the data.
    assert error(*trained) < 0.85 * error(jnp.zeros((64, 24)), jnp.zeros(24))


def test_same_under_jit_and_biases_that_are_not_learned_stay():
    data = jnp.asarray(load_digits().data[:100] / 16, jnp.float32)
    weight, bias = jnp.zeros((64, 4)), jnp.full(4, 0.3)

    def train(key):
        return rbm(epochs=2).train(weight, bias, data, key, learn_bias=False)

    eager, jitted = train(KEY), jax.jit(train)(KEY)

    np.testing.assert_allclose(eager[0], jitted[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(eager[1], bias)


def test_binary_units_need_probabilities():
    with pytest.raises(ValueError, match='choose visible="gaussian"'):
        rbm().train(jnp.zeros((3, 2)), jnp.zeros(2), jnp.full((4, 3), -1.0), KEY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"visible": "poisson"}, "`visible` must be one of 'binary', 'gaussian'"),
        ({"steps": 0}, "`steps` must be an integer of at least 1, got 0"),
        ({"learning_rate": 0.0}, r"`learning_rate` must be in \(0, inf\)"),
        ({"epochs": 0}, "`epochs` must be an integer of at least 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        rbm(**options)
