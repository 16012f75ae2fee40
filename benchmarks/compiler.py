"""Prints the ratios that comments in the code give for this machine's compiler.

    python -m benchmarks.compiler [--quick] [--save]

Each line is one place in the package where of two ways that give the same numbers one
was chosen for its cost on a CPU: the time of the way not taken over that of the way
taken. Both take turns; times are those of all cores, which other work on the machine
disturbs less, and ratios are medians of those of a turn. `compile` times are from
tracing to the executable, with jax's caches cleared.
"""

import argparse
import operator
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.machine import machine
from benchmarks.models import WORKLOADS
from jaxinit.draw.compiling import _LEAST, _LITTLE
from jaxinit.initializers._threefry import fast_key
from jaxinit.signal.metrics import METRICS, Seen
from jaxinit.signal.records import Axes, sum_of_units

RESULTS = Path(__file__).parent / "results"
KEY = jax.random.key(0)


class Choice(NamedTuple):
    """Two ways, each a function that runs it once; the second was taken."""

    place: str
    what: str
    other: Callable[[], Any]
    taken: Callable[[], Any]


def cores(run: Callable[[], Any]) -> float:
    start = time.process_time()
    jax.block_until_ready(run())
    return time.process_time() - start


def ratio(choice: Choice, turns: int) -> float:
    """Of the way not taken to the way taken, each run once before."""
    ways = (choice.other, choice.taken)
    for run in ways:
        run()
    times = [[cores(run) for run in ways] for _ in range(turns)]
    return statistics.median(operator.truediv(*pair) for pair in times)


def running(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    program = jax.jit(function, compiler_options=options or None)
    compiled = program.lower(*args).compile()
    return lambda: [compiled(*args) for _ in range(5)]


def compiling(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    def run() -> None:
        jax.clear_caches()
        jax.jit(function, compiler_options=options or None).lower(*args).compile()

    return run


def statistics_of_arrays(size: int) -> Iterator[Choice]:
    x = jax.random.normal(KEY, (size, 128, 256))
    axes = Axes(0, (2,))

    def weighted(x: jax.Array) -> jax.Array:
        norm2 = jnp.sum(x * x, axis=(1, 2))
        total = jnp.sum(lax.rsqrt(norm2)[:, None, None] * x, axis=0)
        return jnp.sum(total * total)

    yield Choice(
        "signal/records.py",
        "run a cosine: sum over samples, as a product",
        running(weighted, x),
        running(lambda x: sum_of_units(x, 0)[0], x),
    )

    def apart(x: jax.Array) -> Any:
        size = lax.abs(lax.optimization_barrier(x))
        dead = lax.reduce_max(size, (0, 1)) == 0
        return jnp.mean(dead.astype(x.dtype)), lax.reduce_max(size, (0, 1, 2))

    def together(x: jax.Array) -> Any:
        seen = Seen(x, axes)
        return METRICS["dead"].compute(seen), METRICS["absmax"].compute(seen)

    yield Choice(
        "signal/metrics.py",
        "run the largest and the dead: from one pass",
        running(apart, x),
        running(together, x),
    )

    def by_channel(x: jax.Array) -> jax.Array:
        seen = Seen(x, axes)
        return jnp.mean(seen.over_samples(seen.x * seen.x))

    yield Choice(
        "signal/metrics.py",
        "run a mean square: all channels at once",
        running(by_channel, x),
        running(lambda x: Seen(x, axes).mean_square, x),
    )


def random_bits() -> Iterator[Choice]:
    shape = (3, 3, 16, 16)

    def bits(make: Callable[[jax.Array], jax.Array]) -> Any:
        return compiling(lambda key: jax.random.bits(make(key), shape), KEY)

    yield Choice(
        "initializers/_threefry.py",
        "compile random bits: rounds written out",
        bits(lambda key: key),
        bits(lambda key: fast_key(key, shape)),
    )


def gradient(name: str, *, quick: bool) -> tuple[Callable[..., Any], Any]:
    """A workload's gradient, and the variables that it is taken at."""
    workload = WORKLOADS[name]
    kwargs = workload.kwargs
    model, x = workload.made(workload.sizes(quick))
    variables = model.init(KEY, x, **kwargs)
    params, state = variables.pop("params"), variables

    def loss(params: Any) -> jax.Array:
        mutable = list(state) or False
        out = model.apply({"params": params, **state}, x, mutable=mutable, **kwargs)
        return jnp.sum((out[0] if mutable else out) ** 2)

    return jax.grad(loss), params


def levels(quick: bool) -> Iterator[Choice]:
    for name in ("mlp", "convnet"):
        run, params = gradient(name, quick=quick)
        for what, measure in (("compile", compiling), ("run", running)):
            for level, taken in (("level 1", _LITTLE), ("least", _LEAST)):
                yield Choice(
                    "draw/compiling.py",
                    f"{what} a gradient, {name}: level 3 beside {level}",
                    measure(run, params),
                    measure(run, params, **taken),
                )


def loops(quick: bool) -> Iterator[Choice]:
    run, params = gradient("convnet", quick=quick)

    def moved(params: Any) -> Any:
        return jax.tree.map(lambda w, g: w - 1e-3 * g, params, run(params))

    step = jax.jit(moved).lower(params).compile()
    yield Choice(
        "signal/trial.py",
        "run 3 steps of a convnet: called, not in a loop of one program",
        running(lambda p: lax.fori_loop(0, 3, lambda _, p: moved(p), p), params),
        lambda: [step(step(step(params))) for _ in range(5)],
    )


def main() -> None:
    """Prints the table, and saves it when asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument(
        "--save", action="store_true", help="write results/compiler-*.txt"
    )
    options = parser.parse_args()
    lines = [
        "two ways to the same numbers: the time of the one not taken over the other's",
        machine(),
    ]
    print("\n".join(lines), flush=True)
    for choices in (
        statistics_of_arrays(8 if options.quick else 32),
        random_bits(),
        levels(options.quick),
        loops(options.quick),
    ):
        for choice in choices:
            found = ratio(choice, 5)
            lines.append(f"  {choice.place:28}{choice.what:64}{found:7.2f}")
            print(lines[-1], flush=True)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"compiler-{jax.default_backend()}.txt").write_text(
            "\n".join(lines) + "\n"
        )


if __name__ == "__main__":
    main()
