"""What README.md says is true, and the guide to initializers, which was once on it."""

import contextlib
import functools
import importlib
import io
import math
import os
import pathlib
import re
import subprocess
import tomllib

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import jaxinit
from jaxinit import initializers, schemes, transfer

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()
GUIDE = (ROOT / "docs" / "guides" / "choose-an-initializer.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def section(title: str, text: str) -> str:
    """What is under a heading, up to the next of its level or above."""
    level = title.split(" ")[0]
    _, rest = text.split(f"\n{title}\n")
    return re.split(rf"^#{{1,{len(level)}}} ", rest, flags=re.MULTILINE)[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """What is set as code."""
    return re.findall(r"`([^`]+)`", text)


# The examples.

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


# Where it ran, and bars of seeds, of which one more or less falls into a place.
LOCAL = r" · \w+ · (loop|vmap)$|[▁▂▃▄▅▆▇█]+"


def assert_same_text(got: str, expected: str) -> None:
    """The same words, and numbers within 5%: jax versions and machines round apart."""
    got, expected = (
        " ".join(re.sub(LOCAL, "", text, flags=re.M).split())
        for text in (got, expected)
    )
    assert NUMBER.sub("#", got) == NUMBER.sub("#", expected)
    for a, b in zip(NUMBER.findall(got), NUMBER.findall(expected), strict=True):
        assert math.isclose(float(a), float(b), rel_tol=0.05), f"{a} instead of {b}"


@pytest.mark.internals
def test_the_examples_print_what_is_shown(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    printed = io.StringIO()

    def compare(example: Example) -> None:
        assert_same_text(printed.getvalue(), example.parsed)
        printed.seek(0)
        printed.truncate()

    document = Document.parse(
        str(ROOT / "README.md"),
        PythonCodeBlockParser(),
        CodeBlockParser("text", compare),
    )
    for example in document.examples():
        with contextlib.redirect_stdout(printed):
            example.evaluate()

    assert printed.getvalue() == "", "printed, but the README does not show it"
    count = len(re.findall(r"^```(python|text)\n", README, re.MULTILINE))
    assert len(list(document.examples())) == count == 2


def test_every_page_opens_with_its_title():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 30
    for page in pages:
        assert page.read_text().startswith("# "), page


def test_the_readme_is_two_screens():
    assert len(README.splitlines()) <= 110


@pytest.mark.parametrize(
    ("got", "fault"),
    [
        ("Dense_7 falls by 2.3 on cpu", "2.3 instead of 2.035"),
        ("Dense_7 grows by 2.035 on cpu", "grows"),
        ("Dense_8 falls by 2.035 on cpu", "Dense_8"),
        ("Dense_7 falls by 2.035", "cpu"),
    ],
)
def test_assert_same_text_notices(got, fault):
    expected = "Dense_7 falls by 2.035 on cpu"
    assert_same_text("Dense_7  falls\nby 2.036 on cpu", expected)

    with pytest.raises(AssertionError, match=fault):
        assert_same_text(got, expected)


# The commands.


@pytest.fixture
def stage(tmp_path):
    """A folder in which `python3 -m venv` makes a pip and a jaxinit that only talk."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "python3").write_text(
        """#!/bin/sh
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "pip $*" >> log\\nexit $PIP' > .venv/bin/pip
printf '#!/bin/sh\\necho "jaxinit $*" >> log\\nls -d jaxinit-output && exit 1' \
  > .venv/bin/jaxinit
chmod +x .venv/bin/*
"""
    )
    (fake / "python3").chmod(0o755)
    return tmp_path


def said(stage, command, *, pip_status=0):
    """What the fake programs are called with."""
    path = f"{stage / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PIP": str(pip_status)}
    subprocess.run(["bash", "-c", command], cwd=stage, env=environment, check=False)
    return (stage / "log").read_text().splitlines()


def test_the_main_command_analyzes_both_models_whatever_the_first_is_like(stage):
    pip, resnet, gpt = said(stage, blocks("sh")[0])

    assert pip == "pip install -e .[examples,plot]"
    for line, name in ((resnet, "resnet"), (gpt, "gpt")):
        words = line.split()
        assert words[:3] == ["jaxinit", "analyze", f"examples.{name}:model"]
        assert words[-4:] == [
            *("--plot", f"jaxinit-output/{name}.png"),
            *("--json", f"jaxinit-output/{name}.json"),
        ]
    assert (stage / "jaxinit-output").is_dir()


def test_the_main_command_ends_where_the_installation_fails(stage):
    assert said(stage, blocks("sh")[0], pip_status=1) == [
        "pip install -e .[examples,plot]"
    ]


def test_the_test_command_is_the_one_block_between_its_markers():
    start, end = "<!-- test-command: start -->", "<!-- test-command: end -->"
    _, rest = README.split(start)
    command, _ = rest.split(end)

    assert command.strip().splitlines()[0] == "```sh"
    assert blocks("sh")[1] in command
    assert len(blocks("sh")[1].splitlines()) == 1


def test_what_the_commands_name_exists():
    named = re.findall(r"\b(examples\.\w+):(\w+)", "".join(blocks("sh")))

    assert len(named) == 4
    for module, attribute in named:
        assert hasattr(importlib.import_module(module), attribute)


def test_extras_exist():
    commands = re.findall(r"'\.\[(.*?)\]'", README + INSTALL)
    extras = set(re.findall(r"\w+", " ".join(commands)))
    listed = spans(section("## Requirements", INSTALL).split("Extras:")[1])

    assert extras <= set(listed)
    assert set(listed) <= set(PROJECT["optional-dependencies"])


def test_versions_are_those_of_the_project():
    text = " ".join(section("## Requirements", INSTALL).split())

    for requirement in PROJECT["dependencies"]:
        name, version = requirement.split(">=")
        assert re.search(rf"\b{name}( and jaxlib)? {re.escape(version)}(?!\.?\d)", text)
    python = PROJECT["requires-python"].removeprefix(">=")
    assert set(re.findall(r"Python (\d[\d.]*\d)", README + INSTALL)) == {python}


# The initializers.

PUBLIC = {
    name
    for name in initializers.__all__
    if not isinstance(getattr(initializers, name), type)
}


def test_every_initializer_is_in_the_package():
    for name in PUBLIC:
        assert getattr(jaxinit, name) is getattr(initializers, name)


def test_every_scheme_is_in_the_package():
    for room in (schemes, transfer):
        for name in room.__all__:
            assert getattr(jaxinit, name) is getattr(room, name)


# The guide.


def guide() -> list[tuple[str, str]]:
    """Each line of code in the guide, with the case that it answers."""
    found = []
    for line in GUIDE.splitlines():
        if line[:1] == "|" and "---" not in line and "one line" not in line:
            _, case, answer, _ = line.split("|")
            found += [(case.strip(), code) for code in spans(answer)]
    return found


SITUATION = {
    **{name: getattr(jaxinit, name) for name in initializers.__all__},
    "functools": functools,
    "jax": jax,
    "nn": nn,
    "nnx": nnx,
    "key": jax.random.key(0),
    "params": {"hf": {"bias": jnp.zeros(8)}},
    "activation": "tanh",
    "counts": [990, 10],
    "d": 64,
    "d_kv": 16,
    "N": 24,
    "B": 4,
    "num_blocks": 12,
    "num_inputs": 2,
    "fan_in": 256,
    "sigma_w": 1.5,
    "sigma_b": 0.1,
    "nu_log": jnp.zeros(8),
    "their_init": jax.nn.initializers.he_normal(),
}


@pytest.mark.parametrize(("case", "code"), guide())
def test_the_guide_runs(case, code):
    del case
    # Keyword arguments stand alone there.
    if re.match(r"\w+=", code):
        code = f"dict({code})"
    names = set(re.findall(r"[a-z_]\w+(?=\()", code)) & PUBLIC
    assert names or code in {"zeros", "ones"}

    situation = dict(SITUATION)
    if " = " in code:
        exec(code, situation)
    else:
        result = eval(code, situation)
        parts = result.values() if isinstance(result, dict) else [result]
        assert all(callable(part) or isinstance(part, jax.Array) for part in parts)


def test_the_guide_has_an_answer_for_every_case():
    lines = GUIDE.splitlines()
    cases = [line for line in lines if line[:1] == "|" and "---" not in line]

    assert len(cases) - 3 == len({case for case, _ in guide()}) > 30
