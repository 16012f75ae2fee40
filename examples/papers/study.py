"""What the studies share: a claim beside its measurement, a figure, three sizes."""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxinit.train.datasets import digits

# Told apart by those who see few colors.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MODES = ("full", "quick", "smoke")


class Claim(NamedTuple):
    """A sentence of a paper, what was measured of it, and whether the two agree."""

    what: str
    published: str
    measured: str
    holds: bool


class Found(NamedTuple):
    """What a study found, and how to draw it into axes."""

    claims: list[Claim]
    draw: Callable[[Axes], None]


class Study(NamedTuple):
    """A paper measured again.

    Attributes:
      name: that of the script.
      paper: authors, title, year.
      scaled: what was scaled down, and what stands for what.
      sizes: by mode, what ``measure`` takes: ``full`` ends in ten minutes on two quiet
        cores, ``quick`` in one; ``smoke`` shows in seconds that the script runs, and
        its numbers are not to be cited.
      measure: from a size to what was found.
    """

    name: str
    paper: str
    scaled: str
    sizes: dict[str, Any]
    measure: Callable[..., Found]


def main(study: Study, arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs a study as the command line says; prints, draws and returns its record."""
    parser = argparse.ArgumentParser(description=study.paper)
    parser.add_argument("--quick", action="store_const", const="quick", dest="mode")
    parser.add_argument("--smoke", action="store_const", const="smoke", dest="mode")
    parser.add_argument("--figure", type=Path, help="a .svg or .png to draw")
    parser.add_argument("--json", type=Path, help="a file for the record")
    parser.add_argument(
        "--check", action="store_true", help="status 1 if a claim does not hold"
    )
    parser.set_defaults(mode="full")
    args = parser.parse_args(arguments)
    record, draw = run(study, args.mode)
    print(as_text(record))
    figure = args.figure or Path("jaxinit-output") / f"{study.name}.svg"
    figure.parent.mkdir(parents=True, exist_ok=True)
    save(draw, figure)
    if args.json:
        args.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    if args.check and not all(claim["holds"] for claim in record["claims"]):
        raise SystemExit(1)
    return record


def run(study: Study, mode: str) -> tuple[dict[str, Any], Callable[[Axes], None]]:
    """Measures; returns the record and what draws it."""
    start = time.perf_counter()
    found = study.measure(**study.sizes[mode])
    record = {
        "name": study.name,
        "paper": study.paper,
        "scaled": study.scaled,
        "mode": mode,
        "size": {k: v for k, v in study.sizes[mode].items()},
        "seconds": round(time.perf_counter() - start, 1),
        "machine": f"{platform.machine()}, {jax.default_backend()}",
        "jax": jax.__version__,
        "claims": [c._asdict() | {"holds": bool(c.holds)} for c in found.claims],
    }
    return record, found.draw


def as_text(record: dict[str, Any]) -> str:
    """Published against measured."""
    lines = [record["paper"], f"Scaled down: {record['scaled']}", ""]
    for claim in record["claims"]:
        lines += [
            claim["what"],
            f"  published: {claim['published']}",
            f"  measured:  {claim['measured']}",
            f"  {'reproduced' if claim['holds'] else 'NOT reproduced at this size'}",
        ]
    lines.append(f"\n{record['mode']} size, {record['seconds']} s")
    return "\n".join(lines)


def save(draw: Callable[[Axes], None], path: Path) -> None:
    """Writes the figure of a study."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


# What several studies train or measure.


class MLP(nn.Module):
    """Hidden layers of one width, and a readout."""

    depth: int
    width: int
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    outputs: int = 10
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(self.width, use_bias=self.use_bias, name="first")(x)
        if self.depth > 1:
            layers = nn.scan(
                _Hidden, variable_axes={"params": 0}, split_rngs={"params": True}
            )
            stack = layers(self.activation, self.use_bias, name="hidden")
            x, _ = stack(x, jax.numpy.arange(self.depth - 1))
        x = self.activation(x)
        return nn.Dense(self.outputs, use_bias=self.use_bias, name="head")(x)


class _Hidden(nn.Module):
    activation: Callable[[jax.Array], jax.Array]
    use_bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, _: jax.Array) -> tuple[jax.Array, None]:
        dense = nn.Dense(x.shape[-1], use_bias=self.use_bias)
        return dense(self.activation(x)), None


class Autoencoder(nn.Module):
    """Sigmoid layers down to a linear code, and back up to pixels.

    Attributes:
      widths: of the layers down, the code's last.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        *hidden, code = self.widths
        h = x
        for width in hidden:
            h = nn.sigmoid(nn.Dense(width)(h))
        h = nn.Dense(code)(h)
        for width in reversed(hidden):
            h = nn.sigmoid(nn.Dense(width)(h))
        return nn.sigmoid(nn.Dense(x.shape[-1])(h))


def pixels() -> np.ndarray:
    """The digits, from 0 to 1."""
    images, _ = digits()
    return (images - images.min()) / (images.max() - images.min())


def squared_error(output: jax.Array, target: jax.Array) -> jax.Array:
    """Over all pixels of an image, as a mean over images."""
    return jax.numpy.square(output - target).sum(-1).mean()


def fit(
    model: nn.Module, starts: Sequence[Any], x: np.ndarray, y: np.ndarray, steps: int
) -> Any:
    """Variables after steps of Adam on all samples, stacked over where they started."""
    optimizer = optax.adam(3e-3)

    def loss(variables: Any) -> jax.Array:
        logits = model.apply(variables, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def train(variables: Any) -> Any:
        def step(carry: tuple, _: None) -> tuple:
            variables, state = carry
            updates, state = optimizer.update(jax.grad(loss)(variables), state)
            return (optax.apply_updates(variables, updates), state), None

        start = variables, optimizer.init(variables)
        return jax.lax.scan(step, start, None, length=steps)[0][0]

    stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *starts)
    return jax.jit(jax.vmap(train))(stacked)


def errors(model: nn.Module, stacked: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The shares of wrong classes, ``(starts,)``."""
    classes = jax.vmap(lambda variables: model.apply(variables, x).argmax(-1))(stacked)
    return np.asarray((classes != y).mean(-1))


def band(axes: Axes, x: Any, values: np.ndarray, color: str, label: str) -> None:
    """The median of ``values`` ``(seeds, x)``, and where nine in ten lie."""
    low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95), axis=0)
    axes.plot(x, middle, color=color, label=label)
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def finished(result: Any) -> Any:
    """The race itself; half of one is nothing to judge a paper by.

    Raises:
      KeyboardInterrupt: if it was stopped.
    """
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def share(result: Any, scheme: str) -> float:
    """The share of runs that train at the scheme's best rate, of a ``race``."""
    finished(result)
    return float(result.share("trains")[result.schemes.index(scheme)].max())


def final(result: Any, scheme: str) -> float:
    """The median final loss of a scheme at its best rate."""
    finished(result)
    losses = result.losses[result.schemes.index(scheme)]
    ends = np.where(np.isfinite(losses), losses, np.inf)
    tenth = max(losses.shape[-1] // 10, 1)
    return float(np.median(ends[..., -tenth:].mean(-1), axis=-1).min())


def draw_losses(axes: Axes, result: Any) -> None:
    """The loss curves of a race, at each scheme's best rate."""
    for color, name in zip(COLORS, result.schemes, strict=False):
        losses = result.losses[result.schemes.index(name)]
        ends = np.median(np.nan_to_num(losses[..., -1], nan=np.inf), axis=-1)
        every = max(losses.shape[-1] // 250, 1)  # so that a long run is a small file
        best = losses[int(ends.argmin()), :, ::every]
        steps = every * np.arange(best.shape[-1])
        with np.errstate(all="ignore"):
            if np.isfinite(best).any(axis=0).all():
                band(axes, steps, best, color, name)
    axes.set(xlabel="step", ylabel="loss")
