"""Every sentence of the verdict has a model that makes it appear.

``SAID`` says which; a share of these models is run here, the others by
``benchmarks/verdict.py``.
"""

import functools

import pytest

from tests.verdict import test_verdict
from tests.verdict.models.case import analyze
from tests.verdict.models.changes import CHANGES, names_the_change
from tests.verdict.models.every import FAULTY, HEALTHY
from tests.verdict.sentences import SAID, sentences

CASES = {case.name: case for case in (*FAULTY, *HEALTHY)}

RUN = [
    "steep without size",
    "tied table of std 1",
    "arc cosine",
    "root of negative numbers",
    "logarithm of negative numbers",
    "log of 0",
    "zero by zero",
    "one by zero",
    "inverse root of zero",
    "cosine with a zero vector",
    "a fully masked row",
    "overflow",
    "dropout of 0.96",
    "sum over a full graph",
    "large inputs, linear",
    "tanh of 20 z",
    "critic, states of mean 100",
    "scanned attention without skips",
    "scanned attention, queries x12",
    "gradients below float16",
    "300 times",
    "maximum over nothing",
    "energy in float16",
    "scores / 0.01",
    "products of 256 terms",
    "decay 0.2, each step read out",
    "rounded, no way back",
]


def test_every_sentence_has_a_model_or_a_made_up_report():
    said = {piece for pieces in SAID.values() for piece in pieces}

    assert set(sentences()) == said


def test_the_models_and_tests_exist():
    for name in SAID:
        known = hasattr(test_verdict, name) or name.removeprefix("twin of ") in CASES
        assert known, name


def test_an_unknown_sentence_would_be_noticed():
    found = sentences()

    assert "right behind" not in found  # two words are no sentence
    assert found["takes it as it is; kernels are drawn for mean 0 and deviation 1."]


@functools.cache
def report_of(name):
    return analyze(CASES[name])


def text_of(name):
    """All that is said about a case."""
    report = report_of(name)
    parts = [f"{f.message} {f.remedy or ''}" for f in report.findings]
    return " ".join([*parts, *report.notes])


@pytest.mark.parametrize("name", RUN)
def test_the_model_makes_it_appear(name):
    for piece in SAID[name]:
        assert piece in text_of(name)


@pytest.mark.parametrize("name", [name for name in RUN if name in CHANGES])
def test_a_line_of_code_names_what_the_twin_changes(name):
    finding = report_of(name).findings[0]

    assert names_the_change(CASES[name], finding.remedy, finding)


def test_another_line_or_another_place_is_not_the_twins_change():
    case, finding = CASES["300 times"], report_of("300 times").findings[0]

    assert not names_the_change(case, "kernel_init=jaxinit.he_normal()", finding)
    elsewhere = finding._replace(row="Dense_1")
    assert not names_the_change(case._replace(place="x"), finding.remedy, elsewhere)


def test_changes_are_of_planted_faults():
    assert set(CHANGES) <= {case.name for case in FAULTY}
