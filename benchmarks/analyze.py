"""Times `jaxinit.analyze` beside bare init + `value_and_grad` of the same model.

    python -m benchmarks.analyze [--quick] [--models mlp resnet gpt] [--save]

The baseline is what a user would write to get a loss and its gradient for each of many
seeds, and it has a choice of strategies, of which the fastest counts:

- eager: a Python loop over the seeds, `model.init` op by op, gradient jitted;
- loop: the same with `model.init` jitted;
- threads: that loop with one thread for each core;
- vmap: all seeds at once.

Cold is the first call in a fresh process, with everything that it compiles; the import,
the backend's start and the inputs are ready before the clock starts. Warm is a later
call in a process where all contenders take turns. Both are medians over `--repeats`.
"""

import argparse
import dataclasses
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from examples import gpt, resnet

BASELINES = ("eager", "loop", "threads", "vmap")
CONTENDERS = ("analyze", *BASELINES)
RESULTS = Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to time; ``args`` makes its inputs once the backend is up."""

    name: str
    description: str
    model: nn.Module
    args: Callable[[], tuple[jax.Array, ...]]
    kwargs: dict[str, Any]
    seeds: int


class MLP(nn.Module):
    """Dense layers with tanh."""

    depth: int
    width: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = nn.tanh(nn.Dense(self.width)(x))
        return x


def cases(options: argparse.Namespace) -> dict[str, Case]:
    """The models in the sizes that the command line asks for."""
    o = options
    return {
        "mlp": Case(
            "mlp",
            f"MLP, {o.depth} x {o.width} tanh, batch {o.batch}",
            MLP(o.depth, o.width),
            partial(_vectors, o.batch, o.width),
            {},
            o.mlp_seeds,
        ),
        "resnet": Case(
            "resnet",
            f"ResNet-18, 32x32 digits, {o.features} features, batch {o.image_batch}",
            resnet.ResNet(features=o.features),
            partial(_digits, o.image_batch),
            {"train": True},
            o.seeds,
        ),
        "gpt": Case(
            "gpt",
            f"GPT, {o.layers} scanned blocks x {o.model_width}, "
            f"batch {o.text_batch} x {o.length}",
            gpt.GPT(num_layers=o.layers, width=o.model_width, max_length=o.length),
            partial(_text, o.text_batch, o.length),
            {},
            o.seeds,
        ),
    }


def _vectors(batch: int, width: int) -> tuple[jax.Array]:
    return (jax.random.normal(jax.random.key(1), (batch, width)),)


def _digits(batch: int) -> tuple[jax.Array]:
    return (resnet.inputs(batch),)


def _text(batch: int, length: int) -> tuple[jax.Array]:
    return (jnp.resize(gpt.inputs(), (batch, length)),)


def contender(name: str, case: Case) -> Callable[[], str]:
    """A function that does the work to its end and says which strategy did it."""
    args = jax.block_until_ready(case.args())
    if name == "analyze":
        import jaxinit

        def analyze() -> str:
            report = jaxinit.analyze(
                case.model, *args, seeds=case.seeds, progress=False, **case.kwargs
            )
            return str(report.settings["strategy"])

        return analyze
    run = _baseline(name, case, args)

    def baseline() -> str:
        jax.block_until_ready(run())
        return name

    return baseline


def _baseline(
    name: str, case: Case, args: tuple[jax.Array, ...]
) -> Callable[[], list[jax.Array]]:
    root = jax.random.key(0)

    def init(key: jax.Array) -> Any:
        return case.model.init(key, *args, **case.kwargs)

    def loss(params: Any, state: Any) -> jax.Array:
        out = case.model.apply(
            {"params": params, **state}, *args, **case.kwargs, mutable=list(state)
        )[0]
        return jnp.mean(jnp.square(out))

    def value_and_grad(variables: Any) -> tuple[jax.Array, Any]:
        state = {k: v for k, v in variables.items() if k != "params"}
        return jax.value_and_grad(loss)(variables["params"], state)

    draw = init if name == "eager" else jax.jit(init)
    gradient = jax.jit(value_and_grad)

    def one(i: int) -> jax.Array:
        value, grads = gradient(draw(jax.random.fold_in(root, i)))
        del grads
        return value

    def finished(i: int) -> jax.Array:
        return jax.block_until_ready(one(i))

    def loop() -> list[jax.Array]:
        return [one(i) for i in range(case.seeds)]

    def threads() -> list[jax.Array]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(finished, range(case.seeds)))

    draw_all, gradient_all = jax.jit(jax.vmap(init)), jax.jit(jax.vmap(value_and_grad))

    def vmap() -> list[jax.Array]:
        keys = jax.vmap(partial(jax.random.fold_in, root))(jnp.arange(case.seeds))
        return [gradient_all(draw_all(keys))[0]]

    return {"eager": loop, "loop": loop, "threads": threads, "vmap": vmap}[name]


def cold(case: Case, name: str) -> float:
    """Seconds of the first call; meant for a process of its own."""
    _start()
    run = contender(name, case)
    return _seconds(run)


def warm(
    case: Case, names: Sequence[str], repeats: int
) -> tuple[dict[str, list[float]], str]:
    """Seconds of later calls, all contenders taking turns; analyze's strategy."""
    _start()
    runs = {name: contender(name, case) for name in names}
    said = {name: run() for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(_seconds(run))
    return seconds, said.get("analyze", "")


def about() -> list[str]:
    """Backend, device, cores and versions, in words."""
    device = jax.devices()[0]
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("jax", "jaxlib", "flax")
    )
    return [
        f"backend {jax.default_backend()}, device {device.device_kind} "
        f"x {jax.device_count()}, {os.cpu_count()} cores ({platform.machine()})",
        f"{versions}, python {platform.python_version()}",
        jax.default_backend(),
    ]


def _start() -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    jnp.zeros(()).block_until_ready()


def _seconds(run: Callable[[], str]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _elsewhere(function: Callable[..., Any], *args: Any) -> Any:
    """Calls ``function`` in a fresh process: this one never takes the device."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def _compare(case: Case, names: Sequence[str], repeats: int) -> list[str]:
    """The table of one model."""
    first: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            first[name].append(_elsewhere(cold, case, name))
    later, strategy = _elsewhere(warm, case, names, repeats)
    medians = {
        name: (statistics.median(first[name]), statistics.median(later[name]))
        for name in names
    }
    lines = ["", f"{case.description}, {case.seeds} seeds"]
    lines.append(f"  {'':24}{'cold s':>10}{'warm s':>10}")
    for name, (a, b) in medians.items():
        label = f"analyze ({strategy})" if name == "analyze" else name
        lines.append(f"  {label:24}{a:10.3f}{b:10.3f}")
    baselines = [medians[name] for name in names if name != "analyze"]
    if "analyze" in medians and baselines:
        ratios = [
            medians["analyze"][i] / min(times[i] for times in baselines) for i in (0, 1)
        ]
        lines.append(
            f"  {'analyze / best baseline':24}{ratios[0]:10.2f}{ratios[1]:10.2f}"
        )
    return lines


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--quick`` changes the sizes that are not given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["mlp", "resnet", "gpt"])
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS)
    )
    parser.add_argument("--repeats", type=int, help="default 3; quick 1")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run")
    parser.add_argument(
        "--save", action="store_true", help="write results/analyze-BACKEND.txt"
    )
    for name, (full, quick, text) in _SIZES.items():
        parser.add_argument(
            f"--{name}", type=int, help=f"{text} (default {full}; quick {quick})"
        )
    options = parser.parse_args(arguments)
    for name, (full, quick, _) in _SIZES.items():
        attribute = name.replace("-", "_")
        if getattr(options, attribute) is None:
            setattr(options, attribute, quick if options.quick else full)
    if options.repeats is None:
        options.repeats = 1 if options.quick else 3
    unknown = set(options.models) - set(cases(options))
    if unknown:
        parser.error(f"unknown models {sorted(unknown)}: choose from mlp, resnet, gpt")
    return options


# Flag: full size, quick size, meaning.
_SIZES = {
    "seeds": (8, 2, "seeds of the ResNet and the GPT"),
    "mlp-seeds": (32, 4, "seeds of the MLP"),
    "depth": (50, 10, "layers of the MLP"),
    "width": (256, 64, "width of the MLP"),
    "batch": (64, 16, "batch of the MLP"),
    "features": (64, 8, "features of the ResNet's first stage"),
    "image-batch": (32, 8, "batch of the ResNet"),
    "layers": (12, 2, "blocks of the GPT"),
    "model-width": (128, 32, "width of the GPT"),
    "text-batch": (8, 2, "sequences in the GPT's batch"),
    "length": (128, 32, "tokens in a sequence of the GPT"),
}


def main() -> None:
    """Prints every table as soon as it is measured, and saves them when asked."""
    options = parse()
    machine, versions, backend = _elsewhere(about)
    lines = [
        "jaxinit.analyze against bare init + value_and_grad, all seeds, in seconds",
        machine,
        versions,
        f"medians of {options.repeats} runs; cold: the first call of a fresh process",
    ]
    print("\n".join(lines), flush=True)
    for name in options.models:
        table = _compare(cases(options)[name], options.contenders, options.repeats)
        print("\n".join(table), flush=True)
        lines += table
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"analyze-{backend}.txt"
        path.write_text("\n".join(lines) + "\n")
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
