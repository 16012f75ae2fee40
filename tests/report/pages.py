"""Pages of many kinds, to be used in a browser.

    python -m tests.report.pages FOLDER    # writes pictures of them

The pictures are for the eye: wide and light, and narrow and dark as on a phone.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxinit.report.html import page
from jaxinit.report.report import Report
from jaxinit.verdict.judge import judged
from tests.report.chromium import Chromium, program
from tests.report.synthetic import make_report, row, walk

HOSTILE = (
    *(
        "</script><script>window.hacked=1</script>",
        "<img src=x onerror=window.hacked=1>",
    ),
    *("a\x1b[31m\nVerdict: ok", "\u202eevil", "\ud800", "x&y\"'"),
)


class Case(NamedTuple):
    """A page and what a reader finds on it.

    Attributes:
      text: HTML.
      rows: how many rows the first report has.
      word: to filter by.
      matches: how many rows it leaves.
      more: metrics that can be picked.
      columns: columns of numbers to sort by.
      exponents: how many bins the histogram of the first row has, if it has one.
    """

    text: str
    rows: int
    word: str
    matches: int
    more: tuple[str, ...] = ("cos",)
    columns: tuple[str, ...] = ("E[x²]", "grad rms")
    exponents: int = 0

    def expected(self) -> dict[str, Any]:
        return {name: v for name, v in self._asdict().items() if name != "text"}


def few() -> Report:
    """Twelve rows, some with names that are markup, one that overflows."""
    names = (*HOSTILE, *(f"mlp/Dense_{i}" for i in range(6)))
    moment = walk(16, 12, drift=-1.0, step=0.1)
    moment[:, 5] = -np.inf
    return judged(make_report(tuple(map(row, names)), log2_moment=moment))


def many() -> Report:
    """Five hundred rows of 84 blocks, 64 seeds."""
    rows = tuple(row(f"Block_{i // 6}/Dense_{i % 6}") for i in range(500))
    moment = walk(64, 500, drift=-0.05, step=0.05)
    return judged(make_report(rows, log2_moment=moment, num_seeds=64))


def asked_for(count: int = 12) -> Report:
    """Metrics that few reports have, and what theory expects."""
    none = np.full((16, count), np.nan)
    entropy, ratio = none.copy(), none.copy()
    entropy[:, 1::3] = np.random.default_rng(0).uniform(0.8, 1, entropy[:, 1::3].shape)
    ratio[:, 2::3] = 2.0 ** walk(16, count, drift=0.0, step=0.5)[:, 2::3]
    theory = np.exp2(-np.arange(count, dtype=float))
    theory[count // 2 :] = np.nan
    rows = tuple(row(f"Block_{i // 3}/Dense_{i % 3}") for i in range(count))
    bins = np.exp(-np.abs(np.abs(np.arange(129) - 64.0) - 40) / 3)
    return judged(
        make_report(
            rows,
            log2_moment=walk(16, count, drift=-1.0, step=0.1),
            forward={"attn_entropy": entropy, "branch_ratio": ratio},
            model={"jacobian_mean": np.full(16, 1.25)},
            histograms={rows[0].name: np.tile(bins, (16, 1))},
            predicted={
                "second_moment": theory,
                "second_moment_z": np.where(np.isnan(theory), np.nan, -1.5),
            },
        )
    )


def cases() -> dict[str, Case]:
    """Pages by name."""
    asked = ("attn_entropy", "branch_ratio")
    return {
        "12 rows": Case(page({"": few()}), 12, "mlp/dense", 6),
        "500 rows": Case(page({"": many()}), 500, "Block_7/", 6),
        "asked for": Case(
            page({"": asked_for()}),
            *(12, "block_1/", 3),
            (*asked, "mean", "absmax"),
            ("E[x²]", "predicted", "off/se", *asked),
            exponents=129,
        ),
        "compared": Case(page({"own": few(), "<b>he": few()}), 12, "mlp/dense", 6),
    }


def main(folder: Path) -> None:
    """Writes the pictures."""
    found = program()
    if found is None:
        raise SystemExit("needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as there:
        with Chromium(found, Path(there) / "profile") as browser:
            for name, case in cases().items():
                path = Path(there) / f"{name}.html"
                path.write_text(case.text)
                for width, scheme in ((1200, "light"), (390, "dark")):
                    browser.resize(width, scheme)
                    browser.open(path)
                    browser.evaluate("document.querySelector('select').value = '0'")
                    browser.evaluate(
                        "document.querySelector('select').dispatchEvent("
                        "new Event('change'))"
                    )
                    browser.screenshot(folder / f"{name}-{width}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
