"""The arrows of import between the rooms of the package run one way."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxinit

ROOT = Path(jaxinit.__file__).parent
ARCHITECTURE = Path(__file__).parent.parent / "ARCHITECTURE.md"

# What each room may import, as the table in ARCHITECTURE.md has it.
ALLOWED = {
    row[1]: frozenset(re.findall(r"`(\w+)`", row[2]))
    for row in re.finditer(
        r"^\| `(\w+)/?` \|[^|]*\|([^|]*)\|$", ARCHITECTURE.read_text(), re.MULTILINE
    )
}


def imports(path: Path, source: str) -> set[str]:
    """The rooms that a file's imports name, its own left out."""
    room = path.relative_to(ROOT).parts[0]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "jaxinit":
                names = [f"jaxinit.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "jaxinit" and len(parts) > 1:
                found.add(parts[1])
    return {name for name in found if (ROOT / name).is_dir() and name != room}


def rooms() -> list[str]:
    return sorted(p.name for p in ROOT.iterdir() if (p / "__init__.py").is_file())


def foreign(path: Path, source: str) -> set[str]:
    """The rooms that a file imports without being allowed to."""
    return imports(path, source) - ALLOWED[path.relative_to(ROOT).parts[0]]


def test_the_page_has_a_row_for_every_room():
    assert sorted(ALLOWED) == rooms()


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_what_the_page_allows(room):
    for path in (ROOT / room).rglob("*.py"):
        assert foreign(path, path.read_text()) == set(), path


def test_an_import_against_the_arrows_is_noticed():
    path = ROOT / "program" / "flow.py"

    assert foreign(path, "from jaxinit.signal.measure import measure") == {"signal"}


def test_the_rooms_have_no_circle():
    left = dict(ALLOWED)
    while left:
        ground = [room for room, needs in left.items() if not needs & set(left)]
        assert ground, f"a circle among {sorted(left)}"
        for room in ground:
            del left[room]


def test_importing_the_package_loads_neither_flax_nor_matplotlib():
    command = (
        "import sys, jaxinit; "
        "print([m for m in ('flax', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
