"""The studies run, and what the pages say of them is what their records hold."""

import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from examples.papers.__main__ import studies
from examples.papers.study import MODES, as_text, run

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import papers  # noqa: E402

STUDIES = studies()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs(name, tmp_path):
    study = STUDIES[name]
    record, draw = run(study, "smoke")

    assert study.name == name
    assert set(study.sizes) == set(MODES)
    assert len({frozenset(size) for size in study.sizes.values()}) == 1
    text = as_text(record)
    assert record["claims"]
    for claim in record["claims"]:
        assert type(claim["holds"]) is bool
        assert claim["published"] in text
        assert claim["measured"] in text
    axes = Figure().subplots()
    draw(axes)
    assert axes.has_data()


def test_the_pages_hold_what_the_records_say():
    assert (ROOT / "docs" / "papers.md").read_text() == papers.papers_page()
    for name in papers.QUOTING:
        text = (ROOT / "docs" / name).read_text()
        assert papers.quoted(text) == text
        assert papers.QUOTE.search(text)


def test_records_are_of_runs_that_may_be_cited():
    found = papers.records()

    assert found
    for name, record in found.items():
        assert record["mode"] in ("full", "quick")
        expected = STUDIES[name].sizes[record["mode"]]
        assert {
            k: tuple(v) if isinstance(v, list) else v for k, v in record["size"].items()
        } == expected
