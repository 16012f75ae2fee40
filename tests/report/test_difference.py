"""Differences: what seeds explain is none."""

import dataclasses

import numpy as np
import pytest

from jaxinit.report.difference import _student
from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report, walk


def drawn(seed, key=0, shift=0.0, rows=12, num_seeds=16):
    """Rows whose logarithms are normal over seeds; the last one is shifted."""
    noise = 0.3 * np.random.default_rng(seed).standard_normal((num_seeds, rows))
    noise[:, -1] += shift
    return judged(
        make_report(
            dense_rows(rows),
            log2_moment=noise,
            num_seeds=num_seeds,
            key_data=np.array([0, key], np.uint32),
        )
    )


def test_a_report_does_not_differ_from_itself():
    found = drawn(0).diff(drawn(0))

    assert not found.changed
    assert "Nothing changed" in str(found)


def test_other_seeds_of_one_model_rarely_differ():
    """At a level of 1%, 3 of 100 pairs are beyond chance (p = 0.98 for at most 3)."""
    changed = sum(
        bool(drawn(2 * i, key=1).diff(drawn(2 * i + 1, key=2)).changes)
        for i in range(100)
    )

    assert changed <= 3


def test_a_change_beyond_the_seeds_is_found():
    found = drawn(0, key=1).diff(drawn(1, key=2, shift=1.0))

    (change,) = found.changes
    assert (change.row, change.metric) == ("Dense_11", "second_moment")
    # The factor's logarithm has the standard error sqrt(2/16) * 0.3 in octaves.
    assert abs(np.log2(change.factor) - 1) < 4 * np.sqrt(2 / 16) * 0.3
    np.testing.assert_allclose(
        change.stderr, np.sqrt(2 / 16) * 0.3 * np.log10(2), rtol=0.5
    )


def test_the_same_keys_are_compared_seed_by_seed():
    """A change of 3% is far below the spread, and above none of the differences."""
    found = drawn(0).diff(drawn(0, shift=0.05))

    (change,) = found.changes
    np.testing.assert_allclose(change.factor, 2**0.05)
    assert change.stderr < 1e-12


def test_rows_and_findings_come_and_go():
    healthy = drawn(0)
    sick = judged(
        make_report(dense_rows(13), log2_moment=walk(16, 13, drift=-1, step=0))
    )
    found = healthy.diff(sick)

    assert found.added == ("Dense_12",)
    assert found.removed == ()
    assert found.verdicts == ("ok", "vanishing")
    assert [f.kind for f in found.new_findings] == ["vanishing"]
    assert [f.kind for f in sick.diff(healthy).gone_findings] == ["vanishing"]
    assert "Verdict: ok -> vanishing" in str(found)


def test_one_seed_says_nothing():
    one = dataclasses.replace(drawn(0, num_seeds=1), seeds=np.array([3]))

    assert not drawn(0, num_seeds=1).diff(one).changes


@pytest.mark.parametrize(
    ("z", "freedom", "quantile"),
    # t at p = 0.975, 0.995, 0.9995 by tables of Student's distribution
    [(1.95996, 10, 2.2281), (2.57583, 15, 2.9467), (3.29053, 30, 3.6460)],
)
def test_students_quantile(z, freedom, quantile):
    assert abs(_student(z, freedom) - quantile) < 0.003


def test_wrong_types():
    with pytest.raises(TypeError, match="`other` must be a report, got str"):
        drawn(0).diff("report.json")
