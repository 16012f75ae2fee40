import importlib
import json
import os
import pathlib
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxinit
from jaxinit.cli import cache
from jaxinit.cli.main import main
from jaxinit.report.report import Report
from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report
from tests.user_modules import project_of

ROOT = pathlib.Path(__file__).parent.parent

MODELS = """
import numpy as np
from flax import linen as nn
from flax import nnx

model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(4)])
batch = np.ones((8, 5), np.float32)
number = 3

class Namespace:
    inner = model

class Linen(nn.Module):
    width: int = 4

class Needy(nn.Module):
    width: int

class Net(nnx.Module):
    def __init__(self, width=4, *, rngs):
        self.dense = nnx.Linear(5, width, rngs=rngs)

def make_net(rngs):
    return Net(rngs=rngs)

def make_linen():
    return model

def broken():
    raise RuntimeError("no such checkpoint")

def two_batches():
    return batch, 2 * batch
"""


project = project_of(MODELS)


@pytest.fixture
def calls(monkeypatch):
    """Stands in for `jaxinit.analyze`; a list of what it was called with."""
    seen = []

    def analyze(model, *args, **options):
        seen.append((model, args, options))
        return judged(make_report(dense_rows(4)))

    monkeypatch.setattr(jaxinit, "analyze", analyze)
    return seen


def refused(capsys, *words) -> str:
    """The message with which a command line is refused with status 2."""
    try:
        status = main(["analyze", *words])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2, captured
    assert captured.out == ""
    return captured.err


def test_table_on_stdout_progress_on_stderr(project, calls, capsys):
    assert main(["analyze", "user_models:model", "--input", "8,5"]) == 0

    captured = capsys.readouterr()
    assert "Verdict: ok" in captured.out
    assert "importing" not in captured.out
    assert captured.err == "importing user_models\n"


def test_words_become_the_call(project, calls, capsys):
    words = ["user_models:model", "--input", "8,5", "--input", "2,3:int32"]
    words += ["--input", "user_models:batch", "--input", "user_models:two_batches"]
    words += ["--kwarg", "train=True", "--kwarg", "rate=0.5", "--kwarg", "how='a:b'"]
    words += ["--kwarg", "mask=user_models:batch", "--seeds", "7"]
    main(["analyze", *words])
    ((model, args, options),) = calls
    user_models = importlib.import_module("user_models")

    assert model is user_models.model
    assert (args[0].shape, args[0].dtype) == ((8, 5), np.dtype("float32"))
    assert (args[1].shape, args[1].dtype) == ((2, 3), np.dtype("int32"))
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in args[:2])
    assert args[2] is user_models.batch
    np.testing.assert_array_equal(args[4], 2 * user_models.batch)
    assert len(args) == 5
    assert options == {
        "seeds": 7,
        "checkpoint": None,
        "progress": True,
        "model_kwargs": {
            "train": True,
            "rate": 0.5,
            "how": "a:b",
            "mask": user_models.batch,
        },
    }


def test_bfloat16_is_a_dtype(project, calls):
    main(["analyze", "user_models:model", "--input", "8,5:bfloat16"])

    assert calls[0][1][0].dtype == jax.numpy.bfloat16


def test_each_kind_of_model(project, calls):
    names = ["Namespace.inner", "make_linen", "Net", "make_net", "Linen"]
    for name in names:
        main(["analyze", f"user_models:{name}"])
    found = [model for model, _, _ in calls]
    user = importlib.import_module("user_models")

    assert found[0] is user.model
    assert found[1] is user.model
    # A class or function that takes rngs draws new weights for every seed.
    assert found[2] is user.Net
    assert found[3] is user.make_net
    assert isinstance(found[4], user.Linen)


def test_findings_exit_with_one(project, monkeypatch, capsys):
    sick = judged(make_report(dense_rows(20), log2_moment=-np.arange(20.0)))
    monkeypatch.setattr(jaxinit, "analyze", lambda *args, **options: sick)

    assert main(["analyze", "user_models:model"]) == 1
    assert "vanishing" in capsys.readouterr().out


def test_unknown_is_no_silent_pass(project, monkeypatch):
    blind = judged(make_report(()))
    monkeypatch.setattr(jaxinit, "analyze", lambda *args, **options: blind)

    assert main(["analyze", "user_models:model"]) == 1


def test_files_are_written_and_named(project, calls, capsys):
    words = ["--json", "out.json", "--plot", str(project / "out.svg")]
    assert main(["analyze", "user_models:model", *words]) == 0

    assert Report.from_json(project / "out.json").verdict == "ok"
    assert (project / "out.svg").read_text().lstrip().startswith("<?xml")
    said = capsys.readouterr().err
    assert "wrote out.json\n" in said
    assert f"wrote {project / 'out.svg'}\n" in said
    # Nothing temporary is left behind.
    assert not [name for name in os.listdir(project) if name.startswith(".")]


def test_all_rows(project, monkeypatch, capsys):
    long = judged(make_report(dense_rows(70)))
    monkeypatch.setattr(jaxinit, "analyze", lambda *args, **options: long)
    main(["analyze", "user_models:model"])
    folded = capsys.readouterr().out
    main(["analyze", "user_models:model", "--all"])
    whole = capsys.readouterr().out

    assert "Dense_35" not in folded
    assert "Dense_35" in whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model"], "'model' is not MODULE:ATTRIBUTE"),
        (["my.net.model"], "a colon before the attribute: my.net:model."),
        (["examples/net.py:model"], "Not a file name but examples.net:model"),
        (["user_models:nothing"], "no attribute 'nothing'. It has model, batch"),
        (["user_model:model"], "there is no module 'user_model' in"),
        (["user_models:Needy"], r"fields width have no default.*model = Needy(width="),
        (["user_models:broken"], "calling user_models:broken() failed: RuntimeError"),
        (["user_models:model", "--input", "8,5:"], "'8,5:' is not SHAPE[:DTYPE]"),
        (["user_models:model", "--input", "8x5"], "'8x5' is not SHAPE[:DTYPE]"),
        (["user_models:model", "--input=-8,5"], "'-8,5' is not SHAPE[:DTYPE]"),
        (["user_models:model", "--input", "8,0"], "axis of length 0"),
        (["user_models:model", "--input", "8:int33"], "'int33' is not a dtype"),
        (["user_models:model", "--input", "batch"], "is not MODULE:ATTRIBUTE"),
        (["user_models:model", "--input", "user_models:x"], "no attribute 'x'"),
        (["user_models:model", "--kwarg", "train"], "'train' is not NAME=VALUE"),
        (["user_models:model", "--kwarg", "m=enc"], "--kwarg \"m='enc'\""),
        (["user_models:model", "--seeds", "0"], "at least 1, got '0'"),
        (["user_models:model", "--seeds", "ten"], "at least 1, got 'ten'"),
        (["user_models:model", "--json", "no/where.json"], "no does not exist"),
        (["user_models:model", "--plot", "x.gif"], ".png, .svg or .pdf"),
    ],
)
def test_usage(project, calls, capsys, words, message):
    said = refused(capsys, *words)

    for part in message.split(".*"):
        assert part in said
    assert "Traceback" not in said
    assert calls == []


def test_import_errors_say_what_and_where(project, calls, capsys):
    (project / "user_bad.py").write_text("x = 1\nimport no_such_thing_at_all\n")
    said = refused(capsys, "user_bad:model")

    assert "importing user_bad failed: ModuleNotFoundError: No module named" in said
    assert "user_bad.py:2" in said

    (project / "user_worse.py").write_text("\n\nmodel = 1 / 0\n")
    said = refused(capsys, "user_worse:model")
    assert "ZeroDivisionError: division by zero" in said
    assert "user_worse.py:3" in said


def test_model_errors_come_with_the_librarys_message(project, monkeypatch, capsys):
    def analyze(*args, **options):
        error = ValueError("shapes (8, 5) and (6, 4) do not fit")
        error.add_note("It happened in Dense_0.")
        raise error

    monkeypatch.setattr(jaxinit, "analyze", analyze)
    said = refused(capsys, "user_models:model")

    assert "ValueError: shapes (8, 5) and (6, 4) do not fit" in said
    assert "It happened in Dense_0." in said


def test_interrupt(project, monkeypatch, capsys):
    def analyze(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(jaxinit, "analyze", analyze)

    assert main(["analyze", "user_models:model"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_missing_matplotlib_is_said_before_the_work(
    project, calls, capsys, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = refused(capsys, "user_models:model", "--plot", "x.png")

    assert "pip install 'jaxinit[plot]'" in said
    assert calls == []


def run(*words, cwd=ROOT, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment["XDG_CACHE_HOME"] = str(cwd / "caches")
    return subprocess.run(
        [sys.executable, "-m", "jaxinit", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_help_tells_the_exit_status():
    result = run("--help")

    assert result.returncode == 0
    assert "exit status: 0" in result.stdout


def test_a_real_model_in_a_real_process(project):
    words = ["user_models:model", "--input", "8,5", "--seeds", "4", "--json", "r.json"]
    result = run("analyze", *words, "--checkpoint", "seeds", cwd=project)

    assert result.returncode == 0, result.stderr
    assert "Verdict: ok" in result.stdout
    first = result.stderr.split("\n")[0]
    assert first == "importing user_models"
    document = json.loads((project / "r.json").read_text())
    assert [row["name"] for row in document["rows"]] == ["layers_0", "layers_2"]
    assert list((project / "seeds").iterdir())
    kept = project / "caches" / "jaxinit" / "compiled"
    assert list(kept.iterdir())
    assert any(str(kept) in note and "--no-cache" in note for note in document["notes"])


@pytest.mark.parametrize(
    "said", ["JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"]
)
def test_programs_are_kept_where_the_user_says(project, monkeypatch, said):
    monkeypatch.setattr(cache, "sys", SimpleNamespace(modules={}))  # jax is not up yet
    environment = {"XDG_CACHE_HOME": str(project), said: "there"}
    monkeypatch.setattr(os, "environ", environment.copy())

    assert cache.keep_programs() is None
    assert os.environ == environment
    del os.environ[said]
    assert cache.keep_programs() == project / "jaxinit" / "compiled"


def test_no_cache_keeps_no_programs(project, calls, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "jaxinit.cli.main.keep_programs", lambda: asked.append("programs")
    )
    words = ["analyze", "user_models:model", "--input", "8,5"]

    main([*words, "--no-cache"])
    assert asked == []
    main(words)
    assert asked == ["programs"]


def test_a_reader_that_closes_the_pipe(project):
    # The table of a wide report does not fit into a pipe's buffer of 64 KiB.
    code = textwrap.dedent("""
        import sys
        import jaxinit
        from jaxinit.cli.main import main
        from jaxinit.verdict.judge import judged
        from tests.report.synthetic import dense_rows, make_report
        report = judged(make_report(dense_rows(2000), num_seeds=16))
        jaxinit.analyze = lambda *args, **options: report
        sys.exit(main(["analyze", "user_models:model", "--all", "--json", "r.json"]))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert process.returncode == 0, said
    assert said == "importing user_models\nwrote r.json\n"
    assert (project / "r.json").exists()
