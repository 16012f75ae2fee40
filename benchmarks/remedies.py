"""How often the first printed remedy mends: on the planted faults of the tests.

The first remedy of a report is applied as it is printed, by evaluating its text, and
the model is analyzed with it on seeds that nobody tried it on. What is a change of the
model's code was not tried and is counted apart.

Run as ``python -m benchmarks.remedies``; names after it choose models.
"""

import sys
import time
import warnings
from typing import Any, NamedTuple

from flax import linen as nn

import jaxinit
from jaxinit.report.report import Report
from jaxinit.signal.remedies.candidate import evaluated
from tests.verdict.models.case import Net
from tests.verdict.models.every import FAULTY

SEEDS, FRESH = 8, range(100, 108)


class Case(NamedTuple):
    """A faulty model, and what it is fed."""

    name: str
    model: Any
    inputs: tuple[Any, ...]
    options: dict[str, Any]


def main() -> None:
    """Prints a line for each model, and the counts at the end."""
    warnings.simplefilter("ignore")
    start, wanted = time.process_time(), sys.argv[1:]
    counts = {"mends": 0, "code": 0, "fails": 0, "ok": 0}
    trying = analyzing = 0.0
    for case in _cases():
        if wanted and case.name not in wanted:
            continue
        clock = time.perf_counter()
        report = _analyze(case, case.inputs, seeds=SEEDS)
        spent = report.settings.get("remedy_seconds", 0.0)
        trying += spent
        analyzing += time.perf_counter() - clock - spent
        result = _applied(case, report)
        counts[result] += 1
        shown = report.remedies[0].printed if report.remedies else "no remedy"
        print(f"{result:5} {case.name}: {report.verdict}\n      {shown}", flush=True)
    total = sum(counts.values()) - counts["ok"]
    print(
        f"of {total} models that are found faulty ({counts['ok']} are not) the first "
        f"remedy mends {counts['mends']} on fresh seeds, fails {counts['fails']}, and "
        f"is a change of the model's code for {counts['code']}"
    )
    print(f"trying took {trying:.0f} s where analyzing took {analyzing:.0f} s")
    print(f"{time.process_time() - start:.0f} s of CPU")


def _applied(case: Case, report: Report) -> str:
    """What comes of the first remedy."""
    if report.verdict == "ok":
        return "ok"
    if not report.remedies:
        return "fails"
    remedy = report.remedies[0]
    if not remedy.tried:
        return "code"
    inputs = case.inputs
    if remedy.line.startswith("x = (x"):
        inputs = tuple(
            (x - x.mean()) / x.std() if x.dtype.kind == "f" else x for x in inputs
        )
    scheme = None if remedy.scheme is None else evaluated(remedy.scheme)
    again = _analyze(case, inputs, seeds=list(FRESH), scheme=scheme, remedies="none")
    return "mends" if again.verdict == "ok" else "fails"


def _analyze(case: Case, inputs: tuple[Any, ...], **options: Any) -> Report:
    return jaxinit.analyze(
        case.model, *inputs, progress=False, **case.options, **options
    )


def _cases() -> list[Case]:
    """The planted faults."""
    found = []
    for f in FAULTY:
        whole = isinstance(f.model, type | nn.Module | jaxinit.Functional)
        model = f.model if whole else Net(f.model)
        found.append(Case(f.name, model, f.inputs, {"loss": f.loss, "rngs": f.rngs}))
    return found


if __name__ == "__main__":
    main()
