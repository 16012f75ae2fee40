"""Relu networks that look linear."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji

KEY = jax.random.key(9)


def network(params, x):
    for w in params[:-1]:
        x = jax.nn.relu(x @ w)
    return x @ params[-1]


def layers(depth, width):
    keys = jax.random.split(KEY, depth + 2)
    return [
        ji.looks_linear(position="first")(keys[0], (width, 2 * width)),
        *(
            ji.looks_linear()(keys[i], (2 * width, 2 * width))
            for i in range(1, depth + 1)
        ),
        ji.looks_linear(position="last")(keys[-1], (2 * width, width)),
    ]


def test_the_network_is_linear_and_an_isometry():
    params = layers(20, 16)
    x = jax.random.normal(jax.random.key(1), (64, 16))
    product = params[0][:, :16]
    for w in params[1:]:
        product = product @ w[:16, :16]

    # 22 products in float32.
    np.testing.assert_allclose(network(params, x), x @ product, atol=2e-5)
    np.testing.assert_allclose(
        network(params, -3 * x), -3 * network(params, x), atol=5e-5
    )
    jacobian = jax.jacobian(lambda x: network(params, x))(x[0])
    np.testing.assert_allclose(
        jnp.linalg.svd(jacobian, compute_uv=False), np.ones(16), atol=2e-5
    )


def test_blocks_mirror_each_other():
    w0 = ji.normal(1.0)(KEY, (3, 3, 2, 4))

    hidden = ji.looks_linear(ji.normal(1.0))(KEY, (3, 3, 4, 8))
    first = ji.looks_linear(ji.normal(1.0), "first")(KEY, (3, 3, 2, 8))
    last = ji.looks_linear(ji.normal(1.0), "last")(KEY, (3, 3, 4, 4))

    row = np.concatenate([w0, -w0], axis=-1)
    np.testing.assert_array_equal(first, row)
    np.testing.assert_array_equal(hidden, np.concatenate([row, -row], axis=-2))
    np.testing.assert_array_equal(last, np.concatenate([w0, -w0], axis=-2))


def test_a_convolutional_network_is_linear():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for position, features in [("first", 8), ("hidden", 12), ("last", 3)]:
                init = ji.looks_linear(ji.he_normal(), position)
                x = nn.Conv(features, (3,), kernel_init=init)(x)
                x = x if position == "last" else jax.nn.relu(x)
            return x

    x, y = jax.random.normal(jax.random.key(2), (2, 1, 7, 5))
    net = Net()
    params = net.init(KEY, x)

    together = net.apply(params, x - 2 * y)
    np.testing.assert_allclose(
        together, net.apply(params, x) - 2 * net.apply(params, y), atol=1e-5
    )
    assert np.abs(together).max() > 0.1


@pytest.mark.parametrize(
    ("position", "shape"),
    [
        ("hidden", (3, 4)),
        ("hidden", (4, 3)),
        ("first", (4, 3)),
        ("last", (3, 4)),
    ],
)
def test_odd_sizes_are_refused(position, shape):
    with pytest.raises(ValueError, match=rf"must be even.* got \({shape[0]}, "):
        ji.looks_linear(position=position)(KEY, shape)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`position` .*got 'middle'"):
        ji.looks_linear(position="middle")
    with pytest.raises(ValueError, match=r"at least two axes.*got \(4,\)"):
        ji.looks_linear()(KEY, (4,))
    with pytest.raises(TypeError, match=r"`base` must be an initializer"):
        ji.looks_linear(3)
