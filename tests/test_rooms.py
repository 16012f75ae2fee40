"""The arrows of import between the rooms of the package run one way."""

import ast
import importlib
import inspect
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


def loaded(source: str, *names: str) -> list[str]:
    """Which modules a fresh process holds once it has run ``source``."""
    show = f"import sys; print(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{source}\n{show}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_importing_the_package_loads_neither_flax_nor_matplotlib():
    assert loaded("import jaxinit", "flax", "matplotlib", "pandas") == []


# What an analysis of a linen model does not need, and what the rooms hold besides.
UNUSED = (
    *("flax.nnx", "optax", "jax.scipy.stats", "rich.progress", "matplotlib"),
    *("jaxinit.initializers.normal", "jaxinit.moments", "jaxinit.schemes.scheme"),
    *("jaxinit.theory", "jaxinit.train", "jaxinit.signal.evidence"),
    *("jaxinit.signal.extra.measure", "jaxinit.signal.remedies.trying"),
    *("jaxinit.report.html", "jaxinit.report.json", "jaxinit.cli"),
)


def test_an_analysis_loads_only_what_it_uses():
    analysis = (
        "import jax, jaxinit\n"
        "from flax import linen as nn\n"
        "x = jax.ShapeDtypeStruct((4, 3), 'float32')\n"
        "jaxinit.analyze(nn.Dense(2), x, seeds=1, judge=False, progress=False)"
    )

    assert loaded(analysis, *UNUSED) == []


@pytest.mark.parametrize("room", ["initializers", "schemes", "transfer"])
def test_a_contents_page_lists_the_names_that_it_imports(room):
    stub = (ROOT / room / "__init__.pyi").read_text()
    listed = ast.literal_eval(stub.partition("\n__all__ = ")[2])

    assert sorted(listed) == importlib.import_module(f"jaxinit.{room}").__all__


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    for page, module in (("schemes", "explain"), ("initializers", "fans")):
        importlib.import_module(f"jaxinit.{page}.{module}")
        found = getattr(getattr(jaxinit, page), module)

        assert inspect.isroutine(found), found
    assert inspect.ismodule(jaxinit.schemes.scheme)
    assert {"explain", "lsuv"} <= {*dir(jaxinit.schemes)}
