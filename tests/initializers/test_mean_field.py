"""What LeCun's, He's and PyTorch's rules do to a signal, layer after layer."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji

# The pre-activations' second moment after 5, 10, 20 and 50 layers from 1, with weights
# of variance 1/fan-in and no biases; four digits, by another program.
LECUN = {
    "relu": (0.03125, 9.766e-4, 9.537e-7, 8.882e-16),
    "gelu_exact": (3.363e-3, 3.313e-6, 3.159e-12, 2.740e-30),
    "silu": (1.851e-3, 1.811e-6, 1.727e-12, 1.498e-30),
    "mish": (0.01048, 6.407e-5, 2.343e-9, 1.145e-22),
    "tanh": (0.1034, 0.05220, 0.02590, 0.01022),
    # The second is 0.0593651, also by E[elu(u)^2] in closed form.
    "elu": (0.1712, 0.05937, 0.01666, 2.701e-3),
    "selu": (1.000, 1.000, 1.000, 1.000),
    "sigmoid": (0.2647, 0.2647, 0.2647, 0.2647),
    "softplus": (0.8590, 0.8564, 0.8563, 0.8563),
}
LAYERS = (5, 10, 20, 50)


def walk(activation, scale=1.0, layers=LAYERS):
    """The second moments that infinite width gives after so many layers."""
    q, found = 1.0, []
    for layer in range(1, max(layers) + 1):
        q = scale * ji.activation_moments(activation, q).second_moment
        if layer in layers:
            found.append(q)
    return found


def assert_four_digits(got, expected):
    """Within half a unit of the fourth digit, and what rounding adds."""
    unit = 10.0 ** (np.floor(np.log10(expected)) - 3)
    wrong = np.abs(np.asarray(got) - expected) > 0.5001 * unit
    assert not wrong.any(), f"got {got}, expected {expected}"


@pytest.mark.parametrize("activation", LECUN)
def test_lecun_weights_shrink_all_but_selu(activation):
    assert_four_digits(walk(activation), LECUN[activation])


def test_four_digits_notice_the_fourth():
    with pytest.raises(AssertionError, match="expected"):
        assert_four_digits([0.1035], [0.1034])


@pytest.mark.parametrize(
    ("scale", "factor"),
    # He; LeCun, and Glorot on square kernels; PyTorch's U(-1, 1) / sqrt(fan-in).
    [(2.0, 1.0), (1.0, 1 / 2), (1 / 3, 1 / 6)],
)
def test_relu_loses_one_factor_a_layer(scale, factor):
    got = walk("relu", scale)

    np.testing.assert_allclose(got, [factor**layer for layer in LAYERS], rtol=1e-10)


def test_tanh_decays_like_one_over_twice_the_depth():
    (q,) = walk("tanh", layers=(300,))

    # The next term of the expansion is of relative size log(L) / L: 2% here.
    assert q * 2 * 300 == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("activation", "init", "scale"),
    [(jax.nn.relu, ji.he_normal(), 2.0), (jnp.tanh, ji.lecun_normal(), 1.0)],
    ids=["relu", "tanh"],
)
def test_a_network_of_finite_width_follows(activation, init, scale):
    width, layers, seeds = 256, 5, 64

    def second_moment(key):
        key, key_input = jax.random.split(key)
        h = jax.random.normal(key_input, (width,))
        # Exactly of second moment 1, where the walk begins.
        h = h * math.sqrt(width) / jnp.linalg.norm(h)

        def layer(h, key):
            return activation(h) @ init(key, (width, width)), None

        h, _ = jax.lax.scan(layer, h, jax.random.split(key, layers))
        return jnp.mean(h**2)

    q = jax.jit(jax.vmap(second_moment))(jax.random.split(jax.random.key(0), seeds))

    (expected,) = walk(activation, scale, (layers,))
    # Five standard errors, and 2% for the drift of order layers / width.
    error = 5 * float(jnp.std(q)) / math.sqrt(seeds) + 0.02 * expected
    assert abs(float(jnp.mean(q)) - expected) < error
