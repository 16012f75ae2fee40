"""The suite of benchmarks: what it concludes, and how it hears of a contender's end."""

import sys

import pytest

from benchmarks import scaling
from benchmarks.serve import Failed, Worker
from benchmarks.targets import TARGETS, floor, judged


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
        ("mlp", 32, "verdict"): {"warm": 1.5},
        ("mlp", 32, "jaxinit"): {"warm": 1.0},
        ("mlp", 32, "threads"): {"warm": 1.0},
    }

    assert judged(results, "cpu")[:2] == [
        "targets missed: 1",
        "  mlp, 32 seeds, warm with the verdict / bare: 1.5, at most 1.35 wanted",
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
