"""The suite of benchmarks: what it concludes, and how it hears of a contender's end."""

import itertools
import signal
import sys

import numpy as np
import pytest

from benchmarks import deep_race, scaling
from benchmarks.serve import Failed, Worker
from benchmarks.targets import TARGETS, floor, judged
from jaxinit import Race
from jaxinit.train import runner
from jaxinit.train.cells import Cell
from jaxinit.train.tabulated import tabulated


def test_missed_targets_are_listed_with_their_numbers():
    results = {
        ("mlp", 8, "jaxinit"): {"process": 5.0},
        ("mlp", 8, "loop"): {"process": 10.0},
        ("mlp", 8, "vmap"): {"process": 8.0},
        ("mlp", 64, "jaxinit"): {"warm": 1.0},
        ("mlp", 64, "loop"): {"warm": 1.0},
    }

    lines = judged(results, "cpu")

    # The floor is the best of the bare contenders: 5 of 8 seconds.
    assert lines[:2] == [
        "targets missed: 1",
        "  MLP, 8 seeds, process / bare: 0.625, at most 0.6 wanted",
    ]
    assert lines[2:4] == [
        "targets met: 1",
        "  mlp, 64 seeds, warm / bare: 1, at most 1.05 wanted",
    ]
    assert "GPT-12, 8 seeds, process / hooks" in lines[4]
    assert "512 seeds" not in lines[4]  # those are for accelerators


def test_the_verdict_has_a_target_of_its_own():
    results = {
        ("mlp", 64, "verdict"): {"warm": 1.5},
        ("mlp", 64, "jaxinit"): {"warm": 1.0},
        ("mlp", 64, "threads"): {"warm": 1.0},
    }

    assert judged(results, "cpu")[:2] == [
        "targets missed: 1",
        "  mlp, 64 seeds, warm with the verdict / bare: 1.5, at most 1.35 wanted",
    ]


def test_what_was_not_measured_is_no_target_met():
    with pytest.raises(KeyError, match="mlp"):
        floor({}, "mlp", 8, "warm")
    assert judged({}, "gpu")[0] == "targets missed: 0"
    assert judged({}, "gpu")[1] == "targets met: 0"
    assert len({target.text for target in TARGETS}) == len(TARGETS)


def test_a_contender_that_ends_says_why():
    with pytest.raises(Failed, match=r"No module named benchmarks\.no_such"):
        Worker("no_such", {}, sys.executable, 60.0)


def test_pages_are_tabulated_and_plotted(tmp_path):
    cost = {"compile": 2.0, "cold": 3.0, "warm": 0.5, "peak": 2.0**20}
    points = {8: cost, 64: {**cost, "warm": 4.0}}

    lines = scaling.table("seeds", points)
    scaling.plot({"seeds": points, "depth": {10: cost}}, tmp_path / "page.png")

    assert lines[-1].split() == ["64", "2.00", "3.00", "4.000", "1"]
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_a_deep_race_goes_on_where_it_was_interrupted(tmp_path, monkeypatch, capsys):
    small = ["--seeds", "2", "--depth", "3", "--width", "8", "--steps", "4"]
    given = [*small, "--chunk", "3", "--checkpoint", str(tmp_path / "kept")]
    files = [tmp_path / name for name in ("whole.txt", "resumed.txt")]
    real, calls = runner._run_chunk, itertools.count()

    def interrupted(*args):
        if next(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        yield from real(*args)

    monkeypatch.setattr(deep_race, "FULL", 2)
    assert deep_race.main([*small, "--chunk", "3", "--out", str(files[0])]) == 0
    monkeypatch.setattr(runner, "_run_chunk", interrupted)
    assert deep_race.main([*given, "--out", str(files[1])]) == 130
    assert "goes on from what is kept" in capsys.readouterr().out
    assert not files[1].exists()
    assert deep_race.main([*given, "--out", str(files[1])]) == 0

    assert next(calls) == 5 + 10 - 4  # 10 chunks, of which 4 were kept
    whole, resumed = (file.read_text().splitlines()[2:] for file in files)
    assert whole == resumed
    assert "half of the seeds gives" in whole[-1]


def test_a_ranking_says_what_is_told_apart():
    """Of losses of known means: b is far below, a and d are alike, c far above."""
    rng = np.random.default_rng(0)
    means, seeds, curve = {"a": 1.0, "b": 0.5, "c": 2.0, "d": 1.0}, 8, np.ones(4)
    cells = {
        (i, 0, j): Cell((mean + 0.01 * rng.normal()) * curve, curve * np.nan)
        for i, mean in enumerate(means.values())
        for j in range(seeds)
    }
    fields = tabulated(cells, 4, list(means), [0.1], range(seeds), 0.1)
    race = Race(
        **(fields | {"reference": 3.0}),
        **{"model": "m", "target": np.nan, "confidence": 0.95, "interrupted": False},
        **{"verdicts": {}, "pairs": (), "unmatched": "", "notes": {}, "settings": {}},
    )

    assert deep_race.ranking(race) == "b > a ~ d > c"
    assert deep_race.rankings(race)[1:] == [
        "seeds 0 to 3: b > a ~ d > c",
        "seeds 4 to 7: b > a ~ d > c",
        "The second half of the seeds gives the same ranking.",
    ]
