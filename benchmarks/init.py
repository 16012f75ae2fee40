"""Times the drawing of weights: `jaxinit.fast_init` beside a model's own init.

    python -m benchmarks.init [--models convnet resnet-18 gpt-12 mlp] [--repeats N]
        [--quick] [--save]

- fast: `jaxinit.fast_init`, from tracing to the first weights;
- jitted: `jax.jit(model.init)`;
- eager: `model.init`, op by op.

Cold is the first draw in a process that has compiled none of it: wall clock, and beside
it the time on all cores, which other work on the machine disturbs less. Of the jitted
init the compiling is given as well. Warm is the median of later draws of new keys, the
two in turns. Values are compared bit for bit.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.models import WORKLOADS
from jaxinit import fast_init

RESULTS = Path(__file__).parent / "results" / "init.txt"


MODELS = ("convnet", "resnet-18", "gpt-12", "mlp")


def made(name: str) -> tuple[Any, jax.Array, dict[str, Any]]:
    """A workload's model, its input and keyword arguments; an init needs one sample."""
    workload = WORKLOADS[name]
    model, x = workload.made(workload.full | {"batch": 1})
    return model, x, workload.kwargs


class Time(NamedTuple):
    """Seconds by the clock, and summed over all cores."""

    wall: float
    cores: float


def timed(function: Callable[[], Any]) -> tuple[Any, Time]:
    wall, cores = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(function())
    return result, Time(time.perf_counter() - wall, time.process_time() - cores)


def compiled(name: str, repeats: int) -> dict[str, Any]:
    """``fast_init`` and the jitted init: cold one after the other, warm in turns."""
    model, x, kwargs = made(name)
    keys = _ready(repeats)

    def init(key, x):
        return model.init(key, x, **kwargs)

    def draw(key, x):
        return fast_init(model, key, x, **kwargs)

    drawn, fast_cold = timed(lambda: draw(keys[0], x))
    leaves = jax.tree.leaves(drawn)
    jitted = jax.jit(init)
    executable, compiling = timed(lambda: jitted.lower(keys[0], x).compile())
    variables, running = timed(lambda: executable(keys[0], x))
    expected = jax.tree.leaves(variables)
    ways = {"fast": draw, "jitted": executable}
    warm: dict[str, list[float]] = {way: [] for way in ways}
    for key in keys:
        for way, function in ways.items():
            warm[way].append(timed(lambda f=function, k=key: f(k, x))[1].wall)
    return {
        "fast": fast_cold,
        "jitted": Time(*map(sum, zip(compiling, running, strict=True))),
        "compiling": compiling,
        "warm": {way: statistics.median(times) for way, times in warm.items()},
        "identical": all(map(np.array_equal, leaves, expected)),
        "numbers": sum(leaf.size for leaf in leaves),
    }


def eager(name: str) -> Time:
    model, x, kwargs = made(name)
    key = _ready(1)[0]
    return timed(lambda: model.init(key, x, **kwargs))[1]


def _ready(count: int) -> list[jax.Array]:
    """Keys, with the backend up and running."""
    return jax.block_until_ready(list(jax.random.split(jax.random.key(0), count)))


def _fresh(function: Callable[..., Any], *args: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def report(names: list[str], repeats: int, write: Callable[[str], None]) -> None:
    versions = ", ".join(f"{p} {version(p)}" for p in ("jax", "jaxlib", "flax"))
    lines = [
        f"{jax.default_backend()}: {_device()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}, {versions}",
        "cold in seconds, (summed over cores); warm in milliseconds, median of "
        f"{repeats}",
        "",
        f"{'model':44}{'numbers':>9}  {'fast':>13}{'jitted':>15}{'of it compile':>15}"
        f"{'eager':>15}  {'fast':>9}{'jitted':>9}  same bits",
    ]
    write("\n".join(lines))
    for name in names:
        times = _fresh(compiled, name, repeats)
        cold = [times["fast"], times["jitted"], times["compiling"]]
        cold.append(_fresh(eager, name))
        workload = WORKLOADS[name]
        title = workload.title.format(**workload.full).rpartition(", batch")[0]
        row = f"{title:44}{times['numbers'] / 1e6:8.2f}M"
        row += "".join(f"{t.wall:8.2f} ({t.cores:4.1f})" for t in cold) + "  "
        row += "".join(f"{1e3 * times['warm'][way]:9.2f}" for way in times["warm"])
        row += f"  {'yes' if times['identical'] else 'NO'}"
        write(row)


def _device() -> str:
    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="two models, 3 repeats")
    parser.add_argument("--save", action="store_true", help=f"append to {RESULTS.name}")
    options = parser.parse_args()
    if options.quick:
        options.models, options.repeats = ["convnet", "mlp"], 3

    def write(text: str) -> None:
        print(text, flush=True)
        if options.save:
            RESULTS.parent.mkdir(exist_ok=True)
            with RESULTS.open("a") as file:
                file.write(text + "\n")

    report(options.models, options.repeats, write)


if __name__ == "__main__":
    main()
