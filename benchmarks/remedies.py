"""How often the first printed remedy mends: on the planted faults of the tests.

The first remedy of a report is applied as it is printed, by evaluating its text, and
the model is analyzed with it on seeds that nobody tried it on. What is a change of the
model's code cannot be applied: it mends if it names the change that the model's cured
twin makes, at the place of the fault, and that twin is healthy on these seeds.

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
from tests.verdict.models.case import Faulty, Net
from tests.verdict.models.changes import names_the_change
from tests.verdict.models.every import FAULTY

SEEDS, FRESH = 8, range(100, 108)


class Case(NamedTuple):
    """A faulty model, and what it is fed."""

    name: str
    model: Any
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    planted: Faulty


def main() -> None:
    """Prints a line for each model, and the counts at the end."""
    warnings.simplefilter("ignore")
    start, wanted = time.process_time(), sys.argv[1:]
    counts = {"mends": 0, "code": 0, "fails": 0, "other": 0, "ok": 0}
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
        f"remedy mends {counts['mends'] + counts['code']}: {counts['mends']} as "
        f"evaluated, on fresh seeds, and {counts['code']} as the change of code that "
        f"the healthy twin makes; {counts['fails']} fail, and {counts['other']} name "
        "another change of code"
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
        return _named(case, report)
    inputs = case.inputs
    if remedy.line.startswith("x = (x"):
        inputs = tuple(_rewritten(x, remedy.line) for x in inputs)
    scheme = None if remedy.scheme is None else evaluated(remedy.scheme)
    again = _analyze(case, inputs, seeds=list(FRESH), scheme=scheme, remedies="none")
    return "mends" if again.verdict == "ok" else "fails"


def _rewritten(x: Any, line: str) -> Any:
    """An input of real numbers, as a line of code makes it; others as they are."""
    if x.dtype.kind != "f":
        return x
    return eval(line.partition("  # ")[0].removeprefix("x = "), {"x": x})


def _named(case: Case, report: Report) -> str:
    """What comes of a change of code: the same as of the twin, if it is the twin's."""
    line, planted = report.remedies[0].line, case.planted
    if not names_the_change(planted, line, report.findings[0]):
        return "other"
    twin = planted.twin
    cured = Case(
        case.name,
        _whole(twin.model),
        twin.inputs,
        {"loss": twin.loss, "rngs": twin.rngs},
        planted,
    )
    again = _analyze(cured, cured.inputs, seeds=list(FRESH), remedies="none")
    return "code" if again.verdict == "ok" else "fails"


def _analyze(case: Case, inputs: tuple[Any, ...], **options: Any) -> Report:
    return jaxinit.analyze(
        case.model, *inputs, progress=False, **case.options, **options
    )


def _cases() -> list[Case]:
    """The planted faults."""
    return [
        Case(f.name, _whole(f.model), f.inputs, {"loss": f.loss, "rngs": f.rngs}, f)
        for f in FAULTY
    ]


def _whole(model: Any) -> Any:
    """A model: the body of a linen module with a module around it."""
    whole = isinstance(model, type | nn.Module | jaxinit.Functional)
    return model if whole else Net(model)


if __name__ == "__main__":
    main()
