"""Numbers of residual branches, and what they are made of."""

import pytest
from flax import linen as nn

from jaxinit.schemes.residual.structure import residual_structure
from tests.schemes import residual_models as models
from tests.zoo import ZOO


def _of(name):
    entry = ZOO[name]
    return residual_structure(
        entry.make(), *entry.args(), rngs=entry.streams, model_kwargs=dict(entry.kwargs)
    )


def test_resnet():
    structure = _of("resnet")

    assert structure.num_branches == 3
    assert [b.num_weights for b in structure.branches] == [2, 2, 2]
    assert structure.branches[1].weights == (
        "ResidualBlock_1/Conv_0/kernel",
        "ResidualBlock_1/Conv_1/kernel",
    )
    assert structure.branches[1].ends == ("ResidualBlock_1/Conv_1/kernel",)
    assert structure.branches[1].end_norms == ("ResidualBlock_1/BatchNorm_1/scale",)
    assert structure.branches[1].end_gains == ()


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("gpt", [(0,), (1,), (2,), (3,), (4,), (5,)]),
        ("gpt_scanned", [(0, 2, 4), (1, 3, 5)]),
        ("nnx_transformer", [(0,), (1,), (2,), (3,)]),
        ("nnx_scanned", [(0, 2, 4), (1, 3, 5)]),
        ("vit", [(0,), (1,)]),
    ],
)
def test_attention_counts_four_weights_and_an_mlp_two(name, numbers):
    structure = _of(name)

    assert structure.num_branches == sum(map(len, numbers))
    assert [b.numbers for b in structure.branches] == numbers
    assert [b.num_weights for b in structure.branches] == [4, 2] * (len(numbers) // 2)
    assert all(b.end_norms == () for b in structure.branches)


def test_encoder_and_decoder_are_two_streams():
    structure = _of("encoder_decoder")

    assert [b.stream for b in structure.branches] == [0, 0, 1, 1, 1]


def test_a_fused_projection_counts_three_times():
    x = models.vectors()[None]
    fused = residual_structure(models.Attending(2, fused=True), x)
    apart = residual_structure(models.Attending(2), x)

    assert [b.num_weights for b in fused.branches] == [4, 2]
    assert [b.num_weights for b in apart.branches] == [4, 2]


def test_a_scan_inside_a_branch_counts_each_layer():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            inner = nn.Dense(models.WIDTH, name="inner")
            x = x + nn.Dense(models.WIDTH)(models.scanned(inner, 3)(x))
            return nn.Dense(2)(x)

    (branch,) = residual_structure(Net(), models.vectors()).branches

    assert branch.num_weights == 4


def test_gains_at_the_end():
    structure = residual_structure(models.Gained(), models.vectors())

    assert structure.branches[0].end_gains == ("block_0/alpha",)
    assert structure.branches[0].end_norms == ()
    assert "Gained: 3 residual branches" in str(structure)
    assert "2: 2 weights, block_2/fc/kernel, block_2/proj/kernel" in str(structure)


def test_a_network_without_branches():
    assert _of("mlp").branches == ()
