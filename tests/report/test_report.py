import dataclasses
import json
import math
import sys

import jax
import numpy as np
import pytest

from jaxinit.report.findings import Finding, UnhealthyError
from jaxinit.report.report import Report
from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report, walk

NASTY = [0.0, -0.0, 5e-324, 1e-60, 0.1, 1 / 3, 1e60, np.inf, -np.inf, np.nan]


def nasty_report() -> Report:
    """A report with every kind of number that a float64 can hold."""
    values = np.resize(np.array(NASTY), (4, 5))
    report = make_report(
        dense_rows(5),
        num_seeds=4,
        forward={"mean": values},
        mode="loss",
        loss=np.array([np.nan, np.inf, 1e-300, 2.5]),
        unreached=("head/bias",),
        notes=("fed: standard normal, \u03c3 = 1",),
        profiles={"Dense_1": {"rms": np.resize(np.array(NASTY), (4, 3))}},
        settings={"chunk": 3, "low": -math.inf, "nested": {"a": (1, None, "NaN")}},
    )
    return judged(dataclasses.replace(report, seeds=np.array([0, 1, 2, 5])))


def assert_same(a: Report, b: Report) -> None:
    """Equal in every field, bit for bit in every array."""
    for field in dataclasses.fields(Report):
        assert_equal(getattr(a, field.name), getattr(b, field.name), field.name)


def assert_equal(a, b, place):
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray), place
        assert (a.shape, a.dtype) == (b.shape, b.dtype), place
        assert a.tobytes() == b.tobytes(), f"{place}: {a} is not {b}"
    elif isinstance(a, dict):
        assert list(a) == list(b), place
        for key in a:
            assert_equal(a[key], b[key], f"{place}[{key!r}]")
    elif isinstance(a, Finding):
        assert_equal(a._asdict(), b._asdict(), place)
    elif isinstance(a, tuple | list):
        assert type(a) is type(b), place
        assert len(a) == len(b), place
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{place}[{i}]")
    else:
        assert a == b or (a != a and b != b), f"{place}: {a!r} is not {b!r}"
        assert type(a) is type(b), place


def test_json_round_trip_is_exact(tmp_path):
    report = nasty_report()
    text = report.to_json(tmp_path / "report.json")

    assert_same(report, Report.from_json(text))
    assert_same(report, Report.from_json(tmp_path / "report.json"))
    assert_same(report, Report.from_json(str(tmp_path / "report.json")))


def test_round_trip_without_gradients_and_without_rows():
    report = make_report((), log2_grad=None, num_seeds=2)

    assert_same(report, Report.from_json(report.to_json()))


def test_assert_same_notices_one_bit():
    report = nasty_report()
    other = Report.from_json(report.to_json())
    other.forward["rms"][0, 0] = np.nextafter(other.forward["rms"][0, 0], 2)

    with pytest.raises(AssertionError, match=r"forward\['rms'\]"):
        assert_same(report, other)


def test_json_is_strict():
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    document = json.loads(nasty_report().to_json(), parse_constant=refuse)

    assert document["schema"] == "jaxinit.report"
    assert document["version"] == 1
    assert document["forward"]["mean"][0] == [0.0, -0.0, 5e-324, 1e-60, 0.1]
    assert document["forward"]["mean"][1][2:] == ["Infinity", "-Infinity", "NaN"]
    assert document["settings"]["low"] == {"$float": "-Infinity"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"schema": "jaxinit.report", "version": 2}',
            "has `version` 2.*reads version 1",
        ),
        ('{"schema": "onnx"}', "`schema` must be 'jaxinit.report', got 'onnx'"),
        ("{}", "`schema` must be 'jaxinit.report', got None"),
        ("{nonsense", "the text is no JSON"),
    ],
)
def test_from_json_refuses(text, message):
    with pytest.raises(ValueError, match=message):
        Report.from_json(text)


def test_settings_must_be_plain():
    with pytest.raises(TypeError, match=r"settings\['a'\]\[1\].* got ndarray"):
        make_report(dense_rows(2), settings={"a": [1, np.zeros(2)]})


def test_numpy_scalars_in_settings_become_plain():
    report = make_report(
        dense_rows(2), settings={"t": np.float64(0.5), "n": np.int8(3)}
    )

    assert type(report.settings["t"]) is float
    assert type(report.settings["n"]) is int


def test_arrays_must_fit():
    with pytest.raises(
        ValueError, match=r"`forward\['cos'\]` must have shape \(16, 2\)"
    ):
        make_report(dense_rows(2), forward={"cos": np.zeros((16, 3))})


def test_summary_of_known_numbers():
    values = np.array([[1.0], [10.0], [100.0], [1000.0], [10000.0]])
    report = make_report(
        dense_rows(1), num_seeds=5, forward={"second_moment": values, "mean": -values}
    )
    summary = report.summary()["second_moment"]

    assert summary.median == [100.0]
    assert (summary.min, summary.max) == ([1.0], [10000.0])
    # Linear interpolation at positions 0.2, 1, 3 and 3.8 of the sorted seeds.
    np.testing.assert_allclose(summary.q05, [2.8])
    np.testing.assert_allclose(summary.q25, [10.0])
    np.testing.assert_allclose(summary.q75, [1000.0])
    np.testing.assert_allclose(summary.q95, [8200.0])
    np.testing.assert_allclose(summary.mean_log10, [2.0])
    np.testing.assert_allclose(summary.std_log10, [math.sqrt(2.5)])
    np.testing.assert_allclose(summary.stderr_log10, [math.sqrt(2.5 / 5)])
    assert np.isnan(report.summary()["mean"].mean_log10).all()
    np.testing.assert_array_equal(report.summary()["mean"].median, [-100.0])


def test_summary_counts_zeros_and_non_finite_apart():
    values = np.array([[0.0], [1e-60], [np.inf], [np.nan], [1e-62]])
    report = make_report(dense_rows(1), num_seeds=5, forward={"second_moment": values})
    summary = report.summary()["second_moment"]

    assert summary.share_zero == [0.2]
    assert summary.share_nonfinite == [0.4]
    # The zero has no logarithm; 1e-60 has one.
    np.testing.assert_allclose(summary.mean_log10, [-61.0])
    np.testing.assert_allclose(summary.median, [1e-62])


def test_standard_error_covers_the_mean_of_the_logarithm():
    # 4 standard errors over 300 rows of 64 log-normal seeds: 2e-4 of t(63) lies beyond.
    rng = np.random.default_rng(0)
    values = 10.0 ** (0.7 * rng.standard_normal((64, 300)) - 3)
    summary = make_report(
        dense_rows(300), num_seeds=64, forward={"second_moment": values}
    ).summary()["second_moment"]
    distance = (summary.mean_log10 + 3) / summary.stderr_log10

    assert np.abs(distance).max() < 4.5
    # Their deviation is 1 if the standard error is right: 1 +- 0.04 at 300 rows.
    assert distance.std() == pytest.approx(1.016, abs=0.17)


def test_undefined_metric_has_an_empty_summary():
    summary = make_report(
        dense_rows(2), forward={"cos": np.full((16, 2), np.nan)}
    ).summary()["cos"]

    assert np.isnan(summary.median).all()
    assert (summary.share_nonfinite == 1.0).all()


def test_worst_seed_is_the_outlier():
    bits = walk(16, 10, drift=0.0, step=0.1)
    bits[11] += 3.0
    report = make_report(dense_rows(10), log2_moment=bits)
    shifted = dataclasses.replace(report, seeds=np.arange(100, 116))

    assert shifted.worst_seed == 111


def test_worst_seed_is_non_finite_if_one_is():
    bits = walk(16, 10, drift=0.0, step=0.1)
    bits[11] += 3.0
    report = make_report(dense_rows(10), log2_moment=bits)
    report.backward["grad_rms"][4, 2] = np.nan

    assert report.worst_seed == 4


def test_a_skipped_branch_does_not_make_a_seed_the_worst():
    bits = walk(16, 10, drift=0.0, step=0.1)
    bits[11] += 3.0
    report = make_report(dense_rows(10), log2_moment=bits)
    for values in (*report.forward.values(), *report.backward.values()):
        values[4, 2] = np.nan

    assert report.worst_seed == 11
    assert not report.ran[4, 2]


def test_key_is_the_seeds_own():
    root = jax.random.key(123)
    report = make_report(dense_rows(2), key_data=np.asarray(jax.random.key_data(root)))

    assert report.key(5) == jax.random.fold_in(root, 5)
    assert report.key(5) != report.key(6)
    with pytest.raises(ValueError, match=r"got 16\..*16 from 0 to 15"):
        report.key(16)


def test_records():
    report = nasty_report()
    records = report.to_records()

    assert len(records) == 4 * 5
    assert records[-1]["seed"] == 5
    assert records[-1]["name"] == "Dense_4"
    assert records[6]["mean"] == report.forward["mean"][1, 1]
    assert {"grad_rms", "cos", "operation"} <= set(records[0])
    params = report.to_records("params")
    assert len(params) == 4 * 5
    assert params[2]["param"] == "Dense_2/kernel"
    assert params[2]["weight_norm"] == 16.0
    with pytest.raises(ValueError, match="got 'weights'"):
        report.to_records("weights")


def test_pandas_groups_by_layer():
    report = make_report(dense_rows(3), log2_moment=np.array([0.0, 1.0, 2.0]))
    frame = report.to_pandas()

    assert len(frame) == 16 * 3
    medians = frame.groupby("name")["second_moment"].median()
    assert medians.to_dict() == {"Dense_0": 1.0, "Dense_1": 2.0, "Dense_2": 4.0}


def test_pandas_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match=r"pip install 'jaxinit\[data\]'"):
        make_report(dense_rows(2)).to_pandas()


def sick_report() -> Report:
    return judged(make_report(dense_rows(12), log2_moment=-np.arange(12.0)))


def test_assert_healthy():
    judged(make_report(dense_rows(3))).assert_healthy()
    report = sick_report()
    report.assert_healthy(allow=["vanishing"])

    with pytest.raises(
        UnhealthyError, match=r"vanishing \(second_moment at Dense_7"
    ) as e:
        report.assert_healthy(allow=("exploding",))
    assert isinstance(e.value, AssertionError)
    assert e.value.findings == report.findings
    assert "jaxinit.he_normal()" in str(e.value)


def test_assert_healthy_is_no_silent_pass():
    with pytest.raises(UnhealthyError, match="nothing was judged"):
        make_report(dense_rows(3)).assert_healthy()
    with pytest.raises(UnhealthyError, match="no rows"):
        judged(make_report(())).assert_healthy()


def test_assert_healthy_knows_the_kinds():
    with pytest.raises(ValueError, match="'vanished', which is no kind"):
        sick_report().assert_healthy(allow=["vanished"])


def test_verdict_without_findings_is_unknown():
    assert make_report(dense_rows(3)).verdict == "unknown"


def test_repr_is_short():
    assert repr(sick_report()) == ("<Report: 12 rows, 16 seeds, verdict 'vanishing'>")


def test_names():
    report = make_report(dense_rows(2))

    assert report.layers == ("Dense_0", "Dense_1")
    assert report.kinds == ("layer", "layer")


@pytest.mark.parametrize(
    ("method", "options", "error", "message"),
    [
        ("key", {"seed": "a"}, TypeError, "`seed` must be an integer, got 'a'"),
        ("key", {"seed": True}, TypeError, "`seed` must be an integer, got True"),
        ("key", {"seed": 99}, ValueError, "`seed` must be one that was run, got 99"),
        ("to_json", {"path": 3}, TypeError, "`path` must be the path of a file"),
        ("to_json", {"path": ""}, ValueError, "`path` must be the path of a file"),
        ("to_html", {"path": True}, TypeError, "`path` must be the path of a file"),
        (
            "to_records",
            {"of": 3},
            ValueError,
            "`of` must be 'rows', 'params' or 'model', got 3",
        ),
        ("to_markdown", {"max_rows": -1}, ValueError, "`max_rows` must be an integer"),
        ("scalars", {"prefix": 3}, TypeError, "`prefix` must be a string, got 3"),
        ("table", {"width": "a"}, TypeError, "`width` must be a number of columns"),
        ("table", {"width": True}, TypeError, "`width` must be a number of columns"),
        ("table", {"all": "no"}, TypeError, "`all` must be True or False, got 'no'"),
        ("table", {"ascii": 1}, TypeError, "`ascii` must be True or False, got 1"),
        ("assert_healthy", {"allow": "ok"}, TypeError, "`allow` must hold kinds of"),
        ("assert_healthy", {"allow": None}, TypeError, "`allow` must hold kinds of"),
        ("assert_healthy", {"allow": ["sad"]}, ValueError, "`allow` holds 'sad'"),
        ("assert_healthy", {"ignore": "head"}, TypeError, "`ignore` must hold names"),
    ],
)
def test_wrong_arguments_are_named(method, options, error, message):
    with pytest.raises(error, match=message):
        getattr(nasty_report(), method)(**options)


def test_findings_at_ignored_rows_are_passed_over():
    sick = judged(make_report(dense_rows(20), log2_moment=-np.arange(20.0)))

    sick.assert_healthy(ignore=["Dense_*"])
    with pytest.raises(UnhealthyError, match="vanishing"):
        sick.assert_healthy(ignore=["Conv_*"])
