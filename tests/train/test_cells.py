"""Finished runs of a race on disk."""

import numpy as np
import pytest

from jaxinit.train.cells import Cell, Store

CELL = Cell(np.arange(3.0), np.ones(3), solution=(np.arange(99.0),))
PLACE = ("weights", 0.1, 0)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path, "race")
    store.write(*PLACE, CELL)
    return store


def test_a_run_is_read_as_it_was(store):
    found = store.read(*PLACE)

    np.testing.assert_array_equal(found.losses, CELL.losses)
    np.testing.assert_array_equal(found.solution[0], CELL.solution[0])
    assert Store(store.path(*PLACE).parent, "another").read(*PLACE) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: data[: len(data) // 2] + b"\xff" + data[len(data) // 2 + 1 :],
        lambda data: b"PK" + bytes(200),
    ],
    ids=["empty", "cut", "a byte", "no archive"],
)
def test_a_damaged_run_is_none(store, damage):
    path = store.path(*PLACE)
    path.write_bytes(damage(path.read_bytes()))

    assert store.read(*PLACE) is None


def test_a_folder_that_is_gone(store):
    path = store.path(*PLACE)
    path.unlink()
    path.parent.rmdir()

    for keep in (store.check, lambda *place: store.write(*place, CELL)):
        with pytest.raises(ValueError, match="`checkpoint` must be a folder that can"):
            keep(*PLACE)
