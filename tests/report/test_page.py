"""The page: whole, bounded, and nobody's but ours."""

import html.parser
import json

import numpy as np
import pytest

from jaxinit.report.html import frame, page
from jaxinit.verdict.judge import judged
from tests.report.pages import asked_for
from tests.report.synthetic import dense_rows, make_report, row, walk

HOSTILE = (
    *("</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>"),
    *("a\x1b[31m\nVerdict: ok", "\u202eevil", "\ud800", "x&y\"'", "<!--", "]]>"),
    *("$\\frac{", "a$x$b", "[bold]name[/bold]", "\0", "`code` | **bold**"),
)


class _Parsed(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts = [], "", []
        self._script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._script = tag == "script"

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)
        else:
            self.text += data


def hostile(**options):
    rows = tuple(row(name) for name in HOSTILE)
    moment = walk(16, len(rows), drift=-1.0, step=0.1)
    return judged(make_report(rows, log2_moment=moment, notes=HOSTILE, **options))


def test_names_are_never_markup_or_control():
    text = hostile(settings={"model": HOSTILE[0]}).to_html()
    parsed = _Parsed(text)

    assert [tag for tag, _ in parsed.tags].count("script") == 2
    assert not any(tag == "img" for tag, _ in parsed.tags)
    assert not any(name.startswith("on") for _, a in parsed.tags for name in a)
    assert HOSTILE[0] in parsed.text
    assert text.isascii()
    assert not [c for c in text if ord(c) < 32 and c != "\n"]


def test_nothing_is_fetched():
    parsed = _Parsed(hostile().to_html())
    links = [a.get("src") or a.get("href") for _, a in parsed.tags]

    assert {link for link in links if link} == {"data:,"}
    policy = next(a["content"] for t, a in parsed.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_the_data_are_those_of_the_report():
    report = hostile()
    data = json.loads(_Parsed(report.to_html()).scripts[0])
    logs = np.array(data["panels"][0]["logs"], float)

    np.testing.assert_allclose(
        logs, np.log10(report.forward["second_moment"]).T, atol=6e-4
    )
    assert [r["finding"] for r in data["rows"]].count("vanishing") == 1


def test_verdict_and_remedies_come_first():
    text = _Parsed(hostile().to_html()).text

    assert text.index("Verdict: vanishing") < text.index("Remedy") < text.index("Notes")


def test_zero_and_broken_seeds_are_counted():
    moment = np.ones((4, 3))
    moment[0, 1], moment[1, 2] = 0.0, np.inf
    report = make_report(dense_rows(3), num_seeds=4, forward={"second_moment": moment})
    panel = json.loads(_Parsed(judged(report).to_html()).scripts[0])["panels"][0]

    assert panel["zero"] == [0, 1, 0]
    assert panel["broken"] == [0, 0, 1]


def test_five_hundred_rows_take_less_than_two_megabytes():
    curves = walk(64, 500, drift=-0.05, step=0.05)
    report = make_report(
        dense_rows(500), log2_moment=curves, log2_grad=curves, num_seeds=64
    )

    assert len(judged(report).to_html()) < 2 * 1024**2


@pytest.mark.parametrize("rows", [0, 1])
def test_small_reports(rows):
    report = judged(make_report(dense_rows(3)[:rows], log2_grad=None, num_seeds=1))

    assert "Verdict: " in report.to_html()


def test_several_reports():
    text = _Parsed(page({"own": hostile(), "<b>he": hostile()})).text

    assert "<b>he" in text
    assert text.count("Verdict: vanishing") == 2


def test_a_notebook_shows_the_page_in_a_frame():
    ((tag, attributes),) = _Parsed(hostile()._repr_html_()).tags

    assert (tag, attributes["sandbox"]) == ("iframe", "allow-scripts")
    assert attributes["srcdoc"].startswith("<!DOCTYPE html>")
    assert frame('a"b<') in '<iframe sandbox="allow-scripts" style="width:100%;' + (
        'height:42rem;border:0" title="jaxinit report" srcdoc="a&quot;b&lt;"></iframe>'
    )


def test_file(tmp_path):
    report = hostile()

    assert report.to_html(tmp_path / "r.html") == (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_names_in_a_table(width):
    text = hostile().table(width=width)

    assert all(c.isprintable() for c in text.replace("\n", ""))
    assert [line for line in text.split("\n") if line.startswith("Verdict")] == [
        "Verdict: vanishing"
    ]
    assert max(map(len, text.split("\n"))) <= width


def test_names_in_a_plot():
    figure = hostile().plot()
    figure.canvas.draw()  # mathematics would be parsed here

    assert "$\\frac{" in [t.get_text() for t in figure.axes[-1].get_xticklabels()]


def test_names_in_findings_and_errors():
    report = hostile()

    assert all(str(finding).isprintable() for finding in report.findings)


def test_markdown_is_bounded_and_plain():
    text = hostile().to_markdown()

    assert "| `</script><script>alert(1)</script>` |" in text
    assert "`'code' ¦ **bold**`" in text
    assert "\x1b" not in text
    rows = tuple(row("x" * 500 + str(i)) for i in range(500))
    curves = walk(16, 500, drift=-0.1, step=0.05)
    long = judged(make_report(rows, log2_moment=curves)).to_markdown(max_rows=40)
    assert len(long) < 40 * 140 + 10_000
    assert "Equal modules share lines" in long
    assert "rows are left out" not in long
    assert "0 rows are left" not in hostile().to_markdown(max_rows=13)


def test_scalars():
    report = judged(make_report(dense_rows(3), num_seeds=4))
    scalars = report.scalars()

    assert scalars["init/healthy"] == 1.0
    assert scalars["init/seeds"] == 4.0
    assert scalars["init/second_moment/Dense_1"] == 1.0
    assert scalars["init/weight_norm/Dense_1/kernel"] == 16.0
    assert all(type(value) is float for value in scalars.values())
    assert "healthy" in report.scalars(prefix="")


def test_markdown_leaves_out_what_cannot_be_folded_and_says_so():
    report = judged(make_report(dense_rows(50), log2_moment=-0.2 * np.arange(50.0)))
    lines = report.to_markdown(max_rows=4).split("\n")
    table = [line for line in lines if line.startswith("| `")]

    # The rows before the finding, the finding between its neighbors; then the rest.
    assert len(table) == 4
    assert table[0].startswith("| `Dense_0..32` (33 rows) |")
    assert [line.split("`")[1] for line in table[1:]] == [
        *("Dense_33", "Dense_34", "Dense_35")
    ]
    assert "14 rows are left out." in lines


def test_metrics_that_were_asked_for_are_columns_and_curves():
    report = asked_for()
    parsed = _Parsed(report.to_html())
    data = json.loads(parsed.scripts[0])
    more = {panel["title"]: panel for panel in data["more"]}
    entropy = report.forward["attn_entropy"]

    assert list(more)[:2] == ["attn_entropy", "branch_ratio"]
    assert set(more) == (set(report.forward) | set(report.backward)) - {
        *("second_moment", "grad_rms")
    }
    shown = np.array(more["attn_entropy"]["bands"], float)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    np.testing.assert_allclose(shown[1], np.quantile(entropy[:, 1], levels), rtol=1e-3)
    assert np.isnan(shown[0]).all()
    # Shares are drawn as they are, sizes by their logarithm.
    assert (more["attn_entropy"]["log"], more["branch_ratio"]["log"]) == (False, True)
    np.testing.assert_allclose(
        np.array(more["branch_ratio"]["bands"][2], float),
        np.quantile(np.log10(report.forward["branch_ratio"][:, 2]), levels),
        atol=6e-4,
    )
    values = [
        a["data-value"] for t, a in parsed.tags if t == "td" and "data-value" in a
    ]
    median = np.median(entropy[:, 1])
    assert f"{median:.6g}" in values
    assert "jacobian_mean 1.25" in parsed.text


def test_what_theory_expects_is_a_curve_and_two_columns():
    report = asked_for()
    parsed = _Parsed(report.to_html())
    panel = json.loads(parsed.scripts[0])["panels"][0]

    np.testing.assert_allclose(
        np.array(panel["expected"], float),
        np.log10(report.predicted["second_moment"]),
        atol=6e-4,
    )
    assert "predicted off/se dead" in " ".join(parsed.text.split())
    assert "Dotted: what theory expects" in parsed.text
    plain = _Parsed(hostile().to_html())
    assert "predicted" not in plain.text
    assert "Dotted" not in plain.text
