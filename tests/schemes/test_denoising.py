"""Denoising autoencoders: their error by definition, and that it falls."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from jaxinit.schemes.pretrain.denoising import (
    Autoencoder,
    denoising_autoencoder,
    reconstruction_error,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def digits():
    return jnp.asarray(load_digits().data[:600] / 16, jnp.float32)


@pytest.mark.parametrize("error", ["squared", "cross_entropy"])
def test_error_is_that_of_the_transposed_decoder(error):
    rng = np.random.default_rng(0)
    w, b, c = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=5)
    noisy, clean = rng.normal(size=(7, 5)), rng.uniform(size=(7, 5))
    coder = Autoencoder(*(jnp.asarray(x, jnp.float32) for x in (w, b, c)))

    found = reconstruction_error(
        coder,
        jnp.asarray(noisy, jnp.float32),
        jnp.asarray(clean, jnp.float32),
        jnp.tanh,
        error,
    )

    z = np.tanh(noisy @ w + b) @ w.T + c
    p = 1 / (1 + np.exp(-z))
    expected = {
        "squared": (z - clean) ** 2,
        "cross_entropy": -clean * np.log(p) - (1 - clean) * np.log(1 - p),
    }[error]
    np.testing.assert_allclose(found, expected.sum(1).mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("error", "hidden", "share"),
    # Of the cross-entropy the entropy of the grey values is always left.
    [("squared", jnp.tanh, 0.8), ("cross_entropy", jax.nn.sigmoid, 0.93)],
)
def test_clean_and_noisy_digits_are_reconstructed_better(digits, error, hidden, share):
    weight = jax.random.normal(KEY, (64, 24)) / 8
    method = denoising_autoencoder(
        corruption=0.3, error=error, optimizer=optax.adam(1e-2), epochs=10
    )

    trained = method.train(weight, jnp.zeros(24), digits, KEY, hidden=hidden)

    kept = jax.random.bernoulli(jax.random.key(1), 0.7, digits.shape)

    def best_error(weight, bias):
        """With the visible bias that suits it, found by gradient descent."""

        def of_bias(c):
            coder = Autoencoder(weight, bias, c)
            return reconstruction_error(coder, digits * kept, digits, hidden, error)

        def step(c, _):
            return c - 0.3 * jax.grad(of_bias)(c), None

        c, _ = jax.lax.scan(step, jnp.zeros(64), length=100)
        return float(of_bias(c))

    assert best_error(*trained) < share * best_error(weight, jnp.zeros(24))


def test_corruption_is_the_share_of_entries_lost():
    # With a hidden layer of the identity and unit weights, the error is what is lost.
    method = denoising_autoencoder(
        corruption=0.4, optimizer=optax.sgd(0.0), epochs=1, batch_size=500
    )
    seen = []

    def hidden(values):
        jax.debug.callback(lambda v: seen.append(np.mean(v == 0)), values)
        return values

    weight, _ = method.train(
        jnp.eye(20), jnp.zeros(20), jnp.ones((500, 20)), KEY, hidden=hidden
    )
    jax.effects_barrier()

    np.testing.assert_array_equal(weight, np.eye(20))
    # 10,000 entries: a standard error of 0.005.
    assert abs(np.mean(seen) - 0.4) < 0.025


def test_bias_is_learned_only_if_asked_and_loops_agree(digits):
    method = denoising_autoencoder(epochs=2)
    weight, bias = jax.random.normal(KEY, (64, 8)) / 8, jnp.full(8, 0.1)

    def train(key, learn_bias=True):
        return method.train(
            weight, bias, digits[:100], key, hidden=jnp.tanh, learn_bias=learn_bias
        )

    eager, jitted, fixed = train(KEY), jax.jit(train)(KEY), train(KEY, False)

    np.testing.assert_allclose(eager[0], jitted[0], rtol=1e-4, atol=1e-6)
    assert float(jnp.abs(eager[1] - bias).max()) > 1e-4
    np.testing.assert_array_equal(fixed[1], bias)


def test_cross_entropy_needs_probabilities(digits):
    method = denoising_autoencoder(error="cross_entropy", epochs=1)

    with pytest.raises(ValueError, match=r"got 0 to 16. Scale the data"):
        method.train(
            jnp.zeros((64, 2)), jnp.zeros(2), 16 * digits, KEY, hidden=jnp.tanh
        )


def test_divergence_is_an_error(digits):
    method = denoising_autoencoder(optimizer=optax.sgd(1e4), epochs=3)

    with pytest.raises(FloatingPointError, match="of 3 is"):
        method.train(jnp.ones((64, 2)), jnp.zeros(2), digits, KEY, hidden=lambda x: x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruption": 1.0}, r"`corruption` must be in \[0, 1\), got 1"),
        (
            {"error": "l1"},
            "`error` must be one of 'squared', 'cross_entropy', got 'l1'",
        ),
        ({"epochs": 0}, "`epochs` must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        denoising_autoencoder(**options)
