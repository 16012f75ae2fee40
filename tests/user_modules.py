"""A folder with a user's module in it, for tests of the shell's commands."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def project_of(text: str) -> Callable[..., Iterator[Path]]:
    """A fixture: a folder that holds ``user_models.py``, as the current directory."""

    @pytest.fixture(name="project")
    def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        (tmp_path / "user_models.py").write_text(text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        yield tmp_path
        for name in [name for name in sys.modules if name.startswith("user_")]:
            del sys.modules[name]

    return folder
