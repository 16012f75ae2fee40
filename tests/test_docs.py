"""What the site says is true: its code runs, its links lead on, its tables hold."""

import json
import re
import sys
from pathlib import Path

import pytest

from jaxinit.report.findings import KINDS
from tests.processes import printed
from tests.test_readme import assert_same_text

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "scripts"))

import measured  # noqa: E402
import pages  # noqa: E402
import tables  # noqa: E402

PAGES = sorted(DOCS.rglob("*.md"))
WITH_CODE = [page for page in PAGES if "\n```python\n" in page.read_text()]
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def check_code(page: Path) -> None:
    with pages.elsewhere():
        for printed, shown in pages.run(page):
            assert_same_text(printed, shown)


@pytest.mark.pages
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_the_code_of_a_page_prints_what_it_shows(page):
    if pages.EIGHT_DEVICES not in page.read_text():
        check_code(page)
        return
    printed(8, "-m", "tests.test_docs", str(page))


def test_a_page_that_prints_something_else_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(2)\n```\n\n```text\n1\n```\n")

    with pytest.raises(AssertionError, match="2 instead of 1"):
        check_code(page)

    page.write_text("```python\nprint(2)\n```\n")
    with pytest.raises(AssertionError, match=r"'#' == ''"):
        check_code(page)
    assert pages.renewed(page).endswith("\n```text\n2\n```\n")


@pytest.mark.pages
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_a_notebook_runs(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert any(cell["cell_type"] == "markdown" for cell in cells)

    namespace: dict[str, object] = {"__name__": "notebook"}
    with pages.elsewhere():
        for cell in cells:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                exec("".join(cell["source"]), namespace)


@pytest.mark.parametrize("path", tables.PAGES)
def test_the_tables_are_those_of_the_code(path):
    assert (DOCS / path).read_text() == tables.PAGES[path](), (
        "run `python docs/scripts/tables.py`"
    )


def test_what_things_are_good_for_is_said_of_things_that_exist():
    known = {
        "initializers": set(tables.initializers.__all__),
        "schemes": {*tables.schemes.__all__, *tables.transfer.__all__},
    }
    assert {kind: set(uses) - known[kind] for kind, uses in tables.USES.items()} == {
        "initializers": set(),
        "schemes": set(),
    }


def test_the_measured_numbers_of_the_readme_are_those_of_the_results():
    text = (ROOT / "README.md").read_text()

    assert measured.rewritten(text) == text, "run `python docs/scripts/measured.py`"
    assert len(re.findall(r"^- \*\*", measured.lines(), re.MULTILINE)) == 3


def test_every_kind_of_finding_is_explained():
    text = (DOCS / "guides" / "read-a-report.md").read_text()
    table = text.split("| kind | it says |")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line[:3] == "| `"]

    assert {kind for cell in cells for kind in re.findall(r"`([\w-]+)`", cell)} == {
        *KINDS
    } - {"ok"}


# The links.


def links(page: Path) -> list[tuple[Path, str]]:
    """Files of the project that a page leads to, with the heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link for link in found if not re.match(r"[a-z]+:", link)]
    return [
        ((page.parent / path).resolve() if path else page, anchor)
        for path, _, anchor in (link.partition("#") for link in local)
    ]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", t.lower()).strip().replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name)
def test_links_lead_somewhere(page):
    for target, anchor in links(page):
        assert target.exists(), target
        if anchor:
            assert anchor in anchors(target)


def reached() -> set[Path]:
    """The pages that the README leads to, link by link."""
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in seen:
            seen.add(page)
            if page.suffix == ".md":
                ahead += [target for target, _ in links(page) if target.is_file()]
    return seen


def test_every_page_is_reached_from_the_readme():
    assert set(PAGES) - reached() == set()


def test_every_page_is_on_the_site():
    text = (ROOT / ".site" / "mkdocs.yml").read_text()
    navigation = set(re.findall(r"([\w/-]+\.md)$", text, re.MULTILINE))
    notebooks = {f"notebooks/{book.stem}.md" for book in NOTEBOOKS}

    assert navigation - notebooks == {p.relative_to(DOCS).as_posix() for p in PAGES}
    assert notebooks < navigation


# A person who knows Flax has two minutes: from the README one link, then the line.

QUESTIONS = {
    "kernel_init for my activation": (
        "guides/choose-an-initializer.md",
        "nn.Dense(64, kernel_init=scaled_by_activation(jax.nn.gelu))",
    ),
    "is my model healthy": ("quickstart.md", "report = jaxinit.analyze(MLP(), x"),
    "compare two schemes": (
        "guides/compare-and-race.md",
        "jaxinit.compare(model, x, schemes=schemes",
    ),
    "coordinate check": ("guides/mup.md", "check = jaxinit.coord_check("),
    "send a colleague a report": (
        "guides/share-a-report.md",
        'report.to_html("report.html")',
    ),
    "fail CI": ("guides/share-a-report.md", "report.assert_healthy()"),
    "log to W&B": ("guides/share-a-report.md", "wandb.log(report.scalars())"),
    "see it in a notebook": (
        "guides/share-a-report.md",
        "report  # as the last line of a cell",
    ),
    "use it with a sharded nnx model": (
        "guides/large-models.md",
        "jaxinit.fast_init(Net, jax.random.key(0), shardings=mesh)",
    ),
    "run it on 8 GPUs": (
        "guides/large-models.md",
        "jaxinit.analyze(model, x, seeds=16, devices=8)",
    ),
    "load part of a checkpoint": (
        "guides/load-weights.md",
        'jaxinit.load_partial(fresh, old, mismatch="reinit")',
    ),
    "which initialization is best": ("which-initialization.md", "jaxinit.race("),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_one_link_from_the_readme(question):
    page, line = QUESTIONS[question]
    path = DOCS / page

    assert path in [target for target, _ in links(ROOT / "README.md")]
    # The lines of this page run in the first test.
    assert path in WITH_CODE
    blocks = [b[2] for b in pages.BLOCK.finditer(path.read_text()) if b[1] == "python"]
    assert any(line in block for block in blocks)


if __name__ == "__main__":
    check_code(Path(sys.argv[1]))
