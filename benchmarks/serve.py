"""A contender in a process of its own: says when it is ready, works when it is told.

Both sides of the pipe; of the standard library alone, since PyTorch's side may run in
an environment without jax.
"""

import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]


def serve(prepare: Callable[..., Callable[[], dict[str, Any]]]) -> None:
    """Runs what ``prepare(**spec)`` returns, once for each line on standard input.

    The spec is the process's one argument, as JSON. What is run returns facts for the
    answer, which also holds seconds by the clock and on all cores, and the peak of
    memory so far, above what it was before the first run.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    run = prepare(**json.loads(sys.argv[1]))
    idle = _peak()
    print("{}", file=answers, flush=True)
    for _ in sys.stdin:
        wall, cores = time.perf_counter(), time.process_time()
        facts = run()
        answer = {
            "wall": time.perf_counter() - wall,
            "cores": time.process_time() - cores,
            "peak": _peak() - idle,
        }
        print(json.dumps(answer | facts), file=answers, flush=True)


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Failed(Exception):
    """A contender that ended, or took longer than it may."""


class Worker:
    """A contender's process, as its caller sees it.

    Args:
      module: which module of ``benchmarks`` serves.
      spec: for its ``prepare``.
      python: the interpreter.
      limit: seconds that it may take to start, and for each run.
      env: environment variables beside those of this process.

    Raises:
      Failed: if it does not come up.
    """

    def __init__(
        self,
        module: str,
        spec: dict[str, Any],
        python: str,
        limit: float,
        env: dict[str, str] | None = None,
    ) -> None:
        self._limit = limit
        self._start = time.perf_counter()
        self._errors = tempfile.TemporaryFile("w+")  # a pipe would fill up
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.{module}", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=os.environ | (env or {}),
            text=True,
        )
        self._wait()

    def run(self) -> dict[str, Any]:
        """One run; of the first also the seconds since the process was started."""
        assert self._process.stdin is not None
        try:
            print("run", file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # the answer tells why
        answer = self._wait()
        answer["process"] = time.perf_counter() - self._start
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _wait(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], self._limit)
        line = self._process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        error = self._errors.read()
        self.end()
        if not ready:
            raise Failed(f"over {self._limit:g} s")
        said = [text for text in error.strip().splitlines() if text.strip()]
        raise Failed(said[-1].strip()[:200] if said else "ended without a word")
