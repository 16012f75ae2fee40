"""What does not train with Flax's default trains with a scheme.

Short runs of the example scripts, small but for their depth, with margins far from the
noise of a loss. The studies of `examples.papers` train for longer.
"""

import math

import numpy as np
import pytest

from examples import deep_mlp, deep_resnet, deep_transformer
from examples.training import show

CHANCE = math.log(10)


@pytest.fixture
def run(capsys):
    """The table that a script prints: by scheme, loss at the start, halfway, end."""

    def printed(script, *arguments: str) -> dict[str, list[float]]:
        script.main(arguments)
        return parsed(capsys.readouterr().out)

    return printed


def parsed(text: str) -> dict[str, list[float]]:
    rows = [line.rsplit(maxsplit=3) for line in text.splitlines()[1:]]
    return {name.strip(): [float(value) for value in rest] for name, *rest in rows}


def test_a_hundred_relu_layers(run):
    losses = run(deep_mlp, "--steps", "60")
    assert losses["flax default"] == pytest.approx([CHANCE] * 3, abs=0.02)
    for name in ("orthogonal", "lsuv"):
        # By then about 0.35 below; six batches of 128 tell it to 0.02.
        assert losses[name][-1] < CHANCE - 0.15, name


def test_fifty_six_layers_without_normalization(run):
    """How it begins; to train its convolutions takes minutes of a CPU.

    The study `zhang_2019_fixup` trains twice as many layers, and `tests/schemes` holds
    a step under Fixup to its law.
    """
    sizes = ["--features", "4", "--batch", "16", "--steps", "10"]
    losses = run(deep_resnet, *sizes)
    assert losses["flax default"][0] > CHANCE + 0.5
    assert losses["fixup"][0] == pytest.approx(CHANCE, abs=1e-3)
    assert losses["fixup"] == pytest.approx([CHANCE] * 3, abs=0.1)


def test_eighteen_blocks_without_layer_norm(run):
    sizes = ["--width", "16", "--length", "8", "--steps", "60"]
    losses = run(deep_transformer, *sizes)
    assert min(losses["flax default"]) > math.log(128)
    assert losses["t_fixup"][-1] < 3.2


def test_the_table(capsys):
    show({"flax default": np.arange(20.0), "one": np.full(20, 0.5)})
    assert parsed(capsys.readouterr().out) == {
        "flax default": [0.0, 10.5, 18.5],
        "one": [0.5, 0.5, 0.5],
    }
