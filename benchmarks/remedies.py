"""How often the first printed remedy mends: on the planted faults of the tests.

The line is taken from the report as it is printed, its text is evaluated, and the
model is analyzed with it on seeds that nobody tried it on. What is a change of the
model's code is counted apart: it was not tried, and the table says so.

Run as ``python -m benchmarks.remedies``; names after it choose models.
"""

import sys
import time
import warnings

import jaxinit
from jaxinit.signal.remedies.candidate import evaluated
from tests.verdict.planted import FAULTY, Net

SEEDS, FRESH = 8, range(100, 108)


def main() -> None:
    """Prints a line for each model, and the counts at the end."""
    warnings.simplefilter("ignore")
    start, wanted = time.process_time(), sys.argv[1:]
    counts = {"mends": 0, "code": 0, "fails": 0}
    trying = analyzing = 0.0
    for planted in FAULTY:
        if wanted and planted.name not in wanted:
            continue
        model, loss = Net(planted.body), planted.loss
        clock = time.perf_counter()
        report = jaxinit.analyze(
            model, planted.x, seeds=SEEDS, loss=loss, progress=False
        )
        whole = time.perf_counter() - clock
        spent = report.settings.get("remedy_seconds", 0.0)
        trying, analyzing = trying + spent, analyzing + whole - spent
        remedy = report.remedies[0] if report.remedies else None
        result = "fails"
        if remedy is not None and remedy.scheme is None and not remedy.tried:
            result = "code"
        elif remedy is not None:
            x, scheme = planted.x, None
            if remedy.change == "inputs":
                x = (x - x.mean()) / x.std()
            if remedy.scheme is not None:
                scheme = evaluated(remedy.scheme)
            again = jaxinit.analyze(
                model,
                x,
                seeds=list(FRESH),
                loss=loss,
                scheme=scheme,
                progress=False,
                remedies="none",
            )
            result = "mends" if again.verdict == "ok" else "fails"
        counts[result] += 1
        print(f"{result:5} {planted.name}: {report.verdict}", flush=True)
        print(f"      {remedy.printed if remedy else report.findings[0].remedy}")
    total = sum(counts.values())
    print(
        f"the first remedy mends on fresh seeds: {counts['mends']} of {total}; is a "
        f"change of the model's code, not tried: {counts['code']}; fails: "
        f"{counts['fails']}"
    )
    print(f"trying took {trying:.0f} s where analyzing took {analyzing:.0f} s")
    print(f"{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
