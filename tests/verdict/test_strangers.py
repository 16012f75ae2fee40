"""Models that nobody tuned the verdict on: what was wrong of them once, stays right."""

import numpy as np
import pytest

import jaxinit
from tests.verdict.models import faults
from tests.verdict.models.case import Net, analyze, is_right
from tests.verdict.models.strangers import FAULTY, HEALTHY, language

FAULTS = {case.name: case for case in FAULTY}


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_sizes_that_come_from_no_kernel_are_healthy(case):
    report = analyze(case)

    assert report.verdict == "ok", report.findings


def test_a_small_learned_factor_is_a_fault_in_a_narrow_stream_alone():
    (case,) = (c for c in faults.FAULTY if c.name == "LayerScale in bfloat16")
    report = analyze(case)

    assert is_right(case, report), report.findings


def test_a_table_of_deviation_1_is_accused_without_the_division():
    report = jaxinit.analyze(
        Net(language(1.0)), *HEALTHY[2].inputs, seeds=4, remedies="none", progress=False
    )

    assert report.verdict == "loss-at-init"


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.name)
def test_faults_are_named_at_their_place(case):
    report = analyze(case)

    assert is_right(case, report), report.findings


@pytest.mark.parametrize(
    "name", ["norm's bias of -5", "fused bias of -4", "couplings without bound"]
)
def test_the_first_remedy_mends(name):
    case = FAULTS[name]
    model = Net(case.model) if callable(case.model) else case.model
    report = jaxinit.analyze(model, *case.inputs, seeds=8, progress=False)

    assert report.remedies[0].mends, report.remedies


def test_spectral_norms_are_no_running_statistics():
    report = analyze(FAULTS["spectral norms"])

    assert "largest singular value" in report.findings[0].remedy
    factor = float(report.findings[0].remedy.split()[4])
    assert factor == pytest.approx(2 ** (-report.findings[0].value / 2), rel=0.01)


def test_what_is_finite_is_whole_whatever_its_count():
    report = analyze(HEALTHY[-1])

    assert not report.forward["frac_nonfinite"].any()
    assert np.float32(41) * np.float32(1 / 41) < 1
