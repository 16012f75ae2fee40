"""Every sentence of the verdict has a model that makes it appear.

``SAID`` says which; a share of these models is run here, the others by
``benchmarks/verdict.py``.
"""

import functools

import pytest

from tests.verdict import test_verdict
from tests.verdict.models.case import analyze
from tests.verdict.models.every import FAULTY, HEALTHY
from tests.verdict.sentences import SAID, sentences

CASES = {case.name: case for case in (*FAULTY, *HEALTHY)}


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
def text_of(name):
    """All that is said about a case."""
    report = analyze(CASES[name])
    parts = [f"{f.message} {f.remedy or ''}" for f in report.findings]
    return " ".join([*parts, *report.notes])


@pytest.mark.parametrize(
    "name",
    [
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
    ],
)
def test_the_model_makes_it_appear(name):
    for piece in SAID[name]:
        assert piece in text_of(name)
