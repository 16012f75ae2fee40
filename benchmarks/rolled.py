"""Whether blocks run as loops give what they give one by one, on the zoo of the tests.

    python -m benchmarks.rolled [MODEL ...]

Every model in which a block repeats is analyzed rolled and unrolled; printed are the
repeats (period x times), the largest difference of any statistic relative to the
largest value of its metric, and the seconds of both first calls on all cores. Where no
block repeats the two are one program.
"""

import sys
import time
from typing import Any

import numpy as np

import jaxinit
from jaxinit.layers.taps import plan_taps
from jaxinit.report.report import Report
from jaxinit.signal.bundle import find_rolled
from jaxinit.signal.prepare import Options, prepare
from tests.zoo import ZOO, Entry


def repeats(entry: Entry, model: Any) -> list[str]:
    """The repeats of a model; nothing is compiled."""
    options = Options(1, 0, None, "auto", None, None, None, entry.streams, roll=True)
    analysis = prepare(model, entry.args(), dict(entry.kwargs), options).analysis
    sites = analysis.sites
    found = find_rolled(analysis, plan_taps(sites.numbers, sites.events))
    return [f"{repeat.period} x {repeat.times}" for repeat in found]


def furthest(first: Report, second: Report) -> float:
    assert first.rows == second.rows
    worst = 0.0
    for group in ("forward", "backward", "weights"):
        for name, values in getattr(second, group).items():
            away = np.abs(getattr(first, group)[name] - values)
            largest = np.nanmax(np.abs(values), initial=1e-30)
            assert (np.isnan(getattr(first, group)[name]) == np.isnan(values)).all()
            worst = max(worst, float(np.nanmax(away, initial=0.0) / largest))
    return worst


def main() -> None:
    """A line a model."""
    wanted = sys.argv[1:] or list(ZOO)
    alike = 0
    print(f"{'model':24}{'repeats':>24}{'furthest':>11}{'rolled':>9}{'unrolled':>9}")
    for name in wanted:
        entry = ZOO[name]
        model = entry.make()
        model = jaxinit.Functional(*model) if entry.kind == "functional" else model
        found = repeats(entry, model)
        if not found:
            alike += 1
            continue
        reports, seconds = [], []
        for roll in (True, False):
            start = time.process_time()
            reports.append(
                jaxinit.analyze(
                    model,
                    *entry.args(),
                    seeds=2,
                    rngs=entry.streams,
                    roll=roll,
                    judge=False,
                    progress=False,
                    **entry.kwargs,
                )
            )
            seconds.append(time.process_time() - start)
        line = f"{name:24}{', '.join(found):>24}{furthest(*reports):11.1e}"
        print(line + f"{seconds[0]:9.2f}{seconds[1]:9.2f}", flush=True)
    print(f"no block repeats in {alike} of {len(wanted)} models")


if __name__ == "__main__":
    main()
