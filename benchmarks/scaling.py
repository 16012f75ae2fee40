"""How the cost of an analysis grows: with seeds, depth, width, blocks and devices.

Every point is a process of its own. On a CPU devices are played by XLA, each with its
share of the cores.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serve import Failed, Worker

Points = dict[int, dict[str, float]]


class Page(NamedTuple):
    """One quantity that grows, with everything else held.

    Attributes:
      title: what grows and what is held.
      values: of what grows.
      quick: in a quick run.
      spec: for each value, the workload, its sizes and the seeds.
      shown: which of the costs to plot: ``compile``, ``warm``, ``peak``.
    """

    title: str
    values: Sequence[int]
    quick: Sequence[int]
    spec: Callable[[int], tuple[str, dict[str, int], int]]
    shown: tuple[str, ...]


def _mlp(depth: int, width: int, seeds: int) -> tuple[str, dict[str, int], int]:
    return "mlp", {"depth": depth, "width": width, "batch": 16}, seeds


_BLOCKS = {"width": 64, "length": 32, "batch": 2}
PAGES = {
    "seeds": Page(
        "seeds, MLP 4 x 64",
        (8, 64, 512, 4096),
        (8, 64),
        lambda n: _mlp(4, 64, n),
        ("warm", "peak"),
    ),
    "depth": Page(
        "depth, MLP x 64, 8 seeds",
        (10, 30, 100, 300, 1000),
        (5, 20),
        lambda n: _mlp(n, 64, 8),
        ("compile", "warm"),
    ),
    "width": Page(
        "width, MLP 4 deep, 8 seeds",
        (64, 256, 1024, 4096),
        (32, 128),
        lambda n: _mlp(4, n, 8),
        ("compile", "warm"),
    ),
    "blocks": Page(
        "blocks, GPT x 64, 8 seeds",
        (3, 12, 48, 96),
        (2, 6),
        lambda n: ("gpt-12", {"depth": n, **_BLOCKS}, 8),
        ("compile", "warm"),
    ),
    "devices": Page(
        "devices, MLP 10 x 256, 64 seeds",
        (1, 2, 4, 8),
        (1, 2),
        lambda n: _mlp(10, 256, 64),
        ("warm",),
    ),
}


def measure(
    page: str,
    quick: bool,
    python: str,
    limit: float,
    cpu: bool,
    step: Callable[[str], None],
) -> Points:
    """The costs at each value of a page; a point that failed is left out.

    Args:
      page: its name.
      quick: whether to take the few small values.
      python: the interpreter.
      limit: seconds for each run.
      cpu: whether devices are played by the CPU; on others there are as many as there
        are, and the page of devices is one point.
      step: is told what is being measured.
    """
    described = PAGES[page]
    found: Points = {}
    for value in described.quick if quick else described.values:
        step(f"{described.title}: {value}")
        workload, sizes, seeds = described.spec(value)
        env: dict[str, str] = {}
        if page == "devices" and cpu:
            env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={value}"
        elif page == "devices" and value > 1:
            continue
        spec: dict[str, Any] = {
            "workload": workload,
            "sizes": sizes,
            "seeds": seeds,
            "contender": "jaxinit",
        }
        try:
            with Worker("contenders", spec, python, limit, env) as worker:
                cold = worker.run()
                later = [worker.run() for _ in range(1 if quick else 3)]
        except Failed as failed:
            step(f"{described.title}: {value} {failed}")
            continue
        warm = statistics.median(run["wall"] for run in later)
        found[value] = {
            "cold": cold["wall"],
            "compile": cold["compiled"],
            "warm": warm,
            "peak": later[-1]["peak"],
        }
    return found


def table(page: str, points: Points) -> list[str]:
    lines = ["", f"cost against {PAGES[page].title}"]
    lines.append(f"  {page:>10}{'compile s':>12}{'cold s':>10}{'warm s':>10}{'MiB':>8}")
    for value, cost in points.items():
        lines.append(
            f"  {value:10}{cost['compile']:12.2f}{cost['cold']:10.2f}"
            f"{cost['warm']:10.3f}{cost['peak'] / 2**20:8.0f}"
        )
    return lines


def plot(pages: dict[str, Points], path: Path) -> None:
    """One panel a page, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(pages), 3.2), layout="constrained")
    axes = figure.subplots(1, len(pages), squeeze=False)[0]
    for ax, (page, points) in zip(axes, pages.items(), strict=True):
        described = PAGES[page]
        for what in described.shown:
            scale = 2**20 if what == "peak" else 1
            label = {"peak": "peak, MiB"}.get(what, f"{what}, s")
            costs = [max(cost[what], 1e-3) / scale for cost in points.values()]
            ax.loglog(list(points), costs, marker="o", label=label)
        ax.set_xlabel(described.title)
        ax.set_xticks(list(points), [str(value) for value in points])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend()
    figure.savefig(path, dpi=150)
