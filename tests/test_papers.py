"""The studies run, and what the pages say of them is what their records hold."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from examples.papers.__main__ import studies
from examples.papers.le_2015_irnn import adding
from examples.papers.narrow_to_wide import at_best_rate, carried, order
from examples.papers.study import (
    MODES,
    Claim,
    Found,
    Study,
    as_text,
    final,
    main,
    run,
    share,
)

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import papers  # noqa: E402

STUDIES = studies()

# What takes longest to compile: races, and training on top of what is pre-trained. The
# full check alone runs these, at their quick size, as it does all others too.
IN_THE_FULL_CHECK = frozenset(
    {
        "erhan_2010",
        "few_labels",
        "huang_2020_t_fixup",
        "martens_2010",
        "narrow_to_wide",
        "schoenholz_2017",
        "sutskever_2013",
        "yang_2022_mup",
        "zhang_2019_fixup",
    }
)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_three_sizes(name):
    study = STUDIES[name]

    assert study.name == name
    assert set(study.sizes) == set(MODES)
    assert len({frozenset(size) for size in study.sizes.values()}) == 1


def test_the_full_check_runs_every_study_and_draws_it():
    assert IN_THE_FULL_CHECK < set(STUDIES)
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    command = ".venv-dev/bin/python -m examples.papers --quick --keep"
    assert command in map(str.strip, lines)
    assert any(line.startswith("step ") and "the_papers" in line for line in lines)


@pytest.mark.parametrize("name", sorted(STUDIES.keys() - IN_THE_FULL_CHECK))
def test_a_study_runs(name):
    record, draw = run(STUDIES[name], "smoke")

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
        assert record["scaled"] == STUDIES[name].scaled
        assert record["paper"] == STUDIES[name].paper
        expected = STUDIES[name].sizes[record["mode"]]
        assert {
            k: tuple(v) if isinstance(v, list) else v for k, v in record["size"].items()
        } == expected


@pytest.mark.parametrize("holds", [True, False])
def test_a_claim_that_does_not_hold_is_an_exit_status(holds, tmp_path):
    claims = [Claim("a", "b", "c", True), Claim("d", "e", "f", holds)]
    study = Study(
        "s", "A, B, 2000", "all.", {"smoke": {}}, lambda: Found(claims, lambda _: None)
    )
    arguments = ["--smoke", "--check", "--figure", str(tmp_path / "figure.svg")]

    if holds:
        assert main(study, arguments)["claims"][1]["holds"]
        return
    with pytest.raises(SystemExit, match="1"):
        main(study, arguments)


@pytest.mark.parametrize("measured", [final, share])
def test_half_a_race_is_judged_by_nothing(measured):
    with pytest.raises(KeyboardInterrupt):
        measured(SimpleNamespace(interrupted=True), "a")


def test_the_adding_problem_is_to_add_a_number_of_each_half():
    inputs, sums = adding(9, 50)(3)
    numbers, marks = inputs[..., 0], inputs[..., 1]

    assert (marks[:, :4].sum(1) == 1).all()
    assert (marks[:, 4:].sum(1) == 1).all()
    np.testing.assert_allclose(sums[:, 0], (numbers * marks).sum(1), rtol=1e-6)
    assert (adding(9, 50)(3)[0] == inputs).all()
    assert (adding(9, 50)(4)[0] != inputs).any()


def test_a_ranking_carries_over_if_no_decided_pair_turns():
    apart = np.array([[0.1, 0.11, 0.12], [0.5, 0.52, 0.51], [0.3, 0.9, 0.4]])
    before = order(apart)
    assert before.tolist() == [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]

    assert carried(before, before)[1]
    said, holds = carried(before, order(apart[[1, 0, 2]]))
    assert not holds
    assert said == "of 1 pairs told apart, 0 stay, 0 can no longer be told, 1 turn"
    assert not carried(before, np.zeros_like(before))[1]


def test_the_best_rate_is_that_of_the_lowest_median():
    losses = np.array([[[3.0, 0.1, 3.0], [1.0, 1.0, 1.0], [np.nan, np.inf, 9.0]]])
    losses = np.stack([np.zeros_like(losses), losses], axis=-1)

    assert at_best_rate(losses).tolist() == [[1.0, 1.0, 1.0]]
