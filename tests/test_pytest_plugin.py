"""The fixture that makes "my model is healthy" a test of three lines."""

import jax
import pytest
from flax import linen as nn

from jaxinit.pytest_plugin import assert_healthy as assert_healthy
from jaxinit.report.findings import UnhealthyError
from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report, walk

SICK = judged(make_report(dense_rows(20), log2_moment=walk(16, 20, drift=-1, step=0)))


@pytest.fixture
def sick(monkeypatch):
    seen = []

    def analyze(*args, **options):
        seen.append((args, options))
        return SICK

    monkeypatch.setattr("jaxinit.signal.analyze.analyze", analyze)
    return seen


def test_a_healthy_model_passes(assert_healthy):
    x = jax.random.normal(jax.random.key(0), (8, 6))

    assert assert_healthy(nn.Dense(4), x, seeds=2).verdict == "ok"


def test_a_sick_model_fails(assert_healthy, sick):
    with pytest.raises(UnhealthyError, match="vanishing"):
        assert_healthy("model", 1, 2, seeds=3)

    assert sick == [(("model", 1, 2), {"seeds": 3})]


def test_what_is_allowed_passes(assert_healthy, sick):
    assert assert_healthy("model", allow=["vanishing"]) is SICK
    assert assert_healthy("model", ignore=["Dense_*"]) is SICK


@pytest.mark.parametrize("github", ["true", "false"])
def test_annotations_on_github(assert_healthy, sick, monkeypatch, capsys, github):
    monkeypatch.setenv("GITHUB_ACTIONS", github)
    with pytest.raises(UnhealthyError, match="vanishing"):
        assert_healthy("model")

    assert ("::error title=" in capsys.readouterr().out) == (github == "true")
