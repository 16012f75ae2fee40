import subprocess
import sys

import numpy as np
import pytest

from jaxinit.report.marks import INK
from jaxinit.report.plot import draw
from jaxinit.verdict.judge import judged
from tests.report.pages import asked_for, few
from tests.report.synthetic import dense_rows, make_report, row, walk


def sick():
    return judged(
        make_report(
            dense_rows(12),
            log2_moment=walk(64, 12, drift=-1.0, step=0.2),
            log2_grad=0.0,
            num_seeds=64,
        )
    )


def lines(ax):
    return {tuple(line.get_xdata()): line.get_ydata() for line in ax.get_lines()}


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_median_line_and_bands_are_the_quantiles():
    report = sick()
    signal, gradient = draw(report).axes
    moment = report.forward["second_moment"]

    np.testing.assert_allclose(
        lines(signal)[tuple(range(12))], np.median(moment, axis=0), rtol=0.02
    )
    wide, narrow = (c.get_paths()[0].vertices[:, 1] for c in signal.collections[:2])
    # Quantiles of logarithms against logarithms of quantiles: they differ only by
    # the interpolation between neighbors, of 64 seeds.
    for band, low, high in ((wide, 5, 95), (narrow, 25, 75)):
        np.testing.assert_allclose(band.min(), np.percentile(moment[:, 11], low), 0.1)
        np.testing.assert_allclose(band.max(), np.percentile(moment[:, 0], high), 0.1)
    np.testing.assert_allclose(lines(gradient)[tuple(range(12))], 1.0)
    assert signal.get_yscale() == gradient.get_yscale() == "log"


def test_findings_and_lines_are_labeled_in_place():
    signal, gradient = draw(sick()).axes

    assert "vanishing from Dense_7" in texts(signal)
    assert {"median", "5-95% of 64 seeds"} <= set(texts(signal))
    assert "vanishing from Dense_7" not in texts(gradient)
    names = [label.get_text() for label in gradient.get_xticklabels()]
    assert names == [f"Dense_{i}" for i in range(12)]


def test_joins_are_rings():
    rows = (
        row("a"),
        row("b"),
        row("Block_0+", "add", kind="join", activation=None),
        row("c"),
    )
    signal, _ = draw(judged(make_report(rows))).axes
    (ring,) = [
        line
        for line in signal.get_lines()
        if line.get_markerfacecolor() == "white" and line.get_linestyle() == "None"
    ]

    np.testing.assert_array_equal(ring.get_xdata(), [2])


def test_zeros_and_infinities_are_marked_at_the_edges():
    report = make_report(dense_rows(6))
    report.forward["second_moment"][2, 4:] = np.inf
    report.backward["grad_rms"][3, :3] = 0.0
    signal, gradient = draw(judged(report)).axes

    assert "not finite" in texts(signal)
    assert "exactly zero" not in texts(signal)
    assert (4, 5) in lines(signal)
    assert "exactly zero" in texts(gradient)
    assert (0, 1, 2) in lines(gradient)


def test_undefined_gradients_are_not_marked():
    report = make_report(dense_rows(6))
    report.backward["grad_rms"][:, 0] = np.nan

    assert "not finite" not in texts(draw(judged(report)).axes[1])


def test_skipped_branches_are_not_marked():
    report = make_report(dense_rows(6))
    for values in (*report.forward.values(), *report.backward.values()):
        values[:4, 2] = np.nan

    for ax in draw(judged(report)).axes:
        assert "not finite" not in texts(ax)
    assert "!" not in report.table().split("Verdict")[0]


def test_dead_layers_are_crossed():
    dead = np.zeros((16, 6))
    dead[:, 2] = 0.9
    signal, _ = draw(judged(make_report(dense_rows(6), forward={"dead": dead}))).axes
    crosses = [line for line in signal.get_lines() if line.get_marker() == "x"]

    assert [list(line.get_xdata()) for line in crosses] == [[2]]


def test_a_flat_line_looks_flat():
    signal = draw(judged(make_report(dense_rows(6)))).axes[0]

    np.testing.assert_allclose(signal.get_ylim(), [0.1, 10.0])


def test_many_rows_are_named_now_and_then():
    axes = draw(judged(make_report(dense_rows(200)))).axes
    names = [label.get_text() for label in axes[-1].get_xticklabels()]

    assert names == [f"Dense_{i}" for i in range(0, 200, 9)]


def test_one_panel_without_gradients():
    assert len(draw(judged(make_report(dense_rows(3), log2_grad=None))).axes) == 1


def test_no_rows_and_no_finite_value():
    assert "no rows" in texts(draw(judged(make_report(()))).axes[0])
    report = judged(make_report(dense_rows(3), log2_moment=np.nan))

    assert "not finite" in texts(draw(report).axes[0])


@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")],
)
def test_suffix_chooses_the_format(tmp_path, suffix, start):
    path = tmp_path / f"report{suffix}"
    sick().plot(path)

    assert path.read_bytes().startswith(start)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"must end in \.png, \.svg or \.pdf.*'x\.gif'"
    ):
        sick().plot("x.gif")


def test_missing_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(ImportError, match=r"pip install 'jaxinit\[plot\]'"):
        sick().plot(tmp_path / "x.png")


def test_pyplot_and_the_backend_are_left_alone(tmp_path):
    code = """
import sys
from tests.report.test_plot import sick
assert "matplotlib" not in sys.modules
sick().plot(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.png"], check=True)


def test_plot_returns_the_figure_and_writes_only_if_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figure = sick().plot()

    assert len(figure.axes) == 2
    assert not list(tmp_path.iterdir())
    assert sick().plot(tmp_path / "r.png").axes
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_plot_into_axes_and_figures_of_the_users():
    from matplotlib.figure import Figure

    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert sick().plot(ax=left) is figure
    assert left.lines
    assert not right.lines
    assert sick().plot(ax=(left, right)) is figure
    assert right.lines
    whole = Figure()
    part, _ = whole.subfigures(1, 2)
    assert sick().plot(figure=part) is part
    assert len(whole.axes) == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ax": 3}, TypeError),
        ({"ax": []}, TypeError),
        ({"figure": "a.png"}, TypeError),
        ({"path": 3}, TypeError),
        ({"path": "a.gif"}, ValueError),
    ],
)
def test_plot_refuses(options, error):
    with pytest.raises(error, match=f"`{next(iter(options))}` must"):
        sick().plot(**options)


def test_what_theory_expects_is_drawn():
    report = asked_for()
    signal, gradient = draw(report).axes
    drawn = [line for line in signal.get_lines() if line.get_color() == INK]

    np.testing.assert_allclose(
        drawn[0].get_ydata(), report.predicted["second_moment"], rtol=1e-12
    )
    assert "black dots: theory" in signal.get_title(loc="left")
    assert "theory" not in gradient.get_title(loc="left")


def test_labels_of_near_findings_do_not_cover_each_other():
    signal = draw(few()).axes[0]
    labels = [text for text in signal.texts if " from " in text.get_text()]

    assert len(labels) == 2
    assert abs(labels[0].xy[1] - labels[1].xy[1]) > 0.05
