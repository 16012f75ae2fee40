"""Growth along a stream, with branches scaled by their number and without."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.residual.branch_scaling import branch_scaling
from tests.initializers.checks import assert_moments
from tests.schemes import residual_models as models
from tests.zoo import ZOO

DEPTH = 10


def _growth(scheme, num_seeds=32, width=128):
    """Second moments at the end over those at the start, one for each seed."""
    model = models.PlainSum(DEPTH)
    x = jax.random.normal(jax.random.key(7), (64, width))

    def one(key):
        y = model.apply(initialize(model, scheme, key, x), x)
        return jnp.square(y).sum() / jnp.square(x).sum()

    keys = jax.random.split(jax.random.key(0), num_seeds)
    return np.asarray(jax.jit(jax.vmap(one))(keys), np.float64)


def _assert_mean(samples, expected):
    stderr = samples.std(ddof=1) / math.sqrt(samples.size)
    assert stderr < 0.08 * expected
    mean = samples.mean()
    assert abs(mean - expected) < 5 * stderr, f"mean {mean}, expected {expected}"


def test_without_scaling_the_stream_doubles_with_each_branch():
    _assert_mean(_growth(jaxinit.he_normal()), 2.0**DEPTH)


def test_scaled_by_the_root_of_the_depth_it_grows_to_e():
    growth = _growth(branch_scaling())

    _assert_mean(growth, 2.59374246)
    with pytest.raises(AssertionError, match=r"mean 2\.\d+, expected 2\.72"):
        _assert_mean(growth, 2.59374246 * 1.05)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        ("1/L", (1 + 1 / DEPTH**2) ** DEPTH),
        (0.5, 1.25**DEPTH),
        (lambda count: count**-0.25, (1 + DEPTH**-0.5) ** DEPTH),
    ],
)
def test_other_factors(factor, expected):
    _assert_mean(_growth(branch_scaling(factor=factor), num_seeds=16), expected)


@pytest.mark.parametrize("name", ["gpt", "gpt_scanned"])
def test_scanned_and_unrolled_blocks_have_one_law(name):
    entry = ZOO[name]
    base = jaxinit.normal(1.0)
    params = initialize(entry.make(), branch_scaling(base), 0, *entry.args())["params"]
    blocks = [params.get(f"block_{i}", params.get("blocks")) for i in range(3)]

    def pooled(*path):
        found = []
        for block in blocks[:1] if "blocks" in params else blocks:
            for part in path:
                block = block[part]
            found.append(block["kernel"].ravel())
        return jnp.concatenate(found)

    # Six branches: two in each block.
    assert_moments(pooled("attn", "out"), mean=0.0, std=1 / math.sqrt(6))
    assert_moments(pooled("proj"), mean=0.0, std=1 / math.sqrt(6))
    assert_moments(pooled("attn", "query"), mean=0.0, std=1.0)
    assert_moments(pooled("fc"), mean=0.0, std=1.0)
    if "blocks" in params:
        each = params["blocks"]["proj"]["kernel"].std((1, 2)) * math.sqrt(6)
        assert float(abs(each - 1).max()) < 5 / math.sqrt(2 * 32 * 16)


def test_each_stream_counts_its_own_branches():
    entry = ZOO["encoder_decoder"]
    scheme = branch_scaling(jaxinit.ones)
    params = initialize(
        entry.make(), scheme, 0, *entry.args(), rngs=entry.streams, train=True
    )["params"]

    for stream, count in [("encoder", 2), ("decoder", 3)]:
        kernel = params[stream]["proj"]["kernel"]
        np.testing.assert_allclose(kernel, 1 / math.sqrt(count), rtol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"or '1/L', a number .* got '1/l'"):
        branch_scaling(factor="1/l")
    with pytest.raises(ValueError, match="`factor` must be finite, got inf"):
        branch_scaling(factor=float("inf"))
    with pytest.raises(TypeError, match="`base` must be an initializer"):
        branch_scaling(3.0)
    entry = ZOO["mlp"]
    with pytest.raises(ValueError, match=r"branch_scaling\(\) is for networks"):
        initialize(entry.make(), branch_scaling(), 0, *entry.args())
