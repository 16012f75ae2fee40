"""Hidden units are found again after they were permuted."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxinit.schemes.initialize import prepare
from jaxinit.train.matching import find_chain, keeps_output, matched, permuted


class Chain(nn.Module):
    """Three layers; between the first two, what is given."""

    between: str = ""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(6)(x))
        if self.between == "softmax":
            x = nn.softmax(x)
        elif self.between == "roll":
            x = x + 0.5 * jax.numpy.roll(x, 1, -1)
        x = nn.tanh(nn.Dense(5)(x))
        return nn.Dense(2)(x)


def network_and_leaves(between=""):
    x = jax.random.normal(jax.random.key(0), (4, 3))
    network, _ = prepare(Chain(between), (x,), {}, ())
    params = Chain(between).init(jax.random.key(1), x)["params"]
    return network, [np.asarray(leaf) for leaf in jax.tree.leaves(params)], x


def output(network, x):
    return lambda leaves: [network.forward(list(leaves), [], jax.random.key(0), [x])]


def test_units_are_found_again():
    network, leaves, x = network_and_leaves()
    chain = find_chain(network)
    rng = np.random.default_rng(0)
    moved = permuted(leaves, chain, [rng.permutation(6), rng.permutation(5)])
    assert any((a != b).any() for a, b in zip(leaves, moved, strict=True))

    found = matched(leaves, moved, chain)

    for a, b in zip(leaves, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert keeps_output(network, chain, output(network, x), leaves)


@pytest.mark.parametrize(("between", "kept"), [("softmax", True), ("roll", False)])
def test_what_mixes_units_is_noticed(between, kept):
    network, leaves, x = network_and_leaves(between)
    chain = find_chain(network)

    found = chain is not None and keeps_output(
        network, chain, output(network, x), leaves
    )

    assert found == kept


def test_a_residual_network_is_no_chain():
    class Residual(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(6)(x)
            return nn.Dense(2)(x + nn.tanh(nn.Dense(6)(x)))

    x = jax.random.normal(jax.random.key(0), (4, 3))

    assert find_chain(prepare(Residual(), (x,), {}, ())[0]) is None
