"""Tables of deep models: equal modules share lines, and no row gets lost."""

import numpy as np
import pytest

from jaxinit.report.bars import axis_of, bars
from jaxinit.report.lines import folded, table_lines
from jaxinit.report.numbers import compact
from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report, row

BLOCK = ("ln", "attn/qkv", "attn/out", "+", "mlp/up", "mlp/down")


def transformer(depth, **options):
    """A stem, ``depth`` equal blocks of six rows, a head."""
    blocks = [
        row(f"block_{i}{'' if part == '+' else '/'}{part}", kind=kind)
        for i in range(depth)
        for part in BLOCK
        for kind in ["join" if part == "+" else "layer"]
    ]
    rows = (row("stem", "conv_general_dilated"), *blocks, row("head", width=10))
    return make_report(rows, **options)


def irregular(modules=30, per=9):
    """No two modules alike: each has rows of widths that none of the others has."""
    return make_report(
        tuple(
            row(f"net/{chr(97 + i % 26) * (1 + i // 26)}/{'xyz'[k % 3]}/w{k}", width=w)
            for i in range(modules)
            for k in range(per)
            for w in [1 + i * per + k]
        )
    )


REPORTS = {
    "a plain chain": make_report(dense_rows(150)),
    "a finding inside": judged(
        make_report(dense_rows(150), log2_moment=-0.1 * np.arange(150.0))
    ),
    "blocks": transformer(48),
    "blocks with a finding": judged(
        transformer(48, log2_moment=-0.05 * np.arange(290.0))
    ),
    "a scan": make_report(tuple(row(f"blocks/fc[{i}]") for i in range(100))),
    "nothing alike": irregular(),
    "odd numbers": make_report(
        tuple(
            row(name.format(i))
            for i in range(30)
            for name in ("a#{}", "a##{}", "9" * 5000 + "/{}", "\u0663/{}", "x\u00b2{}")
        )
    ),
}


@pytest.mark.parametrize("name", REPORTS)
def test_each_row_is_in_one_line_and_lines_are_few(name):
    report = REPORTS[name]
    lines = table_lines(report, all=False)

    assert sorted(i for line in lines for i in line.rows) == list(
        range(len(report.rows))
    )
    assert [line.rows[0] for line in lines] == sorted(line.rows[0] for line in lines)
    assert len(lines) <= 40
    assert [line.rows for line in table_lines(report, all=True)] == [
        (i,) for i in range(len(report.rows))
    ]


def test_equal_blocks_share_a_line_for_each_of_their_rows():
    lines = table_lines(transformer(48), all=False)

    # 40 lines have room for a stem, six stretches of eight blocks, and a head.
    assert [line.name for line in lines[:8]] == [
        "stem",
        *("block_0..7/ln", "block_0..7/attn/qkv", "block_0..7/attn/out"),
        *("block_0..7+", "block_0..7/mlp/up", "block_0..7/mlp/down"),
        "block_8..15/ln",
    ]
    assert lines[-1].name == "head"
    assert lines[2].rows == tuple(range(2, 2 + 6 * 8, 6))


@pytest.mark.parametrize(
    "name", [name for name, report in REPORTS.items() if report.findings]
)
def test_rows_of_findings_and_their_neighbors_are_not_folded(name):
    report = REPORTS[name]
    places = [report.layers.index(f.row) for f in report.findings if f.row]
    single = {
        line.rows[0] for line in table_lines(report, False) if len(line.rows) == 1
    }

    assert places
    for place in places:
        assert {place - 1, place, place + 1} & set(range(len(report.rows))) <= single


def test_what_differs_in_more_than_a_number_is_not_folded():
    rows = tuple(
        row(f"stage_{i}/conv_{k}", width=2**i) for i in range(4) for k in range(20)
    )
    names = [line.name for line in table_lines(make_report(rows), False)]

    assert all(
        name.startswith(tuple(f"stage_{i}/" for i in range(4))) for name in names
    )


def test_a_line_counts_in_one_number_alone():
    rows = tuple(row(f"Block_{i}/Dense_{k}") for i in range(40) for k in range(3))
    names = [line.name for line in table_lines(make_report(rows), False)]

    assert names[:4] == [
        *(f"Block_0..3/Dense_{k}" for k in range(3)),
        "Block_4..7/Dense_0",
    ]


def test_without_equal_modules_the_innermost_become_one_line_first():
    lines = folded(irregular(modules=3), 10)

    assert [line.name for line in lines] == [f"net/{m}/*" for m in "abc"]
    assert [len(line.rows) for line in folded(irregular(modules=3), 2)] == [27]
    assert folded(irregular(modules=3), 2)[0].name == "net/*"


def test_neighbors_share_a_line_where_modules_are_too_many_or_too_few():
    lines = folded(irregular(modules=300), 40)

    assert 20 <= len(lines) <= 40
    assert lines[0].name == "net/a/x/w0 .. net/h/z/w8"
    assert [i for line in lines for i in line.rows] == list(range(2700))


def test_a_line_shows_the_worst_of_its_rows():
    moment = np.ones((16, 100))
    moment[:, 41] = np.geomspace(1e-3, 1e-2, 16)
    dead = np.zeros((16, 100))
    dead[:, 43] = 0.75
    grad = np.full((16, 100), 0.25)
    grad[:, 42] = 4.0
    report = make_report(
        tuple(row(f"fc[{i}]") for i in range(100)),
        forward={"second_moment": moment, "dead": dead},
        log2_grad=np.log2(grad),
    )
    lines = report.table().split("\n")
    # Rows 41 to 43 share a line: each metric is the worst that one of them has.
    (line,) = [x for x in lines if "fc[41..43]" in x]
    low, middle = (compact(np.quantile(moment[:, 41], q)) for q in (0.05, 0.5))

    assert line.split()[1:4] == ["3", "dot", "4096x256"]
    assert f" {middle}  {low} .. 1.00 " in line
    assert line.split()[-2:] == ["75%/4.1k", "0.250..4.00"]
    text = " ".join(report.table().split())
    assert "100 rows in 34 lines" in text
    assert "report.table(all=True), or --all in a shell" in text


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("ascii", [False, True])
def test_a_folded_table_fits(width, ascii):
    text = REPORTS["blocks with a finding"].table(width=width, ascii=ascii)
    body = text.split("Verdict")[0]

    assert max(map(len, text.split("\n"))) <= width
    assert text.isascii() is ascii
    assert "block_" in body
    assert "@" in body if ascii else "█" in body


def test_bars_are_a_histogram_over_the_seeds():
    values = 10.0 ** np.array([0.1, 0.1, 0.1, 0.1, 1.5, 2.9, 2.9])
    axis = axis_of(values)
    assert axis is not None

    np.testing.assert_allclose(axis, (0.1, 2.9))
    assert bars(values, axis, 3) == "█▂▄"
    assert bars(values, axis, 3, ascii=True) == "@:="
    assert bars(np.array([0.0, np.nan, np.inf]), axis, 3) == "   "
    assert axis_of(np.array([0.0, np.nan])) is None
    # What hardly spreads looks so: a decade at least.
    np.testing.assert_allclose(axis_of(np.ones(4)), (-0.5, 0.5))


def test_the_bars_of_the_table_are_on_one_axis():
    moment = np.ones((16, 3))
    moment[:, 1], moment[:8, 2], moment[8:, 2] = 0.001, 1.0, 0.001
    text = make_report(dense_rows(3), forward={"second_moment": moment}).table()
    drawn = [x for x in text.split("\n") if x.startswith("    Dense")]

    assert ["".join(c for c in x if c in "▁▂▃▄▅▆▇█") for x in drawn] == ["█", "█", "██"]
    place = text.split("\n")[1].index("seeds")
    assert [x[place] for x in drawn] == [" ", "█", "█"]
    assert "on a log axis from 0.00100 to 1.00" in " ".join(text.split())
