"""Times `jaxinit.race` beside a plain loop of jitted training.

    python -m benchmarks.race [--quick] [--widths 64 16 128] [--seeds 8 32]

Each runs in processes of its own, with all that it imports and the data loaded before
the clock starts: cold is the first call, with all that it traces and compiles, warm a
later one. Medians over `--repeats` processes, by the clock and on all cores, are
printed and written to `benchmarks/results/race.txt`, and how far losses are apart.
"""

import argparse
import itertools
import os
import statistics
import sys
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.serve import ROOT, Worker

WAYS = ("race", "loop")
COLUMNS = ("cold s", "warm s", "cold cores", "warm cores")


def measured(spec: dict[str, Any], repeats: int) -> dict[str, dict[str, Any]]:
    """By way, seconds of a cold and of a warm call, and the losses."""
    found: dict[str, dict[str, Any]] = {
        way: {column: [] for column in COLUMNS} for way in WAYS
    }
    for _ in range(repeats):
        for way in WAYS:
            given = "race_worker", {**spec, "way": way}, sys.executable, 900.0
            worker = Worker(*given, env={"JAX_ENABLE_COMPILATION_CACHE": "false"})
            calls = worker.run(), worker.run()
            worker.end()
            seconds = [call[kind] for kind in ("wall", "cores") for call in calls]
            for column, value in zip(COLUMNS, seconds, strict=True):
                found[way][column].append(value)
            found[way]["losses"] = np.asarray(calls[1]["losses"])
    return found


def lines_of(spec: dict[str, Any], found: dict[str, dict[str, Any]]) -> list[str]:
    """A table of one size."""
    what = "MLP {depth} x {width}, 2 schemes x 3 rates x {seeds} seeds, {steps} steps"
    head = "".join(f"{column:>12}" for column in COLUMNS)
    lines = ["", what.format(**spec), f"  {'':6}{head}"]
    medians = {
        way: [statistics.median(found[way][column]) for column in COLUMNS]
        for way in WAYS
    }
    race, loop = (medians[way] for way in WAYS)
    ratios = [a / b for a, b in zip(race, loop, strict=True)]
    for name, values in {**medians, "ratio": ratios}.items():
        lines.append(f"  {name:6}" + "".join(f"{value:12.2f}" for value in values))
    apart = np.abs(found["race"]["losses"] - found["loop"]["losses"]).max()
    return [*lines, f"  largest difference of a loss in the first half: {apart:.2g}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and once")
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 16, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.depth, options.widths, options.seeds = 3, [32], [4]
        options.steps, options.repeats = 50, 1
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"jaxinit.race beside a plain loop, {cores} cores, load "
        f"{os.getloadavg()[0]:.1f}, jax {version('jax')}, median of {options.repeats}"
    ]
    print(lines[0])
    for width, seeds in itertools.product(options.widths, options.seeds):
        spec = {"depth": options.depth, "width": width}
        spec |= {"seeds": seeds, "steps": options.steps}
        more = lines_of(spec, measured(spec, options.repeats))
        print(*more, sep="\n", flush=True)
        lines += more
    name = "race-quick.txt" if options.quick else "race.txt"
    path = ROOT / "benchmarks" / "results" / name
    path.write_text("\n".join(lines) + "\n")
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
