"""The spectral parametrization: norms of kernels in all layouts, learning rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinit.initializers import normal
from jaxinit.schemes.explain import explain
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.rules import override
from jaxinit.schemes.width.spectral import spectral, spectral_multipliers
from tests.schemes.wide_models import GPT, MLP, TOKENS, VECTORS

IMAGES = jax.ShapeDtypeStruct((2, 6, 6, 3), jnp.float32)


def norm(matrix):
    return float(np.linalg.norm(np.asarray(matrix, np.float64), 2))


def draw(model, scheme, *args):
    return initialize(model, scheme, 0, *args)["params"]


@pytest.mark.parametrize("scanned", [False, True], ids=["unrolled", "scanned"])
def test_norms_of_a_transformer(scanned):
    params = draw(GPT(16, scanned=scanned), spectral(), TOKENS)

    for i in range(2):
        block = params["blocks"] if scanned else params[f"block_{i}"]
        block = jax.tree.map(lambda x, i=i: x[i], block) if scanned else block
        for name in ("query", "key", "value", "out"):
            matrix = block["attn"][name]["kernel"].reshape(16, 16)
            np.testing.assert_allclose(matrix.T @ matrix, np.eye(16), atol=1e-5)
        assert norm(block["fc"]["kernel"]) == pytest.approx(2, rel=1e-5)
        assert norm(block["proj"]["kernel"]) == pytest.approx(0.5, rel=1e-5)
    assert norm(params["head"]["kernel"]) == pytest.approx(np.sqrt(12 / 16), rel=1e-5)
    table = np.asarray(params["wte"]["embedding"])
    assert table.std() == pytest.approx(1, rel=4 / np.sqrt(2 * table.size))
    assert (params["ln_f"]["scale"] == 1).all()


def test_gaussian_norms_lie_within_a_factor_of_two():
    params = draw(MLP(256), spectral(law="normal"), VECTORS)

    for name, (inputs, outputs) in {
        "first": (8, 256),
        "second": (256, 256),
        "head": (256, 3),
    }.items():
        kernel = params[name]["kernel"]
        goal = np.sqrt(outputs / inputs)
        # A Gaussian matrix of deviation s has about the norm s (sqrt(in) + sqrt(out)).
        std = min(1, goal) / np.sqrt(inputs)
        predicted = std * (np.sqrt(inputs) + np.sqrt(outputs))
        assert norm(kernel) == pytest.approx(predicted, rel=0.15)
        assert 0.9 * goal < norm(kernel) < 2.1 * goal


def test_convolutions_are_matrices_from_patches():
    model = nn.Sequential(
        [nn.Conv(8, (3, 3)), nn.Conv(8, (3, 3), feature_group_count=2)]
    )
    params = draw(model, spectral(), IMAGES)

    dense = params["layers_0"]["kernel"]
    assert norm(dense.reshape(27, 8)) == pytest.approx(np.sqrt(8 / 27), rel=1e-5)
    grouped = params["layers_1"]["kernel"].reshape(36, 2, 4)
    for group in range(2):
        found = norm(grouped[:, group])
        assert found == pytest.approx(np.sqrt(4 / 36), rel=1e-5)

    # The whole map, from its action on every input.
    basis = jnp.eye(108).reshape(108, 6, 6, 3)
    whole = nn.Conv(8, (3, 3), use_bias=False).apply(
        {"params": {"kernel": dense}}, basis
    )
    assert norm(whole.reshape(108, -1)) <= np.sqrt(8 / 3)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("sgd", {"fc": 4.0, "proj": 0.25, "head": 0.75, "query": 1.0, "bias": 64.0}),
        ("adam", {k: 1 / n for k, n in [("fc", 16), ("proj", 64), ("head", 16)]}),
    ],
)
def test_learning_rates(optimizer, expected):
    rates = spectral_multipliers(GPT(16), TOKENS, optimizer=optimizer)

    block = rates["block_0"]
    found = {
        **{name: block[name]["kernel"] for name in ("fc", "proj")},
        "head": rates["head"]["kernel"],
        "query": block["attn"]["query"]["kernel"],
        "bias": block["fc"]["bias"],
    }
    expected = {"query": 1 / 16, "bias": 1.0} | expected
    assert found == expected
    assert rates["wte"]["embedding"] == (16 if optimizer == "sgd" else 1)
    scanned = spectral_multipliers(GPT(16, scanned=True), TOKENS, optimizer=optimizer)[
        "blocks"
    ]
    assert scanned == block


def test_convolutions_learn_by_their_patches():
    model = nn.Sequential(
        [nn.Conv(8, (3, 3)), nn.Conv(8, (3, 3), feature_group_count=2)]
    )
    rates = spectral_multipliers(model, IMAGES)

    assert rates["layers_0"]["kernel"] == 8 / 27
    assert rates["layers_1"]["kernel"] == 4 / 36


def test_explain_tells_the_norm():
    rows = {row.name: row for row in explain(MLP(16), spectral(), VECTORS).rows}

    assert rows["first/kernel"].law == "orthogonal, spectral norm 1.414"
    assert rows["first/bias"].rule == "(the model's own)"


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`law` must be one of orthogonal.*'laplace'"):
        spectral(law="laplace")
    tied = GPT(16, tied=True)
    with pytest.raises(ValueError, match="wte/embedding is both looked up"):
        initialize(tied, spectral(), 0, TOKENS)
    with pytest.raises(ValueError, match="wte/embedding is both looked up"):
        spectral_multipliers(tied, TOKENS)
    free = override(spectral(), [("wte/embedding", normal(1.0))])
    assert norm(draw(tied, free, TOKENS)["block_0"]["fc"]["kernel"]) < 2.001
    with pytest.raises(ValueError, match="is for weights, and LayerNorm has none"):
        initialize(nn.LayerNorm(), spectral(), 0, VECTORS)
