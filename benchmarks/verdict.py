"""How often the verdict is right: on planted faults, their cured twins, healthy models.

Run as ``python -m benchmarks.verdict``; names after it choose models. Each family is
analyzed with 8 seeds.
"""

import sys
import time
from collections import Counter

from jaxinit.report.report import Report
from tests.verdict.models.case import analyze, is_right
from tests.verdict.models.every import FAULTY, HEALTHY
from tests.verdict.sentences import SAID


def main() -> None:
    """Prints a line for each miss, a table of kinds, and the shares."""
    start, wanted = time.process_time(), sys.argv[1:]
    right: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for case in FAULTY:
        if wanted and case.name not in wanted:
            continue
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
    for healthy in HEALTHY:
        if wanted and healthy.name not in wanted:
            continue
        report = analyze(healthy)
        count["healthy models"] += 1
        right["healthy models"] += report.verdict == "ok"
        if report.verdict != "ok":
            _show(f"ACCUSED {healthy.name}", report)
        _missing(healthy.name, report)
    others = ("cured twins", "healthy models")
    print("kind                right     of")
    for kind in [*sorted(set(count) - {*others}), *others]:
        print(f"{kind:18} {right[kind]:6} {count[kind]:6}")
    faulty = sum(count[k] for k in count if k not in others)
    named = sum(right[k] for k in count if k not in others)
    print(f"right kind and place: {named} of {faulty} faulty models")
    print(f"{time.process_time() - start:.0f} s of CPU")


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
