"""How often the verdict is right: on planted faults, their cured twins, healthy models.

Run as ``python -m benchmarks.verdict``; names after it choose models, ``--part 1/4``
the first of four equal parts. Each family is analyzed with 8 seeds.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from jaxinit.report.report import Report
from tests.verdict.models.case import Faulty, Healthy, analyze, is_right
from tests.verdict.models.every import FAULTY, HEALTHY
from tests.verdict.sentences import SAID

OTHERS = ("cured twins", "healthy models")


def main() -> None:
    """Prints a line for each miss, a table of kinds, and the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of models; by default all")
    parser.add_argument("--part", default="1/1", help="as in 2/4: the second of four")
    given = parser.parse_args()
    number, parts = map(int, given.part.split("/"))

    def chosen(cases: Sequence[Any]) -> list[Any]:
        named = [c for c in cases if not given.names or c.name in given.names]
        return named[number - 1 :: parts]

    start = time.process_time()
    right: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for case in chosen(FAULTY):
        _faulty(case, right, count)
    for case in chosen(HEALTHY):
        _healthy(case, right, count)
    print("kind                right     of")
    for kind in [*sorted(set(count) - {*OTHERS}), *OTHERS]:
        print(f"{kind:18} {right[kind]:6} {count[kind]:6}")
    faulty = sum(count[k] for k in count if k not in OTHERS)
    named = sum(right[k] for k in count if k not in OTHERS)
    print(f"right kind and place: {named} of {faulty} faulty models")
    print(f"{time.process_time() - start:.0f} s of CPU")


def _faulty(case: Faulty, right: Counter[str], count: Counter[str]) -> None:
    report = analyze(case)
    count[case.kind] += 1
    if is_right(case, report):
        right[case.kind] += 1
    else:
        _show(f"MISSED {case.name}: {case.kind} {case.place}", report)
    _missing(case.name, report)
    count["cured twins"] += 1
    twin = analyze(case.twin)
    right["cured twins"] += twin.verdict == "ok"
    if twin.verdict != "ok":
        _show(f"ACCUSED, cured twin of {case.name}", twin)
    _missing(f"twin of {case.name}", twin)


def _healthy(case: Healthy, right: Counter[str], count: Counter[str]) -> None:
    report = analyze(case)
    count["healthy models"] += 1
    right["healthy models"] += report.verdict == "ok"
    if report.verdict != "ok":
        _show(f"ACCUSED {case.name}", report)
    _missing(case.name, report)


def _show(headline: str, report: Report) -> None:
    print(headline)
    print(*(f"    {f}" for f in report.findings), sep="\n", flush=True)


def _missing(name: str, report: Report) -> None:
    """Sentences that this model should cause and does not."""
    text = " ".join(f"{f.message} {f.remedy or ''}" for f in report.findings)
    text += " ".join(report.notes)
    for piece in SAID.get(name, ()):
        if piece not in text:
            print(f"NOT SAID by {name}: {piece}", flush=True)


if __name__ == "__main__":
    main()
