"""What does not train with Flax's default trains with a scheme.

Short runs of the example scripts, with margins far from the noise of a loss. In
processes of their own, since here it is running that takes time, not compiling.
"""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from examples.training import show

CHANCE = math.log(10)


def run(script: str, *arguments: str) -> dict[str, list[float]]:
    """The table that a script prints: by scheme, loss at the start, halfway, end."""
    ran = subprocess.run(
        [sys.executable, "-m", f"examples.{script}", *arguments],
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return parsed(ran.stdout)


def parsed(text: str) -> dict[str, list[float]]:
    rows = [line.rsplit(maxsplit=3) for line in text.splitlines()[1:]]
    return {name.strip(): [float(value) for value in rest] for name, *rest in rows}


def test_a_hundred_relu_layers():
    losses = run("deep_mlp", "--steps", "120")
    assert losses["flax default"] == pytest.approx([CHANCE] * 3, abs=0.02)
    for name in ("orthogonal", "lsuv"):
        assert losses[name][-1] < CHANCE - 0.3, name


def test_fifty_six_layers_without_normalization():
    sizes = ["--features", "8", "--batch", "32", "--steps", "100"]
    losses = run("deep_resnet", *sizes)
    assert losses["fixup"][0] == pytest.approx(CHANCE, abs=1e-3)
    assert losses["flax default"][-1] > CHANCE - 0.05
    assert losses["fixup"][-1] < CHANCE - 0.25


def test_eighteen_blocks_without_layer_norm():
    sizes = ["--width", "32", "--length", "16", "--steps", "60"]
    losses = run("deep_transformer", *sizes)
    assert min(losses["flax default"]) > math.log(128)
    assert losses["t_fixup"][-1] < 3.2


def test_the_table(capsys):
    show({"flax default": np.arange(20.0), "one": np.full(20, 0.5)})
    assert parsed(capsys.readouterr().out) == {
        "flax default": [0.0, 10.5, 18.5],
        "one": [0.5, 0.5, 0.5],
    }
