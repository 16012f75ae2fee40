"""Races five schemes on an MLP of 50 layers, and asks whether other seeds agree.

    python -m benchmarks.deep_race [--seeds 32] [--checkpoint FOLDER]

Three learning rates, digits, a hundred steps of Adam. The ranking is told for all
seeds, and for the first and the second half of them, which share no run. Ctrl-C tells
what is done and writes nothing; with `--checkpoint` the same command goes on from
there. The result is in `benchmarks/results/deep-race.txt`. With few seeds it says how
long the whole would take.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import optax
from flax import linen as nn

import jaxinit
from benchmarks.serve import ROOT

FULL = 32
RATES = (3e-4, 1e-3, 3e-3)
SCHEMES = ("own", "he_normal", "xavier_normal", "orthogonal(1.4142)", "lsuv")


def model(depth: int, width: int) -> nn.Module:
    """Dense layers with relu, and ten classes."""
    layers = [layer for _ in range(depth - 1) for layer in (nn.Dense(width), nn.relu)]
    return nn.Sequential([*layers, nn.Dense(10)])


def of_seeds(race: jaxinit.Race, chosen: Sequence[int]) -> jaxinit.Race:
    """The same race with some of its seeds, by their places."""
    places = list(chosen)
    return replace(
        race,
        seeds=race.seeds[places],
        losses=race.losses[:, :, places],
        accuracies=race.accuracies[:, :, places],
        outcomes=race.outcomes[:, :, places],
    )


def ranking(race: jaxinit.Race) -> str:
    """The schemes by their final loss: ``>`` beyond doubt, ``~`` within it.

    Neighbours are told apart by the difference from the first of them, paired over
    seeds, as ``Race.duels`` has it.
    """
    left, words = list(race.schemes), list[str]()
    while left:
        places = [race.schemes.index(name) for name in left]
        rest = replace(
            race,
            schemes=tuple(left),
            losses=race.losses[places],
            accuracies=race.accuracies[places],
            outcomes=race.outcomes[places],
        )
        found = rest.duels()
        leader = found[0].leader if found else left[0]
        tied = [leader, *(duel.other for duel in found if not duel.decided)]
        words.append(" ~ ".join(sorted(tied)))
        left = [name for name in left if name not in tied]
    return " > ".join(words)


def rankings(race: jaxinit.Race) -> list[str]:
    """Of all seeds, and of the two halves of them."""
    count = len(race.seeds)
    parts = {
        f"all {count} seeds": range(count),
        f"seeds {race.seeds[0]} to {race.seeds[count // 2 - 1]}": range(count // 2),
        f"seeds {race.seeds[count // 2]} to {race.seeds[-1]}": range(count // 2, count),
    }
    found = {name: ranking(of_seeds(race, part)) for name, part in parts.items()}
    _, first, second = found.values()
    lines = [f"{name}: {text}" for name, text in found.items()]
    same = "the same ranking" if first == second else "another ranking"
    return [*lines, f"The second half of the seeds gives {same}."]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m benchmarks.deep_race")
    parser.description = __doc__.splitlines()[0]
    parser.add_argument("--seeds", type=int, default=FULL, help="two or more")
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument(
        "--chunk",
        type=int,
        default=24,
        help="runs at once: those of eight seeds, which a checkpoint keeps together",
    )
    parser.add_argument("--checkpoint", metavar="FOLDER", help="of finished runs")
    parser.add_argument("--out", metavar="FILE", help="in place of the results' folder")
    options = parser.parse_args(given)
    if options.seeds < 2:
        parser.error("--seeds must be 2 or more: there are two halves of them")
    return options


def raced(
    options: argparse.Namespace, checkpoint: str | None
) -> tuple[jaxinit.Race, float]:
    """The race, and its seconds."""
    start = time.perf_counter()
    race = jaxinit.race(
        model(options.depth, options.width),
        "digits",
        schemes=SCHEMES,
        optimizer=optax.adam,
        learning_rates=RATES,
        steps=options.steps,
        seeds=options.seeds,
        chunk=min(options.chunk, len(RATES) * options.seeds),
        solutions=0,
        diagnose=False,
        checkpoint=checkpoint,
    )
    return race, time.perf_counter() - start


def main(given: Sequence[str] | None = None) -> int:
    """Races, prints and writes; 130 if it was interrupted."""
    options = arguments(given)
    race, seconds = raced(options, options.checkpoint)
    if race.interrupted:
        print(race)
        kept = "The same command goes on from what is kept."
        print(kept if options.checkpoint else "Nothing is kept without --checkpoint.")
        return 130
    runs = race.outcomes.size
    lines = [
        f"{options.depth} layers of {options.width}, {len(SCHEMES)} schemes, "
        f"{len(RATES)} rates, {options.seeds} seeds, {options.steps} steps",
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, jax "
        f"{version('jax')}: {seconds:.0f} s, {runs} runs",
        str(race),
        *rankings(race),
    ]
    if options.seeds < FULL:
        _, warm = raced(options, None)
        whole = seconds + warm * (FULL / options.seeds - 1)
        lines.append(
            f"Again, compiled: {warm:.0f} s. So {FULL} seeds take {whole / 60:.1f} "
            "minutes."
        )
    print(*lines, sep="\n")
    path = ROOT / "benchmarks" / "results" / "deep-race.txt"
    if options.out:
        path = path.parent / options.out
    path.write_text("\n".join(lines) + "\n")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
