"""Seeds over two processes, with four devices each."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

import jaxinit
from tests.processes import assert_told_of_death, environment
from tests.signal.two_processes import SEEDS, Noisy, X

pytestmark = pytest.mark.internals


def run(folder, *more):
    """Both processes, to their ends: return codes, the files they write, errors."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.signal.two_processes", port]
    files = [folder / f"{index}.json" for index in range(2)]
    both = [
        subprocess.Popen(
            [*command, str(index), str(file), *more],
            env=environment(4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, file in enumerate(files)
    ]
    errors = [process.communicate(timeout=300)[1] for process in both]
    return [process.returncode for process in both], files, errors


def test_both_processes_know_the_numbers_of_one(tmp_path):
    codes, files, errors = run(tmp_path)
    assert codes == [0, 0], errors
    first, second = (json.loads(file.read_text()) for file in files)

    alone = jaxinit.analyze(Noisy(), X, seeds=SEEDS, judge=False)

    assert first.pop("ran") == [0, 2, 4, 6, 8, 10]  # nothing is computed twice
    assert second.pop("ran") == [1, 3, 5, 7, 9]
    assert first == second
    assert first["devices"] == 4
    assert first["processes"] == 2
    for group in ("forward", "backward", "weights"):
        for metric, values in getattr(alone, group).items():
            # Up to the order of float32 sums.
            np.testing.assert_allclose(
                np.asarray(first[group][metric], np.float64),
                values,
                rtol=1e-4,
                atol=1e-6,
                err_msg=metric,
            )


def test_a_process_that_dies_ends_the_other_with_an_error_that_says_so(tmp_path):
    codes, _, errors = run(tmp_path, "die")

    assert_told_of_death(codes, errors)
