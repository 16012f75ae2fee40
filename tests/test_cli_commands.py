"""Commands beside `analyze`, exit codes that CI can trust, and results that survive."""

import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

import jaxinit
from jaxinit.cli.main import main
from jaxinit.report.report import Report
from jaxinit.signal.compare import Comparison
from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report, walk
from tests.user_modules import project_of

ROOT = pathlib.Path(__file__).parent.parent

MODELS = """
from flax import linen as nn
from flax import nnx

model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(4)])
make = lambda: model

class Needy(nnx.Module):
    def __init__(self, width, *, rngs):
        pass

print("hello from the module")
"""

HEALTHY = judged(make_report(dense_rows(4)))
SICK = judged(make_report(dense_rows(20), log2_moment=walk(16, 20, drift=-1, step=0)))
CUT = judged(
    make_report(dense_rows(4), notes=("interrupted: 16 of 64 seeds were run",))
)


project = project_of(MODELS)


@pytest.fixture
def given(monkeypatch):
    """Sets what `jaxinit.analyze` returns or raises; holds what it was called with."""
    calls = []

    def give(result):
        def analyze(model, *args, **options):
            calls.append((model, args, options))
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(jaxinit, "analyze", analyze)
        return calls

    return give


ANALYZE = ["analyze", "user_models:model"]


@pytest.mark.parametrize(
    "statement",
    ["import sys; sys.exit(0)", "raise SystemExit", "raise GeneratorExit", "exit(1)"],
)
def test_a_module_that_exits_is_no_verdict(project, given, capsys, statement):
    calls = given(HEALTHY)
    (project / "user_exits.py").write_text(f"from sys import exit\n{statement}\n")

    assert main(["analyze", "user_exits:model"]) == 2
    assert "importing user_exits failed" in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize("error", [SystemExit(0), ValueError("no"), MemoryError()])
def test_a_model_that_fails_is_no_verdict(project, given, capsys, error):
    given(error)

    assert main(ANALYZE) == 2
    assert "analyzing user_models:model failed" in capsys.readouterr().err


def test_a_model_that_wants_integers_gets_a_hint(project, given, capsys):
    error = TypeError("Indexer must have integer or boolean type, got float32")
    error.add_note(
        "--------------------\nFor simplicity, JAX has removed its internal frames "
        "from the traceback of the following exception."
    )
    error.add_note("jaxinit called Net with args[0]: float32[8, 64].")
    given(error)

    assert main([*ANALYZE, "--input", "8,64"]) == 2
    said = capsys.readouterr().err
    assert "--input 8,64 feeds float32; for tokens write --input 8,64:int32" in said
    assert "jaxinit called Net" in said
    assert "For simplicity" not in said
    assert main([*ANALYZE, "--input", "8,64:int32"]) == 2
    assert "for tokens" not in capsys.readouterr().err


def test_interrupted_runs_write_and_print_what_is_finished(project, given, capsys):
    given(CUT)

    assert main([*ANALYZE, "--json", "r.json"]) == 130
    captured = capsys.readouterr()
    assert "Verdict: ok" in captured.out
    assert "interrupted: 16 of 64 seeds were run" in captured.err
    assert Report.from_json(project / "r.json").interrupted


def test_an_interrupt_tells_what_it_interrupted(project, given, capsys):
    for words in ((), ("SIGTERM",)):
        given(KeyboardInterrupt(*words))
        assert main(ANALYZE) == 130
        said = capsys.readouterr().err
        assert "before a seed was done" in said
        assert ("by SIGTERM" in said) == bool(words)


def test_an_interrupt_while_a_file_is_written(project, given, capsys, monkeypatch):
    given(HEALTHY)
    real, calls = os.replace, []

    def replace(*paths):
        calls.append(paths)
        if len(calls) == 1:
            raise KeyboardInterrupt
        real(*paths)

    monkeypatch.setattr(os, "replace", replace)

    assert main([*ANALYZE, "--json", "r.json"]) == 130
    captured = capsys.readouterr()
    assert "interrupted while writing r.json" in captured.err
    assert "Verdict: ok" in captured.out
    assert Report.from_json(project / "r.json").verdict == "ok"


def test_a_place_that_fills_up_keeps_the_result_elsewhere(
    project, given, capsys, monkeypatch
):
    given(HEALTHY)
    monkeypatch.setattr("tempfile.tempdir", str(project / "elsewhere"))
    (project / "elsewhere").mkdir()

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)

    assert main([*ANALYZE, "--json", "r.json"]) == 2
    captured = capsys.readouterr()
    assert "Verdict: ok" in captured.out
    assert (
        "cannot write r.json: No space left on device. It was kept in" in captured.err
    )
    (kept,) = (project / "elsewhere").iterdir()
    assert Report.from_json(kept).verdict == "ok"
    assert not (project / "r.json").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no/where.json", "no does not exist"),
        (".", "is a folder"),
        ("n" * 300, "too long"),
        ("user_models.py/x", "cannot write"),
    ],
)
def test_bad_places_are_told_before_the_run(project, given, capsys, place, message):
    calls = given(HEALTHY)
    with pytest.raises(SystemExit) as stop:
        main([*ANALYZE, "--json", place])

    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert calls == []


class _Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self._error = error

    def flush(self):
        raise self._error


@pytest.mark.parametrize(
    ("stdout", "status"),
    [
        (None, 2),
        (_Broken(OSError(28, "No space left on device")), 2),
        (_Broken(BrokenPipeError()), 0),
    ],
)
def test_output_that_goes_nowhere(project, given, capsys, monkeypatch, stdout, status):
    given(HEALTHY)
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", stdout)
        assert main(ANALYZE) == status
    assert ("cannot print" in capsys.readouterr().err) == (status == 2)


def test_json_to_standard_output_is_nothing_but_json(project, given, capfdbinary):
    given(HEALTHY)

    assert main([*ANALYZE, "--json", "-"]) == 0
    captured = capfdbinary.readouterr()
    assert Report.from_json(captured.out).verdict == "ok"
    assert b"hello from the module" in captured.err


def test_html(project, given):
    given(SICK)

    assert main([*ANALYZE, "--html", "r.html"]) == 1
    assert "Verdict: vanishing" in (project / "r.html").read_text()


def test_github_annotations(project, given, capsys):
    given(SICK)
    main([*ANALYZE, "--github"])

    line = capsys.readouterr().out.strip().split("\n")[-1]
    assert line.startswith("::error title=jaxinit%3A vanishing at Dense_")
    assert "Remedy: kernel_init=jaxinit.he_normal()" in line


@pytest.mark.parametrize(
    ("word", "scheme"),
    [
        ("gpt2", jaxinit.gpt2()),
        ("orthogonal(1.4)", jaxinit.orthogonal(1.4)),
        ("zeros", jaxinit.zeros),
    ],
)
def test_schemes_by_name(project, given, word, scheme):
    calls = given(HEALTHY)
    main([*ANALYZE, "--scheme", word])

    assert calls[0][2]["scheme"] == scheme


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gpt5", "no scheme or initializer 'gpt5'. `jaxinit list` shows"),
        ("gpt2(", "'gpt2(' is no scheme, like gpt2, orthogonal(1.4)"),
        ("orthogonal(nowhere=3)", "--scheme orthogonal(nowhere=3): "),
        ("user_models:nothing", "no attribute 'nothing'"),
    ],
)
def test_wrong_schemes(project, given, capsys, word, message):
    given(HEALTHY)
    try:
        status = main([*ANALYZE, "--scheme", word])
    except SystemExit as stop:
        status = stop.code

    assert status == 2
    assert message in capsys.readouterr().err


def test_compare(project, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")

    def compare(model, *args, schemes, **options):
        assert list(schemes) == ["own", "he_normal"]
        assert schemes["own"] is None
        return Comparison({"own": HEALTHY, "he_normal": SICK})

    monkeypatch.setattr(jaxinit, "compare", compare)
    words = ["compare", "user_models:make", "--scheme", "own", "--scheme", "he_normal"]

    files = ["--html", "c.html", "--json", "c.json", "--plot", "c.svg"]
    assert main([*words, *files]) == 1
    assert (project / "c.svg").read_text().count("he_normal") >= 1
    assert "he_normal  vanishing" in capsys.readouterr().out
    assert "Verdict: vanishing" in (project / "c.html").read_text()
    documents = json.loads((project / "c.json").read_text())
    assert Report.from_json(json.dumps(documents["own"])).verdict == "ok"


def test_a_comparison_that_was_cut_short(project, monkeypatch, capsys):
    cut = Comparison({"own": HEALTHY})
    monkeypatch.setattr(jaxinit, "compare", lambda *args, **options: cut)
    words = ["compare", "user_models:model", "--scheme", "own", "--scheme", "gpt2"]

    assert main(words) == 130
    assert "1 of 2 schemes were measured" in capsys.readouterr().err


def test_diff(project, capsys):
    HEALTHY.to_json("a.json")
    SICK.to_json("b.json")

    assert main(["diff", "a.json", "a.json"]) == 0
    assert main(["diff", "a.json", "b.json"]) == 1
    assert "Verdict: ok -> vanishing" in capsys.readouterr().out
    (project / "c.json").write_text("{}")
    for bad in ("c.json", "no.json", "."):
        assert main(["diff", "a.json", bad]) == 2
        assert f"cannot read {bad}: " in capsys.readouterr().err


def test_list(capsys):
    assert main(["list"]) == 0

    lines = capsys.readouterr().out.split("\n")
    assert any(line.split()[:1] == ["he_normal"] for line in lines)
    assert any(line.split()[:1] == ["gpt2"] and len(line) > 30 for line in lines)


def test_explain(project, capsys):
    words = [
        "explain",
        "user_models:make",
        "--input",
        "8,5",
        "--scheme",
        "normal(0.02)",
    ]

    assert main(words) == 0
    assert "normal, std 0.02" in capsys.readouterr().out


def test_expected_hints(project, given, capsys):
    given(HEALTHY)
    with pytest.raises(SystemExit, match="2"):
        main(["analyze", "user_models.py:model"])
    assert "Not a file name but user_models:model." in capsys.readouterr().err
    assert main(["analyze", "user_models:Needy"]) == 2
    assert "lambda rngs: Needy(width=..., rngs=rngs)" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])

    assert stop.value.code == 0
    assert capsys.readouterr().out == f"jaxinit {jaxinit.__version__}\n"


def test_columns_in_a_pipe(project, given, capsys, monkeypatch):
    given(SICK)
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        main(ANALYZE)
        lines = capsys.readouterr().out.split("\n")
        assert max(map(len, lines)) <= columns
    assert max(map(len, lines)) > 120


def test_a_users_error_cannot_speak_for_us(project, given, capsys):
    given(ValueError("bad\x1b[2J\njaxinit: all is well"))
    main(ANALYZE)

    said = capsys.readouterr().err
    assert "all is well" in said
    assert "\x1b" not in said
    assert "\njaxinit: all is well" not in said


def test_help_waits_for_nothing_heavy():
    code = (
        "import sys\nfrom jaxinit.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n"
        "    heavy = {'jax', 'numpy', 'flax', 'rich'} & set(sys.modules)\n"
        "    sys.exit(f'imported {heavy}' if heavy else stop.code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    for command in ("analyze", "compare", "diff", "explain", "list"):
        assert f"jaxinit {command}" in result.stdout


def test_every_name_of_the_stub_is_there():
    for name in jaxinit.__all__:
        assert getattr(jaxinit, name) is not None
    assert "he_normal" in dir(jaxinit)
    assert jaxinit.wang_init is jaxinit.schemes.wang_init
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jaxinit.nothing
