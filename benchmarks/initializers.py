"""Times the initializers beside those of `jax.nn.initializers` and `torch.nn.init`.

    python -m benchmarks.initializers [--repeats N] [--quick] [--only PART] [--save]

- compiling: `jax.jit` of a draw, for kernels of convolutions; caches are cleared before
  every measurement, and the two sides take turns. Also for all kernels of a
  convolutional network in one program, as `jax.jit(model.init)` has them;
- running: the compiled draw, and the initializer called eagerly, to the last element;
- overhead: an eager call for an array of a few elements, for every name that both have;
- torch: the eager draw beside PyTorch's, which fills an array that is there already.
  Left out where torch is not installed;
- orthogonal: the same, with the largest error of `W'W - I` (spectral norm, in float64).
  `cholesky` is the method for shards and accelerators, run here for comparison.

Numbers are medians, of five times as many runs for the short draws. Beside wall clock
stands the time on all cores of this process, which other work on the machine disturbs
less; it says nothing of work on an accelerator. Each backend has its own file of
results; on an accelerator `--only orthogonal` is the part with a promise of its own.
"""

import argparse
import os
import platform
import statistics
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


def timed(run: Callable[[], object]) -> Timing:
    """One measurement."""
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(run())
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


def line(what: str, found: dict[str, Timing], unit: float, name: str) -> str:
    """Ours beside theirs."""
    ours, theirs = found["jaxinit"], found["jax.nn"]
    return (
        f"{what:<48}{ours.wall / unit:9.2f} {theirs.wall / unit:9.2f} {name}"
        f"{ours.wall / theirs.wall:8.2f}   "
        f"{ours.cpu / unit:9.2f} {theirs.cpu / unit:9.2f} {name}"
        f"{ours.cpu / theirs.cpu:8.2f}"
    )


def header(title: str) -> str:
    columns = f"{'jaxinit':>9} {'jax.nn':>9}    {'ratio':>8}"
    return f"\n{title:<48}{columns}   {columns}\n{'':<48}{'wall':>9}{'':24}{'cores':>9}"


def compiler(build: Callable[[object], object], shapes: list[tuple[int, ...]]):
    """A function that compiles the draws of all shapes with empty caches."""

    def draws(key: jax.Array) -> list[jax.Array]:
        return [build(key, shape) for shape in shapes]

    def run() -> None:
        jax.clear_caches()
        jax.jit(draws).lower(KEY).compile()

    return run


def compiling(repeats: int) -> Iterator[str]:
    yield header("compile a draw")
    cases = [
        (f"{name} {shape}", build, [shape])
        for name, build in DRAWS.items()
        for shape in (CONV_SHAPES if name == "he_normal" else CONV_SHAPES[:1])
    ]
    many = f"he_normal, {len(NETWORK)} kernels at once"
    cases.append((many, DRAWS["he_normal"], NETWORK))
    for what, build, shapes in cases:
        contenders = {
            "jaxinit": compiler(build(ji), shapes),
            "jax.nn": compiler(build(jax.nn.initializers), shapes),
        }
        yield line(what, in_turns(contenders, repeats), 1.0, "s ")


def running(repeats: int, side: int) -> Iterator[str]:
    yield header("run a draw")
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
                for way, contenders in [("compiled", compiled), ("eager", eager)]:
                    in_turns(contenders, 1)
                    what = f"{name} {shape} {np.dtype(dtype).name} {way}"
                    found = in_turns(contenders, repeats)
                    yield line(what, found, 1e-3, "ms")


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


def overhead(repeats: int, calls: int = 100) -> Iterator[str]:
    yield header(f"eager calls for a few elements, {calls} of them")
    for name, shape in COMMON.items():
        build = BUILD.get(name, lambda module, name=name: getattr(module, name)())

        def many(module: object, build=build, shape=shape) -> Callable[[], object]:
            init = build(module)
            return lambda: [init(KEY, shape, jnp.float32) for _ in range(calls)]

        contenders = {"jaxinit": many(ji), "jax.nn": many(jax.nn.initializers)}
        in_turns(contenders, 1)
        yield line(name, in_turns(contenders, repeats), 1e-3, "ms")


def beside_torch(repeats: int, side: int) -> Iterator[str]:
    try:
        import torch
    except ImportError:
        yield "\ntorch is not installed: pip install torch"
        return
    weights = torch.empty(side, side)
    fill = torch.nn.init
    theirs = {
        "normal": lambda: fill.normal_(weights),
        "he_normal": lambda: fill.kaiming_normal_(weights),
        "glorot_uniform": lambda: fill.xavier_uniform_(weights),
        "truncated_normal": lambda: fill.trunc_normal_(weights),
        "orthogonal": lambda: fill.orthogonal_(weights),
    }
    title = f"eager, {(side, side)}, torch {torch.__version__}"
    yield header(title).replace("jax.nn", " torch")
    for name, run in theirs.items():
        init = getattr(ji, name)()
        contenders = {"jaxinit": lambda f=init: f(KEY, (side, side)), "jax.nn": run}
        in_turns(contenders, 1)
        yield line(name, in_turns(contenders, repeats), 1e-3, "ms")


def orthogonality(w: jax.Array) -> float:
    """The spectral norm of W'W - I, by power iterations in float64."""
    values = np.asarray(w, np.float64)
    error = values.T @ values - np.eye(values.shape[1])
    vector = np.random.default_rng(0).normal(size=values.shape[1])
    for _ in range(30):
        vector = error @ (vector / np.linalg.norm(vector))
    return float(np.linalg.norm(vector))


def orthogonal(repeats: int, shapes: list[tuple[int, int]]) -> Iterator[str]:
    yield header("orthogonal, float32")
    errors = ["\nlargest error |W'W - I|"]
    cholesky = jax.jit(
        lambda key, shape: _cholesky_qr(jax.random.normal(key, shape)),
        static_argnums=1,
    )
    for shape in shapes:
        contenders = {
            "jaxinit": lambda s=shape: ji.orthogonal()(KEY, s),
            "jax.nn": lambda s=shape: jax.nn.initializers.orthogonal()(KEY, s),
            "cholesky": lambda s=shape: cholesky(KEY, s),
        }
        in_turns(contenders, 1)
        # The largest take a minute each; one measurement will do.
        found = in_turns(contenders, repeats if min(shape) < 4096 else 1)
        yield line(f"{shape}", found, 1e-3, "ms")
        third = {"jaxinit": found["cholesky"], "jax.nn": found["jax.nn"]}
        yield line(f"{shape} by cholesky", third, 1e-3, "ms")
        worst = {name: orthogonality(run()) for name, run in contenders.items()}
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
    choices = ["compiling", "running", "overhead", "torch", "orthogonal"]
    parser.add_argument("--only", choices=choices)
    parser.add_argument("--save", action="store_true", help=f"also write to {RESULTS}")
    args = parser.parse_args()
    side = 512 if args.quick else 2048
    square = [256] if args.quick else [512, 2048, 4096]
    shapes = [*((n, n) for n in square), (9 * square[0], square[0])]
    cores = len(os.sched_getaffinity(0))
    parts = {
        "compiling": compiling(args.repeats),
        # Short, so that more of them are needed against the noise.
        "running": running(5 * args.repeats, side),
        "overhead": overhead(5 * args.repeats),
        "torch": beside_torch(args.repeats, side),
        "orthogonal": orthogonal(args.repeats, shapes),
    }
    chosen = [parts[args.only]] if args.only else parts.values()
    lines = []
    for text in chain(
        [
            f"{platform.processor() or platform.machine()}, {cores} cores, backend "
            f"{jax.default_backend()} ({jax.devices()[0].device_kind}), "
            f"python {platform.python_version()}, jax {jax.__version__}",
            f"load average at the start: {os.getloadavg()[0]:.1f}; "
            f"medians of {args.repeats}",
        ],
        *chosen,
    ):
        print(text, flush=True)
        lines.append(text)
    if args.save:
        results().write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
