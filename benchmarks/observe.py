"""Times a training step with `jaxinit.observe` in it beside the plain step.

    python -m benchmarks.observe [--quick] [--every 10 100] [--save]

The step is cross-entropy, its gradient and Adam on the GPT of `examples/gpt.py`, all in
one jitted program, run to its end. Contenders take turns; ratios are medians of those
to the plain step of the same turn, of the time that passed and of what the processor's
cores worked in it.
"""

import argparse
import operator
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxinit
from benchmarks.machine import machine
from examples.gpt import GPT, inputs

RESULTS = Path(__file__).parent / "results"


def loss(apply: Callable[..., Any], params: Any, tokens: jax.Array) -> Any:
    logits, statistics = apply({"params": params}, tokens)
    targets = jnp.roll(tokens, -1, axis=1)
    per_token = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return per_token.mean(), statistics


def steps(model: GPT, every: list[int]) -> dict[str, Callable[..., Any]]:
    """The gradient of the loss, `(params, tokens, step) -> (statistics, gradients)`."""

    def plain(params: Any, tokens: jax.Array, step: Any) -> Any:
        del step
        run = jax.grad(loss, argnums=1, has_aux=True)
        gradients, _ = run(lambda *a: (model.apply(*a), None), params, tokens)
        return None, gradients

    def forward(every: int | None) -> Callable[..., Any]:
        watch = jaxinit.observe(model, every=every)

        def run(params: Any, tokens: jax.Array, step: Any) -> Any:
            at = {} if every is None else {"step": step}
            gradient = jax.grad(loss, argnums=1, has_aux=True)
            gradients, found = gradient(lambda *a: watch(*a, **at), params, tokens)
            return found, gradients

        return run

    def both(params: Any, tokens: jax.Array, step: Any) -> Any:
        del step
        watch = jaxinit.observe_grad(
            lambda p, t: loss(lambda *a: (model.apply(*a), None), p, t)[0]
        )
        _, gradients, found = watch(params, tokens)
        return found, gradients

    return {
        "plain": plain,
        "observe": forward(None),
        **{f"observe, every {n}": forward(n) for n in every},
        "observe_grad": both,
    }


def measure(options: argparse.Namespace) -> list[str]:
    """The table, a line for each contender."""
    size = (2, 32, 2, 32) if options.quick else (12, 128, 8, 128)
    layers, width, batch, length = size
    model = GPT(num_layers=layers, width=width, max_length=length)
    tokens = jnp.resize(inputs(), (batch, length))
    params = model.init(jax.random.key(0), tokens)["params"]
    optimizer = optax.adam(1e-3)
    state = optimizer.init(params)
    programs: dict[str, Callable[[int], Any]] = {}
    compiled: dict[str, float] = {}
    for name, gradient in steps(model, options.every).items():

        def step(params: Any, state: Any, number: Any, gradient: Any = gradient) -> Any:
            found, gradients = gradient(params, tokens, number)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, found

        start = time.perf_counter()
        program = jax.jit(step).lower(params, state, 0).compile()
        compiled[name] = time.perf_counter() - start
        programs[name] = lambda number, program=program: program(params, state, number)
    taken: dict[str, list[float]] = {name: [] for name in programs}
    worked: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(options.repeats):
        for name, run in programs.items():
            start, before = time.perf_counter(), time.process_time()
            jax.block_until_ready(run(number))
            taken[name].append(time.perf_counter() - start)
            worked[name].append(time.process_time() - before)
    lines = [
        f"GPT, {layers} scanned blocks x {width}, batch {batch} x {length}, "
        f"{options.repeats} steps",
        f"  {'':20}{'compile s':>10}{'step s':>10}{'ratio':>8}{'work':>8}",
    ]
    for name in programs:
        ratio, work = (
            statistics.median(map(operator.truediv, x[name], x["plain"]))
            for x in (taken, worked)
        )
        lines.append(
            f"  {name:20}{compiled[name]:10.2f}{statistics.median(taken[name]):10.4f}"
            f"{ratio:8.3f}{work:8.3f}"
        )
    return lines


def main() -> None:
    """Prints the table, and saves it when asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--every", type=int, nargs="+", default=[10])
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument(
        "--save", action="store_true", help="write results/observe-*.txt"
    )
    options = parser.parse_args()
    lines = [
        "a training step with jaxinit.observe in it",
        machine(),
        *measure(options),
    ]
    print("\n".join(lines))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"observe-{jax.default_backend()}.txt").write_text(
            "\n".join(lines) + "\n"
        )


if __name__ == "__main__":
    main()
