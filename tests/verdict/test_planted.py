"""Each kind of fault is named at its place, and what only looks like it is not.

A share of the planted set; ``benchmarks/verdict.py`` runs all of it.
"""

import pytest

from jaxinit.report.report import Report
from jaxinit.signal.trial import NUM_STEPS
from tests.verdict.planted import FAULTY, HEALTHY, analyze, is_right

FAULTS = {planted.name: planted for planted in FAULTY}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("constant kernels", "are equal, and still are after"),
        ("two zero layers", "are zero and stay so"),
        ("norm of a zero row", "a root of 0, whose slope is infinite"),
        ("head not returned", "The output does not depend on"),
        ("no 1/sqrt(d)", "nearly one-hot"),
        ("tanh with bias 4", "a bias holds it at one end"),
        ("tanh of N(0, 1)", "up to the kernel in front"),
        ("attention without skips", "All positions carry nearly the same vector"),
        ("forget bias -3", "a memory of"),
        ("relu of radius 2", "per time step back"),
        ("readout N(0, 1)", "at Dense_2 alone"),
        ("one layer x4", "at Dense_3 alone"),
        ("300 times", "a factor of 300 multiplies"),
        ("mean 100", "takes it as it is"),
        ("bf16 swallows", "swallows its branch"),
        ("loss of 1e-30", "its square underflows"),
        ("batch norm of 2", "over 2 values"),
    ],
)
def test_fault_is_named_at_its_place(name, says):
    planted = FAULTS[name]
    report = analyze(planted.body, planted.x, planted.loss)

    assert is_right(planted, report), report.findings
    assert says in report.findings[0].message
    assert report.findings[0].remedy


@pytest.mark.parametrize(
    "name",
    [
        "logistic regression from zeros",
        "ReZero",
        "adaLN-zero",
        "frozen backbone",
        "BYOL",
        "VQ-VAE",
        "forget bias 5",
        "masked",
        "pixels, conv, norm",
        "normalized inside",
    ],
)
def test_what_only_looks_like_a_fault_is_healthy(name):
    report = analyze(*HEALTHY[name])

    assert report.verdict == "ok", report.findings


def test_cuts_and_unlocked_zeros_are_notes():
    byol = analyze(*HEALTHY["BYOL"])
    head = analyze(*HEALTHY["zero head"])

    (cut,) = [n for n in byol.notes if n.startswith("Cut off on purpose")]
    assert "target/kernel" in cut
    assert "online" not in cut
    (late,) = [n for n in head.notes if n.startswith("Unlocked by the first updates")]
    assert "Dense_0/kernel" in late
    assert "Dense_3/kernel" not in late


def test_steps_are_taken_only_where_they_tell_something():
    healthy = analyze(*HEALTHY["two layers"], seeds=2)
    head = analyze(*HEALTHY["zero head"], seeds=2)

    assert healthy.evidence["steps"] == 0
    assert all(e["moved_first"] == 1 for e in healthy.evidence["params"].values())
    assert head.evidence["steps"] == 2  # the second gradient is there: no more are
    first = {e["moved_first"] for e in head.evidence["params"].values()}
    assert (first, {e["moved"] for e in head.evidence["params"].values()}) == (
        {0.0, 1.0},
        {1.0},
    )


def test_steps_go_on_while_something_has_not_come():
    trapped = FAULTS["two zero layers"]

    report = analyze(trapped.body, trapped.x, seeds=2)

    assert report.evidence["steps"] == NUM_STEPS


def test_evidence_survives_json():
    report = analyze(*HEALTHY["zero head"], seeds=2)

    # As text: NaN, of what has no units, differs from itself.
    again = Report.from_json(report.to_json())
    assert repr(again.evidence) == repr(report.evidence)


def test_without_judging_there_is_no_evidence():
    import jaxinit
    from tests.verdict.planted import Net

    body, x = HEALTHY["two layers"]
    assert jaxinit.analyze(Net(body), x, seeds=2, judge=False).evidence == {}
