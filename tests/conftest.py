"""Settings of all tests, and which of them are the quick ones."""

import gc
import os
from pathlib import Path

import pytest

from tests.report import chromium

# What a test compiles runs once: on CPU less optimization saves a third of the time.
# Read when jax starts its backend, after this; subprocesses inherit it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

# Where all cores are busy, threads of LAPACK that wait for each other take a thousand
# times as long as one alone. Read when SciPy loads it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tracing makes many objects and few cycles: to look for cycles at every 700th takes a
# tenth of the time.
gc.set_threshold(50_000, 20, 20)

# Files that compile little, from most of the rooms.
QUICK = frozenset(
    {
        "draw/test_compiling.py",
        "initializers/test_constants.py",
        "initializers/test_fans.py",
        "initializers/test_normal.py",
        "initializers/test_values.py",
        "initializers/test_variance_scaling.py",
        "layers/test_kernels_of_many_kinds.py",
        "program/test_prune.py",
        "report/test_files.py",
        "report/test_report.py",
        "report/test_table.py",
        "roles/test_learned_data.py",
        "roles/test_readout.py",
        "roles/test_router.py",
        "schemes/test_rules.py",
        "test_rooms.py",
        "train/test_intervals.py",
        "transfer/test_names.py",
        "transfer/test_weight_selection.py",
        "verdict/test_trend.py",
        "verdict/test_verdict.py",
    }
)


IN_CHROMIUM = "report/test_page_in_chromium.py"
collect_ignore = [] if chromium.program() else [IN_CHROMIUM]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which tests are left out, and why."""
    if collect_ignore:
        terminalreporter.write_line(
            f"LEFT OUT: tests/{IN_CHROMIUM}, since there is no Chromium "
            "(apt-get install chromium)"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the quick files."""
    here = Path(__file__).parent
    quick = {here / name for name in QUICK}
    missing = [str(path) for path in quick if not path.exists()]
    if missing:
        raise pytest.UsageError(f"QUICK names files that are gone: {missing}")
    for item in items:
        if item.path in quick:
            item.add_marker("quick")
