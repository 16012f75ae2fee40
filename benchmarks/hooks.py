"""Times `jaxinit.analyze` beside what PyTorch users write: hooks on every layer.

    python -m benchmarks.hooks [--seeds 512] [--depth 50] [--width 256] [--batch 64]

Both draw the weights of a tanh MLP for every seed, run it forward and backward from a
random cotangent, and take for each layer mean, variance and second moment of its output
and the mean square of the gradient there. PyTorch keeps all numbers on the device until
the end, and is warmed up; ours is timed cold (with all that it compiles) and warm.
Needs torch; both use the accelerator where there is one.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

import jaxinit


class MLP(nn.Module):
    depth: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.depth):
            x = nn.tanh(nn.Dense(self.width)(x))
        return x


def ours(args: argparse.Namespace) -> Callable[[], Any]:
    x = jax.random.normal(jax.random.key(0), (args.batch, args.width))
    model = MLP(args.depth, args.width)
    return lambda: jaxinit.analyze(
        model, x, seeds=args.seeds, progress=False, judge=False
    )


def hooks(args: argparse.Namespace, seeds: int) -> Callable[[], Any]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.randn(args.batch, args.width, device=device)

    def one(seed: int) -> Any:
        torch.manual_seed(seed)
        layers: list[Any] = []
        for _ in range(args.depth):
            dense = torch.nn.Linear(args.width, args.width, device=device)
            torch.nn.init.normal_(dense.weight, std=args.width**-0.5)
            torch.nn.init.zeros_(dense.bias)
            layers += [dense, torch.nn.Tanh()]
        model = torch.nn.Sequential(*layers)
        rows: list[Any] = []

        def forward(module: Any, given: Any, out: Any) -> None:
            y = out.detach()
            rows.append(torch.stack([y.mean(), y.var(), (y * y).mean()]))
            out.register_hook(lambda g: rows.append((g * g).mean()))

        for layer in layers[::2]:
            layer.register_forward_hook(forward)
        y = model(x)
        y.backward(torch.randn_like(y))
        return rows

    def run() -> Any:
        found = [one(seed) for seed in range(seeds)]
        return [[row.tolist() for row in rows] for rows in found]

    return run


def timed(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds of the first call, and the median of later ones."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=512)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--hook-seeds", type=int, default=32, help="seeds of the hook loop"
    )
    args = parser.parse_args()
    import torch

    device = jax.devices()[0].device_kind
    print(f"jax {jax.__version__}, torch {torch.__version__}, {device}")
    print(f"tanh MLP {args.depth}x{args.width}, batch {args.batch}")
    cold, warm = timed(ours(args), args.repeats)
    _, loop = timed(hooks(args, args.hook_seeds), 1)
    mine, theirs = warm / args.seeds, loop / args.hook_seeds
    print(
        f"  jaxinit.analyze, {args.seeds} seeds: cold {cold:.2f} s, warm {warm:.3f} s"
    )
    print(f"  torch hooks, {args.hook_seeds} seeds: {loop:.3f} s")
    print(f"  a seed: {1e3 * mine:.3f} ms and {1e3 * theirs:.3f} ms", end="; ")
    print(f"torch / jaxinit, warm: {theirs / mine:.1f}")
    whole = theirs * args.seeds / cold
    print(f"  all {args.seeds} seeds with compiling, torch / jaxinit: {whole:.1f}")


if __name__ == "__main__":
    main()
