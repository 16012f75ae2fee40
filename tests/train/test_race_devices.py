"""A race over the devices of one process, and over two processes."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from jaxinit import Race
from tests.processes import assert_told_of_death, environment
from tests.train.racers import SEEDS, race

pytestmark = pytest.mark.internals


@pytest.fixture(scope="module")
def alone():
    return race()


def started(devices, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.racers", *map(str, arguments)],
        env=environment(devices),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def both(folder, *more):
    """Two processes, to their ends: return codes, the files they write, errors."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    files = [folder / f"{index}.json" for index in range(2)]
    two = [started(2, file, port, i, *more) for i, file in enumerate(files)]
    errors = [process.communicate(timeout=300)[1] for process in two]
    return [process.returncode for process in two], files, errors


def read(file):
    facts = json.loads(file.read_text())
    return Race.from_json(facts["race"]), facts["ran"]


def assert_same(found, alone):
    np.testing.assert_allclose(found.losses, alone.losses, rtol=1e-4)
    np.testing.assert_array_equal(found.accuracies, alone.accuracies)
    np.testing.assert_array_equal(found.outcomes, alone.outcomes)
    assert found.reasons == alone.reasons
    assert len(found.reasons) == 2 * SEEDS
    assert len(found.pairs) == len(alone.pairs) > 0
    for pair, other in zip(found.pairs, alone.pairs, strict=True):
        assert pair["first"] == other["first"]
        assert pair["distance"] == pytest.approx(other["distance"], rel=1e-3)


def test_four_devices_give_the_numbers_of_one(alone, tmp_path):
    process = started(4, tmp_path / "race.json")
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors

    found, ran = read(tmp_path / "race.json")

    assert found.settings["devices"] == 4
    assert ran == list(range(SEEDS))
    assert_same(found, alone)


def test_both_processes_know_the_numbers_of_one(alone, tmp_path):
    codes, files, errors = both(tmp_path)
    assert codes == [0, 0], errors
    (first, ran_first), (second, ran_second) = map(read, files)

    assert (ran_first, ran_second) == ([0, 2, 4], [1, 3])  # nothing is done twice
    assert first.settings["processes"] == first.settings["devices"] == 2
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.pairs == second.pairs
    assert_same(first, alone)


def test_a_process_that_dies_ends_the_other_with_an_error_that_says_so(tmp_path):
    codes, _, errors = both(tmp_path, "die")

    assert_told_of_death(codes, errors)
