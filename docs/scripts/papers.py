"""Writes the pages' tables of what papers published beside what was measured.

    python -m examples.papers --keep && python docs/scripts/papers.py

From the records in `benchmarks/results/papers/` alone. `docs/papers.md` shows all of
them; other pages quote some, between markers that name the study and the claim's place:
`<!-- claim: he_2015 1 -->`. A test holds the pages equal to this.
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RECORDS = ROOT / "benchmarks" / "results" / "papers"
QUOTING = ("which-initialization.md",)
QUOTE = re.compile(r"(<!-- claim: (\w+) (\d+) -->\n).*?(<!-- end -->)", re.DOTALL)

INTRODUCTION = """# Papers, measured again

Each script in `examples/papers/` measures what a paper claims, at a size that a CPU
can bear, and says what was scaled down. A result that does not reproduce is shown as
such; a small network that disagrees with a paper does not refute it. What a paper
itself reports is quoted from memory: look it up before you cite it. This page is made
from the records of those runs by `python docs/scripts/papers.py`.

The full sizes ran one after another on one core. Seconds are by the clock, of machines
that did other work at the same time: they bound what a study costs.

| paper | claims that hold here | size | seconds |
|---|---|---|---|
"""


def records() -> dict[str, dict[str, Any]]:
    """By name."""
    found = [json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))]
    return {record["name"]: record for record in found}


def papers_page() -> str:
    """All studies, with their figures."""
    found = records()
    text = INTRODUCTION
    for name, record in found.items():
        held = sum(claim["holds"] for claim in record["claims"])
        title = _title(record["paper"])
        text += f"| [{title}](#{name}) | {held} of {len(record['claims'])} | "
        text += f"{record['mode']} | {record['seconds']:.0f} |\n"
    for name, record in found.items():
        text += (
            f"\n## {name}\n\n{record['paper']}.\n\n"
            f"![{record['claims'][0]['what']}](images/papers/{name}.svg)\n\n"
            "| | published | measured | |\n|---|---|---|---|\n"
            + "".join(_row(claim) for claim in record["claims"])
            + f"\nScaled down: {record['scaled']} Run with `python -m examples.papers."
            f"{name}{_flag(record)}`: the {record['mode']} size, {_size(record)}; "
            f"{record['seconds']:.0f} s, {record['machine']}, jax {record['jax']}.\n"
        )
    return text


def _title(paper: str) -> str:
    """The first author or what comes first, and the year where there is one."""
    first, *_, last = paper.split(", ")
    return f"{first}, {last}" if last.isdigit() else first


def _row(claim: dict[str, Any]) -> str:
    cells = (claim["what"], claim["published"], claim["measured"], _word(claim))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _word(claim: dict[str, Any]) -> str:
    return "holds" if claim["holds"] else "**does not hold here**"


def _flag(record: dict[str, Any]) -> str:
    return "" if record["mode"] == "full" else f" --{record['mode']}"


def _size(record: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_values(v)}" for key, v in record["size"].items())


def _values(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_values, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def quoted(text: str) -> str:
    """The text with its quotations renewed."""
    found = records()

    def renew(match: re.Match[str]) -> str:
        record = found[match[2]]
        claim = record["claims"][int(match[3])]
        said = (
            f"> {claim['what']}. Published: {claim['published']}. Measured: "
            f"{claim['measured']}; {_word(claim)} "
            f"([{match[2]}](papers.md#{match[2]})).\n"
        )
        return match[1] + said + match[4]

    return QUOTE.sub(renew, text)


if __name__ == "__main__":
    (DOCS / "papers.md").write_text(papers_page())
    for name in QUOTING:
        page = DOCS / name
        page.write_text(quoted(page.read_text()))
