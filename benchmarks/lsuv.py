"""Times LSUV beside one plain forward pass, and beside a loop over the layers.

    python -m benchmarks.lsuv [--repeats N] [--quick] [--save]

- forward: the model's forward pass, compiled;
- lsuv: the pass of `jaxinit.lsuv()` that measures and rescales every layer, compiled,
  from drawn orthogonal kernels to scaled ones;
- loop: what the paper's algorithm does, one compiled forward pass for each layer, from
  which the layer's variance is taken, and a kernel rescaled in between. Its pass is the
  instrumented one that returns all variances, so that it compiles once.

All three run in turns; numbers are medians of warm runs. Compile times stand apart.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import jaxinit
from benchmarks.models import MLP
from examples import gpt, resnet
from jaxinit.program import versions
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay
from jaxinit.schemes.data.scaled_layers import layers_to_scale
from jaxinit.schemes.drawing import scheme_draw
from jaxinit.schemes.initialize import prepare

RESULTS = Path(__file__).parent / "results" / "lsuv.txt"


def cases(quick: bool) -> dict[str, tuple[nn.Module, jax.Array, dict[str, Any]]]:
    """The models, their inputs and keyword arguments."""
    images, text = (8, (8, 64)) if quick else (32, (32, 64))
    depth, width = (10, 64) if quick else (50, 256)
    vectors = jax.random.normal(jax.random.key(1), (64, width))
    return {
        f"MLP, {depth} x {width} tanh": (MLP(depth, width), vectors, {}),
        "ResNet-18, digits": (
            resnet.ResNet(features=16 if quick else 64),
            resnet.inputs(images),
            {"train": True},
        ),
        "GPT, 12 scanned blocks x 256": (
            gpt.GPT(num_layers=12, width=64 if quick else 256, max_length=64),
            jnp.resize(gpt.inputs(), text),
            {},
        ),
    }


def contenders(
    model: nn.Module, x: jax.Array, kwargs: dict[str, Any]
) -> tuple[dict[str, Callable[[], Any]], int]:
    """What is timed, and the number of layers that are scaled."""
    scheme = jaxinit.lsuv()
    network, _ = prepare(model, (x,), kwargs, ())
    key = jax.random.key(0)
    leaves = scheme_draw(network, scheme).started(key, x)
    count = len(network.params)
    params, state = leaves[:count], leaves[count:]
    program = network.traced.apply
    forward = jax.jit(
        lambda params: versions.evaluate(program, [*params, *state, key, x])
    )
    refine = scheme.refine(network)
    # As in `initialize`: scaled kernels take the place of drawn ones.
    lsuv = jax.jit(
        lambda params: refine(params, state, key, (x,)).params, donate_argnums=0
    )
    layers = [layer for layer in layers_to_scale(network) if not layer.follows]
    plan = Plan()
    for layer in layers:
        plan.at(layer.event.at, Tap(layer.number, "output"))
    hooks = Hooks(
        lambda tap, value: value.astype(jnp.float32).var(),
        lambda tap, value, probe: value,
        lambda earlier, later: later,
    )
    measure = jax.jit(
        lambda params: replay(
            network.traced.forward, [*params, *state, key, x], plan, hooks, {}
        )[1]
    )
    slices = [
        (layer, index)
        for layer in layers
        for index in range(layer.event.loops[0].length if layer.event.loops else 1)
    ]

    def loop() -> list[jax.Array]:
        scaled = list(params)
        for layer, index in slices:
            variance = measure(scaled)[Tap(layer.number, "output")].reshape(-1)[index]
            for leaf in layer.weights:
                if network.params[leaf].layers:
                    part = scaled[leaf][index] / jnp.sqrt(variance)
                    scaled[leaf] = scaled[leaf].at[index].set(part)
                else:
                    scaled[leaf] = scaled[leaf] / jnp.sqrt(variance)
        return scaled

    runs = {
        "forward": lambda: forward(params),
        "lsuv": Donating(lsuv, params),
        "loop": loop,
    }
    return runs, len(slices)


class Donating:
    """Runs a function on copies of arrays that it may write to, made beforehand."""

    def __init__(self, run: Callable[[Any], Any], given: list[jax.Array]) -> None:
        self._run, self._given = run, given
        self._copies: Any = None

    def prepare(self) -> None:
        self._copies = jax.block_until_ready([x.copy() for x in self._given])

    def __call__(self) -> Any:
        return self._run(self._copies)


def timed(run: Callable[[], Any]) -> float:
    if isinstance(run, Donating):
        run.prepare()
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--save", action="store_true", help=f"also write {RESULTS}")
    args = parser.parse_args()
    lines = [
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, backend "
        f"{jax.default_backend()}, python {platform.python_version()}, "
        f"jax {jax.__version__}; load {os.getloadavg()[0]:.1f}; "
        f"medians of {args.repeats}",
        f"{'model':<32}{'layers':>7}{'forward':>11}{'lsuv':>11}{'ratio':>8}"
        f"{'loop':>11}{'loop/lsuv':>11}{'compile fwd, lsuv':>22}",
    ]
    print(*lines, sep="\n", flush=True)
    for name, case in cases(args.quick).items():
        runs, layers = contenders(*case)
        cold = {label: timed(run) for label, run in runs.items()}
        found: dict[str, list[float]] = {label: [] for label in runs}
        for _ in range(args.repeats):
            for label, run in runs.items():
                found[label].append(timed(run))
        warm = {label: statistics.median(times) for label, times in found.items()}
        ms = {label: f"{1000 * seconds:.1f} ms" for label, seconds in warm.items()}
        text = (
            f"{name:<32}{layers:>7}{ms['forward']:>11}{ms['lsuv']:>11}"
            f"{warm['lsuv'] / warm['forward']:>8.2f}{ms['loop']:>11}"
            f"{warm['loop'] / warm['lsuv']:>11.1f}"
            f"{cold['forward'] - warm['forward']:>13.2f} s"
            f"{cold['lsuv'] - warm['lsuv']:>5.2f} s"
        )
        print(text, flush=True)
        lines.append(text)
    if args.save:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
