"""Writes the measured numbers of the README from the committed results of benchmarks.

    python docs/scripts/measured.py

A test holds the README equal to this, so that no number there outlives its file.
"""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
START, END = "<!-- measured: start -->\n", "<!-- measured: end -->"


def lines() -> str:
    """What the README says between its markers."""
    return "".join(
        textwrap.fill(f"- {said}", 88, subsequent_indent="  ", break_on_hyphens=False)
        + "\n"
        for said in (_analysis(), _compiling(), _lsuv())
    )


def _analysis() -> str:
    text = (RESULTS / "analyze-cpu.txt").read_text()
    ratios = re.findall(r"analyze / best baseline +([\d.]+) +([\d.]+)", text)
    cold, warm = zip(*((float(c), float(w)) for c, w in ratios), strict=True)
    return (
        f"**It costs {min(warm):.1f} to {max(warm):.1f} times the gradients.** With "
        "all statistics, against the best bare loop over init and gradients on two CPU "
        f"cores, once compiled; a first call takes {min(cold):.1f} to {max(cold):.1f} "
        "times that loop's first "
        "([analyze-cpu.txt](benchmarks/results/analyze-cpu.txt))."
    )


def _compiling() -> str:
    text = (RESULTS / "initializers.txt").read_text()
    row = re.search(r"he_normal \(3, 3, 16, 16\) +([\d.]+) +([\d.]+) ", text)
    return (
        "**The same laws compile in a fraction of the time.** A draw of a 3x3 kernel "
        f"of 16 channels takes {row[1]} s to compile, where `jax.nn.initializers` "
        f"takes {row[2]} s ([initializers.txt](benchmarks/results/initializers.txt))."
    )


def _lsuv() -> str:
    text = (RESULTS / "lsuv.txt").read_text()
    ratios = [float(r) for r in re.findall(r"ms +([\d.]+) +[\d.]+ s", text)]
    return (
        f"**One forward pass initializes by data.** LSUV is {min(ratios):.0f} to "
        f"{max(ratios):.0f} times faster than the paper's loop over layers "
        "([lsuv.txt](benchmarks/results/lsuv.txt))."
    )


def rewritten(text: str) -> str:
    """The text with what is between the markers renewed."""
    before, _, rest = text.partition(START)
    return before + START + lines() + END + rest.partition(END)[2]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewritten(readme.read_text()))
