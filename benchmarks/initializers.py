"""Times the initializers beside those of `jax.nn.initializers` and `torch.nn.init`.

    python -m benchmarks.initializers [--repeats N] [--quick] [--only PART] [--save]
                                      [--torch-python PATH]

- compiling: `jax.jit` of a draw, for kernels of convolutions; caches are cleared before
  every measurement. Also for all kernels of a convolutional network in one program, as
  `jax.jit(model.init)` has them;
- running: the compiled draw, and the initializer called eagerly, to the last element;
- overhead: an eager call for an array of a few elements, for every name that both have;
- orthogonal: the eager draw of large matrices, with the largest error of `W'W - I`
  (spectral norm, in float64). `cholesky` is the method for shards and accelerators,
  `kronecker` the product of small ones, both for comparison.

All contenders draw the same shapes and take turns. PyTorch, which does not compile,
stands beside the eager calls; it runs in a process of its own, of the Python that
`--torch-python` names (by default this one; left out where that has no torch).

Numbers are medians, of five times as many runs for the short draws. A ratio is our time
over theirs: below 1 we are faster. Ratios are given by the wall clock and by the time
on all cores of the process, which other work on the machine disturbs less; it says
nothing of work on an accelerator. Each backend has its own file of results; on an
accelerator `--only orthogonal` is the part with a promise of its own.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxinit.initializers as ji
from jaxinit.initializers.orthogonal import _cholesky_qr

RESULTS = Path(__file__).parent / "results"
KEY = jax.random.key(0)
CONV_SHAPES = [(3, 3, 16, 16), (3, 3, 128, 256), (3, 3, 3, 32, 32)]
# The kernels of a convolutional network of 8 layers, no two alike.
NETWORK = [(3, 3, 8 + i, 9 + i) for i in range(8)]
DRAWS = {
    "normal": lambda module: module.normal(),
    "he_normal": lambda module: module.he_normal(),
    "glorot_uniform": lambda module: module.glorot_uniform(),
}


class Timing(NamedTuple):
    """Seconds by the wall clock and on all cores."""

    wall: float
    cpu: float


class Torch:
    """PyTorch in its own process; knows no initializer where it cannot be had."""

    def __init__(self, python: str) -> None:
        self.names: list[str] = []
        self.version = "none"
        worker = Path(__file__).with_name("torch_worker.py")
        self._process = subprocess.Popen(
            [python, str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        hello = self._process.stdout.readline()
        if hello:
            self.version, self.names = json.loads(hello).values()

    def draw(
        self, name: str, shape: tuple[int, ...], dtype: str = "float32", calls: int = 1
    ) -> dict[str, Callable[[], "Timing"]]:
        """The contender "torch", unless it has no initializer of the name."""
        if name not in self.names:
            return {}
        request = {"name": name, "shape": shape, "dtype": dtype, "calls": calls}

        def run() -> Timing:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return Timing(**json.loads(self._process.stdout.readline()))

        return {"torch": run}

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def timed(run: Callable[[], object]) -> Timing:
    """One measurement: the contender's own, if it returns one."""
    wall, cpu = time.perf_counter(), time.process_time()
    done = run()
    if isinstance(done, Timing):
        return done
    jax.block_until_ready(done)
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def in_turns(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """The medians of several contenders that take turns."""
    found: dict[str, list[Timing]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(timed(run))
    return {
        name: Timing(*(statistics.median(column) for column in zip(*rows, strict=True)))
        for name, rows in found.items()
    }


RIVALS = ("jax.nn", "torch")


def line(what: str, found: dict[str, Timing], unit: float) -> str:
    """Our time, theirs, and the ratios by the wall and by the cores."""
    ours = found["jaxinit"]
    words = [f"{what:<44}{ours.wall / unit:9.2f}"]
    for rival in RIVALS:
        shown = f"{found[rival].wall / unit:9.2f}" if rival in found else f"{'-':>9}"
        words.append(shown)
    for rival in RIVALS:
        if rival in found:
            theirs = found[rival]
            words.append(f"{ours.wall / theirs.wall:8.2f} {ours.cpu / theirs.cpu:7.2f}")
        else:
            words.append(f"{'-':>8} {'-':>7}")
    return " ".join(words)


def header(title: str, unit: str) -> str:
    names = " ".join(f"{name:>9}" for name in ("jaxinit", *RIVALS))
    ratios = " ".join(f"{'/' + name:>8} {'cores':>7}" for name in RIVALS)
    return f"\n{f'{title}, {unit}':<44}{names} {ratios}"


def compiler(build: Callable[[object], object], shapes: list[tuple[int, ...]]):
    """A function that compiles the draws of all shapes with empty caches."""

    def draws(key: jax.Array) -> list[jax.Array]:
        return [build(key, shape) for shape in shapes]

    def run() -> None:
        jax.clear_caches()
        jax.jit(draws).lower(KEY).compile()

    return run


def compiling(repeats: int, network: list[tuple[int, ...]]) -> Iterator[str]:
    yield header("compile a draw", "s")
    cases = [
        (f"{name} {shape}", build, [shape])
        for name, build in DRAWS.items()
        for shape in (CONV_SHAPES if name == "he_normal" else CONV_SHAPES[:1])
    ]
    many = f"he_normal, {len(network)} kernels at once"
    cases.append((many, DRAWS["he_normal"], network))
    for what, build, shapes in cases:
        contenders = {
            "jaxinit": compiler(build(ji), shapes),
            "jax.nn": compiler(build(jax.nn.initializers), shapes),
        }
        yield line(what, in_turns(contenders, repeats), 1.0)


def running(repeats: int, side: int, torch: Torch) -> Iterator[str]:
    yield header("run a draw", "ms")
    for name, build in DRAWS.items():
        for dtype in (jnp.float32, jnp.bfloat16):
            for shape in [(side, side), (3, 3, side // 4, side // 4)]:
                compiled, eager = {}, {}
                for label, module in [
                    ("jaxinit", ji),
                    ("jax.nn", jax.nn.initializers),
                ]:
                    init = build(module)
                    draw = jax.jit(lambda key, f=init, s=shape, d=dtype: f(key, s, d))
                    compiled[label] = lambda f=draw: f(KEY)
                    eager[label] = lambda f=init, s=shape, d=dtype: f(KEY, s, d)
                kind = np.dtype(dtype).name
                eager |= torch.draw(name, shape, kind)
                for way, contenders in [("compiled", compiled), ("eager", eager)]:
                    in_turns(contenders, 1)
                    what = f"{name} {shape} {kind} {way}"
                    yield line(what, in_turns(contenders, repeats), 1e-3)


# What they have in common: how to build it, and a shape of a few elements.
COMMON = {
    **dict.fromkeys(["zeros", "ones"], (4, 4)),
    **dict.fromkeys(["constant", "normal", "uniform", "truncated_normal"], (4, 4)),
    **{
        f"{family}_{law}": (4, 4)
        for family in ("lecun", "glorot", "he")
        for law in ("normal", "uniform")
    },
    **{"variance_scaling": (4, 4), "orthogonal": (4, 4)},
    "delta_orthogonal": (3, 4, 4),
}
BUILD = {
    "zeros": lambda module: module.zeros,
    "ones": lambda module: module.ones,
    "constant": lambda module: module.constant(0.3),
    "variance_scaling": lambda module: module.variance_scaling(2, "fan_in", "normal"),
}


def overhead(repeats: int, torch: Torch, calls: int = 100) -> Iterator[str]:
    yield header(f"{calls} eager calls, few elements", "ms")
    for name, shape in COMMON.items():
        build = BUILD.get(name, lambda module, name=name: getattr(module, name)())

        def many(module: object, build=build, shape=shape) -> Callable[[], object]:
            init = build(module)
            return lambda: [init(KEY, shape, jnp.float32) for _ in range(calls)]

        contenders = {"jaxinit": many(ji), "jax.nn": many(jax.nn.initializers)}
        contenders |= torch.draw(name, shape, calls=calls)
        in_turns(contenders, 1)
        yield line(name, in_turns(contenders, repeats), 1e-3)


def orthogonality(w: jax.Array) -> float:
    """The spectral norm of W'W - I, by power iterations in float64."""
    values = np.asarray(w, np.float64)
    error = values.T @ values - np.eye(values.shape[1])
    vector = np.random.default_rng(0).normal(size=values.shape[1])
    for _ in range(30):
        vector = error @ (vector / np.linalg.norm(vector))
    return float(np.linalg.norm(vector))


def orthogonal(
    repeats: int, shapes: list[tuple[int, int]], torch: Torch
) -> Iterator[str]:
    yield header("orthogonal, float32", "ms")
    errors = ["\nlargest error |W'W - I|"]
    cholesky = jax.jit(
        lambda key, shape: _cholesky_qr(jax.random.normal(key, shape)),
        static_argnums=1,
    )
    for shape in shapes:
        draws = {
            "jaxinit": lambda s=shape: ji.orthogonal()(KEY, s),
            "jax.nn": lambda s=shape: jax.nn.initializers.orthogonal()(KEY, s),
            "cholesky": lambda s=shape: cholesky(KEY, s),
            "kronecker": lambda s=shape: ji.kronecker_orthogonal()(KEY, s),
        }
        contenders = draws | torch.draw("orthogonal", shape)
        in_turns(contenders, 1)
        # The largest take a minute each; one measurement will do.
        found = in_turns(contenders, repeats if min(shape) < 4096 else 1)
        yield line(f"{shape}", found, 1e-3)
        for other in ("cholesky", "kronecker"):
            yield line(f"{shape} by {other}", found | {"jaxinit": found[other]}, 1e-3)
        worst = {name: orthogonality(run()) for name, run in draws.items()}
        errors.append(
            f"{shape!s:<20}"
            + "".join(f"{name} {error:.1e}   " for name, error in worst.items())
        )
    yield from errors


def results() -> Path:
    """Where the numbers of this backend are kept."""
    backend = jax.default_backend()
    return RESULTS / f"initializers{'' if backend == 'cpu' else '-' + backend}.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH")
    choices = ["compiling", "running", "overhead", "orthogonal"]
    parser.add_argument("--only", choices=choices)
    parser.add_argument("--save", action="store_true", help=f"also write to {RESULTS}")
    args = parser.parse_args()
    side = 512 if args.quick else 2048
    square = [256] if args.quick else [512, 2048, 4096]
    shapes = [*((n, n) for n in square), (9 * square[0], square[0])]
    cores = len(os.sched_getaffinity(0))
    torch = Torch(args.torch_python)
    parts = {
        "compiling": compiling(args.repeats, NETWORK[: 3 if args.quick else None]),
        # Short, so that more of them are needed against the noise.
        "running": running(5 * args.repeats, side, torch),
        "overhead": overhead(5 * args.repeats, torch),
        "orthogonal": orthogonal(args.repeats, shapes, torch),
    }
    chosen = [parts[args.only]] if args.only else parts.values()
    lines = []
    for text in chain(
        [
            f"{platform.processor() or platform.machine()}, {cores} cores, backend "
            f"{jax.default_backend()} ({jax.devices()[0].device_kind}), "
            f"python {platform.python_version()}, jax {jax.__version__}, torch "
            f"{torch.version}",
            f"load average at the start: {os.getloadavg()[0]:.1f}; "
            f"medians of {args.repeats}",
        ],
        *chosen,
    ):
        print(text, flush=True)
        lines.append(text)
    torch.close()
    if args.save:
        results().write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
