"""What the suite is to show, and which of it a run did: missed targets are listed."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks.contenders import BARE

Results = Mapping[tuple[str, int, str], Mapping[str, float]]
"""By workload, seeds and contender: ``cold``, ``warm``, ``compile``, ``process``."""


class Target(NamedTuple):
    """A ratio, or a number, and the bound on it.

    Attributes:
      text: what it is.
      bound: the largest value allowed.
      value: from all results; raises ``KeyError`` for what was not measured.
      where: ``"cpu"``, ``"gpu"``, or both if empty.
    """

    text: str
    bound: float
    value: Callable[[Results], float]
    where: str = ""


def floor(results: Results, workload: str, seeds: int, what: str) -> float:
    """The least that a bare contender took."""
    times = [
        results[workload, seeds, way][what]
        for way in BARE
        if (workload, seeds, way) in results
    ]
    if not times:
        raise KeyError(workload)
    return min(times)


def _bare(
    workload: str, seeds: int, what: str, contender: str = "jaxinit"
) -> Callable[[Results], float]:
    def value(results: Results) -> float:
        ours = results[workload, seeds, contender][what]
        return ours / floor(results, workload, seeds, what)

    return value


def _hooks(workload: str, seeds: int, what: str) -> Callable[[Results], float]:
    def value(results: Results) -> float:
        ours = results[workload, seeds, "jaxinit"][what]
        return ours / results[workload, seeds, "hooks"][what]

    return value


def _page(page: str, first: int, last: int, what: str) -> Callable[[Results], float]:
    """The last point of a scaling page over the first."""

    def value(results: Results) -> float:
        return results[page, last, what]["value"] / results[page, first, what]["value"]

    return value


def _fixed(results: Results) -> float:
    return results["convnet", 8, "jaxinit"]["fixed"]


TARGETS = (
    Target(
        "GPT-12, 8 seeds, process / bare", 0.6, _bare("gpt-12", 8, "process"), "cpu"
    ),
    Target(
        "GPT-12, 8 seeds, process / hooks", 1.8, _hooks("gpt-12", 8, "process"), "cpu"
    ),
    Target(
        "GPT-12, 64 seeds, process / hooks", 1.0, _hooks("gpt-12", 64, "process"), "cpu"
    ),
    Target("MLP, 8 seeds, process / bare", 0.6, _bare("mlp", 8, "process"), "cpu"),
    Target(
        "convnet, 8 seeds, process / bare", 0.6, _bare("convnet", 8, "process"), "cpu"
    ),
    Target(
        "ResNet-18, 8 seeds, process / bare",
        0.7,
        _bare("resnet-18", 8, "process"),
        "cpu",
    ),
    *(
        Target(f"{name}, 64 seeds, warm / bare", 1.05, _bare(name, 64, "warm"))
        for name in ("mlp", "convnet", "gpt-12", "resnet-18", "vit", "lstm")
    ),
    *(
        Target(
            f"{name}, 64 seeds, warm with the verdict / bare",
            1.35,
            _bare(name, 64, "warm", "verdict"),
        )
        for name in ("mlp", "convnet", "gpt-12", "resnet-18", "vit", "lstm")
    ),
    Target("convnet, 8 seeds, fixed seconds of a warm call", 0.03, _fixed),
    Target(
        "GPT of 96 blocks / of 12, compiling", 1.5, _page("blocks", 12, 96, "compile")
    ),
    Target("two devices / one, warm", 1 / 1.5, _page("devices", 1, 2, "warm"), "cpu"),
    Target("4096 seeds / 64, peak of memory", 1.1, _page("seeds", 64, 4096, "peak")),
    Target("MLP, 512 seeds, warm / hooks", 0.01, _hooks("mlp", 512, "warm"), "gpu"),
    Target(
        "GPT-12, 512 seeds, warm / hooks", 0.05, _hooks("gpt-12", 512, "warm"), "gpu"
    ),
)


def judged(results: Results, backend: str) -> list[Any]:
    """Lines that say of each target whether it was met, the missed ones first."""
    missed, met, open_ = [], [], []
    for target in TARGETS:
        if target.where not in ("", backend):
            continue
        try:
            value = target.value(results)
        except KeyError:
            open_.append(target.text)
            continue
        line = f"  {target.text}: {value:.3g}, at most {target.bound:.3g} wanted"
        (met if value <= target.bound else missed).append(line)
    lines = [f"targets missed: {len(missed)}", *missed]
    lines += [f"targets met: {len(met)}", *met]
    if open_:
        lines.append(f"not measured in this run: {'; '.join(open_)}")
    return lines
