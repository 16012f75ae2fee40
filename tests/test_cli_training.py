"""The commands that train, and theory: words, exit codes, files, help."""

import json

import jax.numpy as jnp
import pytest

import jaxinit
from jaxinit.cli.main import main
from jaxinit.train.race_result import Race
from tests.user_modules import project_of

MODELS = """
import jax, numpy as np, optax
from flax import linen as nn

def of_width(width):
    dense = nn.Dense(width), nn.relu, nn.Dense(width), nn.relu, nn.Dense(2)
    return nn.Sequential(dense)

model = of_width(8)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
data = (x, (x[:, 0] > 0).astype("int32"))
exact = lambda rate: optax.sgd(rate)
def vector(output, target):
    return output[:, 0]
"""


project = project_of(MODELS)


RACE = ["race", "user_models:model", "--data", "user_models:data"]
RACE += ["--scheme", "own", "--scheme", "zeros", "--steps", "30", "--seeds", "2"]
RACE += ["--learning-rates", "0.01,0.03", "--batch-size", "16"]
CHECK = ["coord-check", "user_models:of_width", "--widths", "16,64", "--input", "4,4"]


def test_race(project, capfdbinary):
    assert main([*RACE, "--json", "-", "--html", "r.html", "--plot", "r.svg"]) == 1

    captured = capfdbinary.readouterr()
    found = Race.from_json(captured.out.decode())  # nothing but JSON
    assert found.schemes == ("own", "zeros")
    assert found.losses.shape == (2, 2, 2, 30)
    assert list(found.learning_rates) == [0.01, 0.03]
    page = (project / "r.html").read_text()
    assert page.count('<svg class="chart"') == 3
    assert "diverges" in page
    assert (project / "r.svg").read_text().lstrip().startswith("<?xml")
    assert b"wrote r.html" in captured.err


def test_a_race_that_fails_in_its_cells_is_a_finding(project, capsys):
    assert main([*RACE, "--loss", "user_models:vector"]) == 1

    assert "must return a real scalar" in capsys.readouterr().out


def test_coord_check_under_mup_and_without(project, capsys):
    status = {}
    for words in (["--mup", "8"], ["--optimizer", "user_models:exact"]):
        options = [*CHECK, *words, "--learning-rate", "0.05", "--json", "c.json"]
        status[words[0]] = main(options)
        found = jaxinit.CoordCheck.from_json(project / "c.json")
        assert list(found.sizes) == [16, 64]
        assert found.ok == (status[words[0]] == 0)
        assert "Verdict: " in capsys.readouterr().out
    assert status == {"--mup": 0, "--optimizer": 1}
    found.to_html("c.html")
    assert "slope of log2 rms" in (project / "c.html").read_text()


def test_theory(capsys):
    words = ["theory", "tanh", "--var-w", "1.0,1.5", "--var-b", "0.05"]
    assert main([*words, "--json", "-"]) == 0

    ordered, chaotic = json.loads(capsys.readouterr().out)
    assert ordered["phase"] == "ordered"
    expected = jaxinit.theory.fixed_point(jnp.tanh, 1.0, 0.05)
    assert ordered["q"] == pytest.approx(float(expected.q))
    assert chaotic["var_w"] == 1.5
    assert main([*words, "--depth", "1000"]) == 1
    assert "1000 layers are too deep" in capsys.readouterr().out
    assert main(["theory", "tanh"]) == 0  # the edge of chaos
    assert "inf" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*RACE, "--optimizer", "adamm"], "optax has no optimizer 'adamm'"),
        ([*RACE, "--optimizer", "adam(nowhere=1)"], "--optimizer adam(nowhere=1): "),
        ([*RACE, "--learning-rates", "1e-3,x"], "'x' is not a number"),
        ([*RACE, "--data", "text:no.txt"], "there is no file 'no.txt'"),
        ([*RACE, "--data", "numbers"], "'numbers' is not MODULE:ATTRIBUTE"),
        ([*RACE, "--data", "user_models:exact"], "racing user_models:model failed"),
        ([*RACE, "--batch-size", "65"], "`batch_size` must be between 1 and the 64"),
        ([*RACE, "--json", "no/where.json"], "no does not exist"),
        ([*CHECK, "--widths", "64,16"], "'64,16' is not two or more rising widths"),
        ([*CHECK, "--mup", "16"], "must be narrower than the model"),
        ([*CHECK, "--mup", "8", "--scheme", "own"], "leave --scheme out"),
        (CHECK[:4], "--input is missing"),
        (["coord-check", "user_models:x", *CHECK[2:]], "a function from a width"),
        (["theory", "tanhh"], "tanhh is no activation"),
        (["theory", "tanh", "--var-b", "1"], "--var-b goes with --var-w"),
    ],
)
def test_usage(project, capsys, words, message):
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code

    said = capsys.readouterr().err
    assert status == 2, said
    assert message in said
    assert "Traceback" not in said


def test_interrupts_are_told(project, monkeypatch, capsys):
    def stops(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(jaxinit, "coord_check", stops)
    monkeypatch.setattr(jaxinit, "race", stops)
    for words, unit in ((CHECK, "a width"), (RACE, "a run")):
        assert main(words) == 130
        assert f"before {unit} was done" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["coord-check", "race", "theory", "compare"])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])

    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"jaxinit {command} " in said.partition("examples:")[2]
    assert "exit status: 0" in said
