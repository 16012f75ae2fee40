"""Times `jaxinit.analyze` beside what users would do without it, on this machine.

    python -m benchmarks [--quick] [--torch-python PATH] [--only mlp gpt-12 ...]

Finds the backend and runs the workloads of `benchmarks.models` with 8, 64 and 512
seeds, each contender of `benchmarks.contenders` and `benchmarks.hooks` in a process of
its own, one at a time and in turns; before them the pages of `benchmarks.scaling`,
behind them `benchmarks.initializers`. PyTorch has its own environment, whose
interpreter `--torch-python` names. It prints one table and writes it to one file of
`benchmarks/results`, with the device, the versions and the date.

- process: seconds from the start of the process to the first result, with imports;
- cold: the first call; cores: the same on all cores, which other work disturbs less;
- warm: the median of later calls, in turns; compile: cold less warm;
  each up to three times (``--repeats``), and not again once a contender has had 15
  seconds (``--patience``);
- peak: of memory, above what the process took before its first call (on an
  accelerator, of the device).
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from benchmarks import scaling
from benchmarks.contenders import BARE, OURS
from benchmarks.models import WORKLOADS
from benchmarks.serve import ROOT, Failed, Worker
from benchmarks.targets import floor, judged

RESULTS = ROOT / "benchmarks" / "results"
CONTENDERS = (*OURS, "flax", *BARE, "hooks")
_ABOUT = (
    "import jax, json; d = jax.devices(); "
    "print(json.dumps([jax.default_backend(), d[0].device_kind, len(d)]))"
)


class Suite:
    """A run of the suite: what is measured, and what was found so far."""

    def __init__(self, options: argparse.Namespace, backend: str) -> None:
        self.options = options
        self.backend = backend
        self.results: dict[tuple[str, int, str], dict[str, float]] = {}
        self.lines: list[str] = []

    def cases(self) -> list[tuple[str, int]]:
        """Workloads with numbers of seeds; heavy ones not with many on a CPU."""
        return [
            (name, seeds)
            for seeds in self.options.seeds
            for name in self.options.only
            if self.backend != "cpu" or seeds <= WORKLOADS[name].most
        ]

    def pages(self) -> list[str]:
        return ["depth"] if self.options.quick else list(scaling.PAGES)

    def contenders(self, name: str, seeds: int) -> list[str]:
        """Who is timed; on a CPU not all with many seeds, which would take a day.

        There many seeds in one program are slower than a loop, as the light workloads
        show with few.
        """
        spared: set[str] = set() if self.options.torch_python else {"hooks"}
        if self.options.contenders is None and self.backend == "cpu":
            if seeds > 8 or WORKLOADS[name].most < 512:
                spared |= {"chunks", "vmap"}
            if seeds > 8:
                spared |= {"judged", "flax"}
            if seeds > 64:
                spared |= {"verdict", "loop"}
        return [c for c in self.options.contenders or CONTENDERS if c not in spared]

    def compare(self, name: str, seeds: int, bar: Progress, task: Any) -> None:
        """One workload with one number of seeds: the table's next lines."""
        workload = WORKLOADS[name]
        sizes = workload.sizes(self.options.quick)
        spec = {"workload": name, "sizes": sizes, "seeds": seeds}
        lines = ["", f"{workload.title.format(**sizes)}, {seeds} seeds"]
        lines.append(
            f"  {'':9}{'process s':>10}{'cold s':>9}{'cores s':>9}{'compile s':>10}"
            f"{'warm s':>9}{'peak MiB':>10}"
        )
        first: dict[str, list[dict[str, Any]]] = {}
        workers: dict[str, Worker] = {}
        failed: dict[str, str] = {}
        contenders = self.contenders(name, seeds)
        for _ in range(self.options.repeats):
            for way in contenders:
                if way in failed or self._spent(first.get(way, ())):
                    continue
                bar.update(task, description=f"{name}, {seeds} seeds: {way}")
                if way in workers:
                    workers.pop(way).end()
                try:
                    workers[way] = self._start(spec, way)
                    first.setdefault(way, []).append(workers[way].run())
                except Failed as error:
                    failed[way] = str(error)
        later = self._in_turns(workers, failed)
        for way in contenders:
            if way in failed:
                lines.append(f"  {way:9} failed: {failed[way]}")
            else:
                cost = _cost(first[way], later[way])
                self.results[name, seeds, way] = cost
                lines.append(_line(way, cost, later[way][-1]))
        left = [way for way in CONTENDERS if way not in contenders]
        lines += [f"  not timed here: {', '.join(left)}"] if left else []
        lines += self._ratios(name, seeds) + self._ceiling(spec, name, seeds)
        self.say(lines, bar)

    def scale(self, bar: Progress, task: Any) -> None:
        """All pages, their tables and the plot."""
        pages = {}
        for page in self.pages():
            points = scaling.measure(
                page,
                self.options.quick,
                sys.executable,
                self.options.limit,
                self.backend == "cpu",
                lambda text: bar.update(task, description=text),
            )
            pages[page] = points
            for value, costs in points.items():
                for what, cost in costs.items():
                    self.results[page, value, what] = {"value": cost}
            self.say(scaling.table(page, points), bar)
            bar.advance(task)
        path = self.path(".png")
        scaling.plot(pages, path)
        self.say(["", f"plotted in {path.name}"], bar)

    def initializers(self, bar: Progress, task: Any) -> None:
        """`benchmarks.initializers`, with PyTorch's environment for its part of it."""
        command = ["-m", "benchmarks.initializers"]
        if self.options.quick:
            command += ["--quick", "--repeats", "1", "--only", "overhead"]
        if self.options.torch_python:
            command += ["--torch-python", self.options.torch_python]
        bar.update(task, description="initializers")
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        text = done.stdout if not done.returncode else done.stderr.strip()[-400:]
        self.say(["", "initializers", *text.splitlines()], bar)
        bar.advance(task)

    def judge(self, bar: Progress) -> None:
        """The targets: they are of the full sizes."""
        if not self.options.quick:
            self.say(["", *judged(self.results, self.backend)], bar)

    def path(self, suffix: str) -> Path:
        label = f"-{self.options.label}" if self.options.label else ""
        label += "-quick" if self.options.quick else ""
        return RESULTS / f"analyze-{self.backend}{label}{suffix}"

    def _start(self, spec: dict[str, Any], way: str) -> Worker:
        hooks = way == "hooks"
        return Worker(
            "hooks" if hooks else "contenders",
            {**spec, "contender": way},
            self.options.torch_python if hooks else sys.executable,
            self.options.limit,
        )

    def _in_turns(
        self, workers: dict[str, Worker], failed: dict[str, str]
    ) -> dict[str, list[dict[str, Any]]]:
        later: dict[str, list[dict[str, Any]]] = {way: [] for way in workers}
        for _ in range(self.options.repeats):
            for way, worker in workers.items():
                if way not in failed and not self._spent(later[way]):
                    try:
                        later[way].append(worker.run())
                    except Failed as error:
                        failed[way] = str(error)
        for worker in workers.values():
            worker.end()
        return later

    def _spent(self, runs: Sequence[dict[str, Any]]) -> bool:
        """Whether a contender has had its time, so that it is not run once more."""
        return sum(run["wall"] for run in runs) > self.options.patience

    def _ratios(self, name: str, seeds: int) -> list[str]:
        """The README's numbers are read from this line: of cold and of warm calls."""
        try:
            ratios = [
                self.results[name, seeds, "jaxinit"][what]
                / floor(self.results, name, seeds, what)
                for what in ("cold", "warm")
            ]
        except KeyError:
            return []
        return [f"  analyze / best baseline {ratios[0]:13.2f}{ratios[1]:28.2f}"]

    def _ceiling(self, spec: dict[str, Any], name: str, seeds: int) -> list[str]:
        """How much of what a product of matrices reaches here the analysis reaches."""
        cost = self.results.get((name, seeds, "jaxinit"))
        if cost is None or self.options.quick:
            return []
        try:
            with self._start(spec, "ceiling") as worker:
                best = worker.run()
        except Failed as error:
            return [f"  the ceiling was not measured: {error}"]
        reached = best["flops"] * seeds / cost["warm"]
        share = reached / best["ceiling"]
        return [
            f"  {reached / 1e9:.1f} GFLOP/s of products, {share:.0%} of the "
            f"{best['ceiling'] / 1e9:.0f} of one large product"
        ]

    def say(self, lines: Sequence[str], bar: Progress) -> None:
        """Prints what is known so far, and keeps it."""
        bar.console.print(
            "\n".join(lines), markup=False, highlight=False, soft_wrap=True
        )
        self.lines += lines
        RESULTS.mkdir(exist_ok=True)
        self.path(".txt").write_text("\n".join(self.lines) + "\n")


def _cost(
    first: Sequence[dict[str, Any]], later: Sequence[dict[str, Any]]
) -> dict[str, float]:
    def median(runs: Sequence[dict[str, Any]], what: str) -> float:
        return statistics.median(run[what] for run in runs)

    cold, warm = median(first, "wall"), median(later, "wall")
    cost = {
        "process": median(first, "process"),
        "cold": cold,
        "cores": median(first, "cores"),
        "compile": max(cold - warm, 0.0),
        "warm": warm,
        "peak": later[-1]["peak"],
    }
    if "ran" in later[-1]:
        cost["fixed"] = statistics.median(run["wall"] - run["ran"] for run in later)
    return cost


def _line(way: str, cost: dict[str, float], said: dict[str, Any]) -> str:
    line = f"  {way:9}{cost['process']:10.2f}{cost['cold']:9.2f}{cost['cores']:9.2f}"
    line += f"{cost['compile']:10.2f}{cost['warm']:9.3f}{cost['peak'] / 2**20:10.0f}"
    if "strategy" in said:
        line += f"  {said['strategy']}{', rolled' if said['rolled'] else ''}"
    return line


def about(backend: str, kind: str, count: int, torch_python: str | None) -> list[str]:
    """Device, versions, date and load, in words."""
    packages = ("jaxinit", "jax", "jaxlib", "flax", "numpy")
    versions = [f"{name} {version(name)}" for name in packages]
    if torch_python:
        say = "import torch; print(torch.__version__)"
        done = subprocess.run(
            [torch_python, "-c", say], capture_output=True, text=True, check=True
        )
        versions.append(f"torch {done.stdout.strip()}")
    return [
        "jaxinit.analyze beside what users would do without it",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {backend}: {kind} "
        f"x {count}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores, load "
        f"{os.getloadavg()[0]:.1f}",
        f"python {platform.python_version()}, {', '.join(versions)}",
    ]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--quick", action="store_true", help="under two minutes: small sizes, 8 seeds"
    )
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, help="workloads")
    parser.add_argument(
        "--seeds", nargs="+", type=int, help="default 8 64 512; quick 8"
    )
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        help="by default all; on a CPU fewer of heavy workloads and of many seeds",
    )
    parser.add_argument("--torch-python", metavar="PATH", help="of an environment")
    parser.add_argument("--repeats", type=int, help="default 3; quick 1")
    parser.add_argument(
        "--patience",
        type=float,
        default=15.0,
        help="seconds of runs after which a contender is not run once more",
    )
    parser.add_argument("--label", help="for the name of the results' file")
    parser.add_argument(
        "--limit", type=float, default=900.0, help="seconds that one run may take"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=("workloads", "scaling", "initializers"),
        default=["workloads", "scaling", "initializers"],
    )
    options = parser.parse_args(arguments)
    if options.torch_python:  # processes run in the repository's root
        options.torch_python = os.path.abspath(options.torch_python)
    quick = options.quick
    options.seeds = options.seeds or ([8] if quick else [8, 64, 512])
    # In small sizes the deeper of like models say nothing new.
    every = [name for name in WORKLOADS if not (quick and name.startswith("gpt-48"))]
    options.only = options.only or every
    options.repeats = options.repeats or (1 if quick else 3)
    if quick and options.contenders is None:
        options.contenders = ["jaxinit", "loop", "hooks"]
    return options


def main() -> None:
    """Runs the suite; what is known is on disk after every table.

    Ctrl-C ends it with the targets that were measured.
    """
    options = parse()
    # A process of its own: this one never takes the device.
    started = subprocess.run(
        [sys.executable, "-c", _ABOUT], capture_output=True, text=True
    )
    if started.returncode:
        sys.exit(f"jax does not start: {started.stderr.strip().splitlines()[-1]}")
    device = json.loads(started.stdout.splitlines()[-1])
    suite = Suite(options, device[0])
    cases = suite.cases() if "workloads" in options.parts else []
    total = len(cases) + len(suite.pages()) * ("scaling" in options.parts)
    total += "initializers" in options.parts
    with Progress(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    ) as bar:
        task = bar.add_task("", total=total)
        limits = f"up to {options.repeats} runs of each contender"
        limits += f", none begun after {options.patience:g} s of them"
        suite.say([*about(*device, options.torch_python), limits], bar)
        try:
            if "scaling" in options.parts:
                suite.scale(bar, task)
            for name, seeds in cases:
                suite.compare(name, seeds, bar, task)
                bar.advance(task)
            if "initializers" in options.parts:
                suite.initializers(bar, task)
        except KeyboardInterrupt:
            done = int(bar.tasks[0].completed)
            suite.say(["", f"interrupted: {done} of {total} parts were run"], bar)
        suite.judge(bar)
    print(f"written to {suite.path('.txt').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
