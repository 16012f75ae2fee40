"""Writes the measured numbers of the README from the committed results of benchmarks.

    python docs/scripts/measured.py

A test holds the README equal to this, so that no number there outlives its file.
"""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
BARE = ("loop", "threads")
OURS = ("jaxinit", "verdict", "judged")
START, END = "<!-- measured: start -->\n", "<!-- measured: end -->"
FAST_START, FAST_END = "<!-- fast: start -->\n", "<!-- fast: end -->"


def lines() -> str:
    """What the README says between its markers."""
    return "".join(
        textwrap.fill(f"- {said}", 88, subsequent_indent="  ", break_on_hyphens=False)
        + "\n"
        for said in (_analysis(), _compiling(), _lsuv())
    )


def _analysis() -> str:
    """Of the first call with 8 seeds, and of later ones with the most up to 64."""
    text = (RESULTS / "analyze-cpu.txt").read_text()
    cold: dict[tuple[str, int], list[float]] = {}
    warm: dict[tuple[str, int], list[float]] = {}
    for table in re.split(r"\n\n", text):
        title = re.match(r".*, (\d+) seeds\n", table)
        # Of the columns the second is the first call, the fifth a later one.
        rows = {
            row[0]: (float(row[2]), float(row[5]))
            for row in map(str.split, table.splitlines())
            if len(row) > 6 and row[0] in (*OURS, *BARE)
        }
        bare = [rows[name] for name in BARE if name in rows]
        for name in OURS:
            if title and bare and name in rows:
                for column, found in enumerate((cold, warm)):
                    ratio = rows[name][column] / min(row[column] for row in bare)
                    found.setdefault((name, int(title[1])), []).append(ratio)
    version = re.search(r" jax (\d+\.\d+)", text)
    assert version is not None
    many = max(seeds for _, seeds in warm if seeds <= 64)
    return (
        "**The cost is measured.** Against the best bare loop over init and gradients "
        f"on two CPU cores and jax {version[1]}, all statistics take "
        f"{_span(cold['jaxinit', 8])} times its first call with 8 seeds and "
        f"{_span(warm['jaxinit', many])} times a later one with {many}; with the "
        f"verdict, {_span(cold['verdict', 8])} and {_span(warm['verdict', many])}, "
        f"and with remedies tried, where it finds a fault, up to "
        f"{max(cold['judged', 8]):.1f} and {max(warm['judged', 8]):.1f} "
        "([analyze-cpu.txt](benchmarks/results/analyze-cpu.txt))."
    )


def _span(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def _compiling() -> str:
    text = (RESULTS / "initializers.txt").read_text()
    row = re.search(r"he_normal \(3, 3, 16, 16\) +([\d.]+) +([\d.]+) ", text)
    return (
        "**The same laws compile in a fraction of the time.** A draw of a 3x3 kernel "
        f"of 16 channels takes {row[1]} s to compile, where `jax.nn.initializers` "
        f"takes {row[2]} s ([initializers.txt](benchmarks/results/initializers.txt))."
    )


def fast() -> str:
    """What the README says of ``fast_init``, between markers of its own."""
    text = (RESULTS / "init.txt").read_text()
    rows = re.findall(
        r"M +([\d.]+) \([ \d.]+\) +([\d.]+) \(.* yes$", text, re.MULTILINE
    )
    said = (
        "**Your own init, fast.** `jaxinit.fast_init(model, key, x)` gives what "
        "`jax.jit(model.init)(key, x)` gives, bit for bit, in "
        f"{_span([float(fast) / float(jitted) for fast, jitted in rows])} of the time "
        "of its first call, each device its part where `shardings=` are given "
        "([init.txt](benchmarks/results/init.txt))."
    )
    return textwrap.fill(said, 88, break_on_hyphens=False) + "\n"


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
    for start, said, end in ((START, lines(), END), (FAST_START, fast(), FAST_END)):
        before, _, rest = text.partition(start)
        text = before + start + said + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewritten(readme.read_text()))
