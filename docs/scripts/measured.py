"""Writes the measured numbers of the README from the committed results of benchmarks.

    python docs/scripts/measured.py

A test holds the README equal to this, so that no number there outlives its file.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
START, END = "<!-- measured: start -->\n", "<!-- measured: end -->"


def lines() -> str:
    """What the README says between its markers."""
    return (
        f"- **It costs little more than the gradients themselves.** {_analysis()}\n"
        f"- **It compiles what others compile, in less time.** {_compiling()}\n"
        f"- **One forward pass initializes by data.** {_lsuv()}\n"
    )


def _analysis() -> str:
    text = (RESULTS / "analyze-cpu.txt").read_text()
    ratios = re.findall(r"analyze / best baseline +[\d.]+ +([\d.]+)", text)
    low, high = min(map(float, ratios)), max(map(float, ratios))
    return (
        f"With all statistics, a warm analysis takes {low:.2f} to {high:.2f} times the\n"
        "  bare loop over `init` and gradients "
        "([analyze-cpu.txt](benchmarks/results/analyze-cpu.txt))."
    )


def _compiling() -> str:
    text = (RESULTS / "initializers.txt").read_text()
    ours, theirs = re.search(
        r"he_normal \(3, 3, 16, 16\) +([\d.]+) +([\d.]+) s", text
    ).groups()
    return (
        f"A draw of a 3x3 convolution compiles in {ours} s\n"
        f"  where `jax.nn.initializers` takes {theirs} s "
        "([initializers.txt](benchmarks/results/initializers.txt))."
    )


def _lsuv() -> str:
    text = (RESULTS / "lsuv.txt").read_text()
    ratios = [float(r) for r in re.findall(r"ms +([\d.]+) +[\d.]+ s", text)]
    return (
        f"LSUV is {min(ratios):.0f} to {max(ratios):.0f} times faster\n"
        "  than the loop over layers of the paper "
        "([lsuv.txt](benchmarks/results/lsuv.txt))."
    )


def rewritten(text: str) -> str:
    """The text with what is between the markers renewed."""
    before, _, rest = text.partition(START)
    return before + START + lines() + END + rest.partition(END)[2]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewritten(readme.read_text()))
