import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report, row, walk


def sick(depth=20, **options):
    return judged(
        make_report(
            dense_rows(depth),
            log2_moment=walk(16, depth, drift=-1.0, step=0.1),
            **options,
        )
    )


def line_of(text: str, name: str) -> str:
    (line,) = [x for x in text.split("\n") if f" {name} " in x and "%/" in x]
    return line


def test_one_line_per_row_with_its_numbers():
    dead = np.zeros((16, 3))
    dead[:, 1] = 0.25
    moment = np.tile(np.linspace(0.9, 1.1, 16)[:, None], (1, 3))
    report = judged(
        make_report(
            dense_rows(3), forward={"dead": dead, "second_moment": moment}, log2_grad=-2
        )
    )
    text = report.table()
    names = [x.split()[0] for x in text.split("\n") if x.startswith("    Dense")]

    assert names == ["Dense_0", "Dense_1", "Dense_2"]
    # Median 1, 5% at 0.91 and 95% at 1.09, 25% of channels dead over 4096 values.
    assert line_of(text, "Dense_1").split() == [
        *("Dense_1", "dot", "4096x256", "1.00", "0.910", "..", "1.09"),
        *("██", "25%/4.1k", "0.250"),
    ]


def test_findings_are_marked_and_explained():
    text = sick().table()

    assert line_of(text, "Dense_7").startswith("▶1  Dense_7")
    assert "Verdict: vanishing" in text
    assert "1 vanishing: second_moment at Dense_7, 100% of seeds" in text
    assert "→ kernel_init=jaxinit.he_normal()" in text
    assert text.index("Verdict") > text.index("Dense_19")


def test_ok_says_what_was_judged():
    text = judged(make_report(dense_rows(4))).table()

    assert "Verdict: ok" in text
    assert "factor of 1.00 ± 0.00 per layer over 3 layers" in text


def test_not_judged_is_said():
    assert "nothing was judged" in make_report(dense_rows(4)).table()


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("ascii", [False, True])
def test_width_and_encoding(width, ascii):
    rows = tuple(
        row(f"Transformer/encoderblock_{i}/MlpBlock_0/Dense_1", shape=(8, 128, 128, 64))
        for i in range(12)
    )
    report = judged(
        make_report(
            rows,
            log2_moment=-np.arange(12.0),
            notes=("fed σ² = 1; " + "a long note " * 20,),
            settings={"model": "Überformer"},
        )
    )
    text = report.table(width=width, ascii=ascii)

    assert max(map(len, text.split("\n"))) <= width
    assert text.isascii() is ascii
    # The ends of the names survive.
    assert "Dense_1" in text
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in text.split("\n"))


def test_too_narrow():
    with pytest.raises(ValueError, match="at least 20 columns, got 19"):
        sick().table(width=19)


def test_long_models_are_folded_around_the_findings():
    # The slope passes a factor of 100 at layer 67, far from both ends.
    report = judged(make_report(dense_rows(150), log2_moment=-0.1 * np.arange(150.0)))
    text = report.table()
    shown = [i for i in range(150) if f" Dense_{i} " in text.split("Verdict")[0]]
    (frontier,) = {f.row for f in report.findings}

    assert frontier == "Dense_67"
    assert {66, 67, 68} <= set(shown)
    assert "report.table(all=True)" in text
    everything = report.table(all=True)
    assert all(f" Dense_{i} " in everything for i in range(150))
    assert "table(all=True)" not in everything


def test_parameters_are_shown_where_telling():
    norms = np.geomspace(1e-6, 1.0, 20) + np.zeros((16, 20))
    telling = sick(weights={"wgrad_norm": norms}).table()

    assert "run from 1.0e-6 at Dense_0/kernel to 1.00 at Dense_19/kernel" in telling
    assert "Gradient norms" not in sick().table()
    norms = norms.copy()
    norms[:, 3] = 0.0
    zero = sick(weights={"wgrad_norm": norms}).table()
    assert "gradient is exactly zero: Dense_3/kernel." in zero


def test_notes_and_unreached_parameters():
    report = dataclasses.replace(
        sick(), notes=("Fed: standard normal.",), unreached=("a", "b", "c", "d", "e")
    )
    text = report.table()

    assert "- Fed: standard normal." in text
    assert "Parameters that meet no data: a, b, c, d and 1 more." in text


def test_title_says_what_ran():
    report = sick(
        mode="loss",
        loss=np.full(16, 2.302),
        settings={"model": "Net(\n  depth=3\n)", "backend": "cpu", "strategy": "loop"},
    )

    assert report.table().split("\n")[0] == (
        "Net( · 16 seeds · batch 64 · gradients of loss · cpu · loop · loss 2.30"
    )


def test_non_finite_seeds_are_visible():
    report = make_report(dense_rows(3))
    report.forward["second_moment"][:4, 1] = np.inf
    report.forward["second_moment"][:, 2] = np.nan
    text = judged(report).table()

    assert " 1.00! " in line_of(text, "Dense_1")
    assert " nan " in line_of(text, "Dense_2")


def test_without_gradients_there_is_no_such_column():
    assert "grad rms" not in judged(make_report(dense_rows(3), log2_grad=None)).table()


def test_no_rows():
    text = judged(make_report(())).table()

    assert "no layers" in text
    assert "Verdict: unknown" in text


def test_markup_in_names_is_text():
    rows = (row("[bold]x[/bold]"), row("blocks/attn[3]"), row("c"))
    text = judged(make_report(rows)).table()

    assert "[bold]x[/bold]" in text
    assert "blocks/attn[3]" in text


def test_print_is_the_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    report = sick()

    assert str(report) == report.table(width=300)


def test_print_to_a_console_without_unicode(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("COLUMNS", "90")
    text = str(sick())

    assert text.isascii()
    assert ">1  Dense_7" in text


def test_rich_console_gets_colors():
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=100, force_terminal=True, color_system="standard"
    )
    console.print(sick())

    # Bold red, on the verdict.
    assert "\x1b[1;31mvanishing" in buffer.getvalue()
