"""Python in a process of its own, with as many devices as its CPU is to play.

How many there are is fixed when jax starts, and many would slow every other test.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment(devices: int) -> dict[str, str]:
    """This process's, but for the number of devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
    }


def printed(devices: int, *arguments: str) -> str:
    """What ``python *arguments`` prints; what it complains of if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(devices),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def assert_told_of_death(codes: list[int], errors: list[str]) -> None:
    """Of two processes the second has died with status 9, and the first says so."""
    assert codes[1] == 9
    assert codes[0] not in (0, 9)
    told = ("one of them has ended", "another task died")  # ours, or jax's own
    assert any(text in errors[0] for text in told), errors[0]
