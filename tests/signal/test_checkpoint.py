"""What survives an end in the middle of a run, and goes on from there."""

import os
import resource
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit._progress import Bar
from jaxinit.signal.engine import Engine
from tests.signal.same import assert_same_statistics

pytestmark = pytest.mark.internals

X = np.asarray(jax.random.normal(jax.random.key(1), (8, 3)))


def init(key, x):
    return {"kernel": jax.random.normal(key, (x.shape[-1], 4))}


def apply(params, x):
    return jnp.tanh(x @ params["kernel"])


MODEL = jaxinit.Functional(init, apply)
SEEDS = 6
_KILLED = """
import os, signal, sys
import jaxinit
from jaxinit._progress import Bar
from tests.signal.test_checkpoint import MODEL, SEEDS, X

def count(self, done, total, what):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Bar.count = count
jaxinit.analyze(MODEL, X, seeds=SEEDS, strategy="loop", checkpoint=sys.argv[1])
"""


@pytest.fixture(scope="module")
def whole():
    return jaxinit.analyze(MODEL, X, seeds=SEEDS)


@pytest.fixture
def ran(monkeypatch):
    """The seeds that are computed from here on."""
    seeds, original = [], Engine.run

    def run(self, seed):
        seeds.append(seed)
        return original(self, seed)

    monkeypatch.setattr(Engine, "run", run)
    return seeds


def assert_same(report, expected):
    np.testing.assert_array_equal(report.seeds, expected.seeds)
    assert_same_statistics(report, expected, rtol=0)
    assert report.findings == expected.findings


def test_killed_in_the_middle_it_goes_on(whole, ran, tmp_path):
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr

    report = jaxinit.analyze(MODEL, X, seeds=SEEDS, checkpoint=tmp_path)

    assert_same(report, whole)
    assert sorted(ran) == [3, 4, 5]
    assert "3 seeds were read from `checkpoint`" in report.notes
    again = jaxinit.analyze(MODEL, X, seeds=SEEDS, checkpoint=tmp_path)
    assert_same(again, whole)
    assert sorted(ran) == [3, 4, 5]


def test_a_record_that_was_cut_off_is_computed_again(whole, ran, tmp_path):
    jaxinit.analyze(MODEL, X, seeds=3, checkpoint=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    ran.clear()

    report = jaxinit.analyze(MODEL, X, seeds=SEEDS, checkpoint=tmp_path)

    assert_same(report, whole)
    assert len(ran) == SEEDS - 2


def test_folders_of_two_runs_are_one_run(whole, ran, tmp_path):
    for name, seeds in (("a", [0, 1, 2]), ("b", [3, 4, 5])):
        jaxinit.analyze(MODEL, X, seeds=seeds, checkpoint=tmp_path / name)
    shutil.copytree(tmp_path / "a", tmp_path / "b", dirs_exist_ok=True)
    ran.clear()

    report = jaxinit.analyze(MODEL, X, seeds=SEEDS, checkpoint=tmp_path / "b")

    assert_same(report, whole)
    assert ran == []


def repeating(params, x):
    for kernel in params.values():
        x = jnp.tanh(x @ kernel)
    return x


def test_seeds_kept_by_a_loop_over_blocks_are_read_without_one(ran, tmp_path):
    def drawn(key, x):
        keys = jax.random.split(key, 12)
        return {f"{i:02}": jax.random.normal(k, (3, 3)) for i, k in enumerate(keys)}

    model = jaxinit.Functional(drawn, repeating)
    kept = jaxinit.analyze(model, X, seeds=2, roll=True, checkpoint=tmp_path)
    plain = jaxinit.analyze(model, X, seeds=2, roll=False)
    ran.clear()

    report = jaxinit.analyze(
        model, X, seeds=2, roll=False, checkpoint=tmp_path, remedies="none"
    )

    assert kept.settings["rolled"]
    assert not report.settings["rolled"]
    assert ran == []
    assert_same_statistics(report, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"key": 1},
        {"scheme": jaxinit.he_normal()},
        {"loss": lambda y: (y**2).mean()},
    ],
)
def test_another_analysis_shares_nothing(ran, tmp_path, change):
    jaxinit.analyze(MODEL, X, seeds=2, checkpoint=tmp_path)
    ran.clear()

    jaxinit.analyze(MODEL, X, seeds=2, checkpoint=tmp_path, **change)

    assert sorted(ran) == [0, 1]


def test_keys_that_count_otherwise_share_nothing(ran, tmp_path):
    jaxinit.analyze(MODEL, X, seeds=2, checkpoint=tmp_path)
    ran.clear()

    with jax.threefry_partitionable(False):
        jaxinit.analyze(MODEL, X, seeds=2, checkpoint=tmp_path)

    assert sorted(ran) == [0, 1]


def test_another_rule_for_the_derivative_shares_nothing(ran, tmp_path):
    def model(factor):
        @jax.custom_vjp
        def rule(h):
            return jnp.tanh(h)

        rule.defvjp(lambda h: (jnp.tanh(h), None), lambda _, t: (factor * t,))
        return jaxinit.Functional(init, lambda p, x: rule(x @ p["kernel"]))

    one, two = (
        jaxinit.analyze(model(f), X, seeds=1, judge=False, checkpoint=tmp_path)
        for f in (1.0, 2.0)
    )

    assert ran == [0, 0]
    norms = [r.weights["wgrad_norm"][0, 0] for r in (one, two)]
    assert norms[1] == 2 * norms[0]


@pytest.fixture
def disk():
    """Sets how large a file may become: then the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_what_it_holds_is_kept(ran, tmp_path, disk):
    jaxinit.analyze(MODEL, X, seeds=SEEDS, checkpoint=tmp_path)
    (file,) = tmp_path.iterdir()
    size = file.stat().st_size
    file.unlink()
    disk(size - 1)
    message = "`checkpoint` must be a folder that can be written to"
    with pytest.raises(ValueError, match=message) as caught:
        jaxinit.analyze(
            MODEL, X, seeds=SEEDS, strategy="loop", chunk=1, checkpoint=tmp_path
        )
    assert "5 finished seeds are kept" in caught.value.__notes__[0]
    ran.clear()

    disk(10)
    with pytest.raises(ValueError, match=message):
        jaxinit.analyze(MODEL, X, seeds=SEEDS, checkpoint=tmp_path)
    assert ran == []
    disk(size)
    jaxinit.analyze(MODEL, X, seeds=SEEDS, checkpoint=tmp_path)
    assert ran == [5]


def test_other_inputs_share_nothing(ran, tmp_path):
    jaxinit.analyze(MODEL, X, seeds=2, checkpoint=tmp_path)
    ran.clear()

    jaxinit.analyze(MODEL, 2 * X, seeds=2, checkpoint=tmp_path)

    assert sorted(ran) == [0, 1]


def test_a_checkpoint_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ValueError, match="`checkpoint` must be a folder"):
        jaxinit.analyze(MODEL, X, seeds=2, checkpoint=tmp_path / "file")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_end_acts_like_an_interrupt(monkeypatch, name):
    def count(self, done, total, what):
        if done == 2:
            os.kill(os.getpid(), getattr(signal, name))

    monkeypatch.setattr(Bar, "count", count)
    report = jaxinit.analyze(MODEL, X, seeds=SEEDS, strategy="loop")

    assert f"interrupted by {name}: 2 of 6 seeds were run" in report.notes
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL


def test_a_seed_that_fails_is_named_and_the_others_are_kept(ran, tmp_path):
    root = jax.random.key(0)
    bad = np.asarray(jax.random.key_data(jax.random.fold_in(root, 3)))

    def check(data):
        if (data == bad).all():
            raise ValueError("a bad draw")
        return np.float32(1)

    def guarded(key, x):
        one = jax.pure_callback(
            check, jax.ShapeDtypeStruct((), "float32"), jax.random.key_data(key)
        )
        return {"kernel": one * jax.random.normal(key, (x.shape[-1], 4))}

    model = jaxinit.Functional(guarded, apply)
    with pytest.raises(Exception, match="a bad draw") as caught:
        jaxinit.analyze(
            model, X, seeds=SEEDS, strategy="loop", chunk=1, checkpoint=tmp_path
        )

    notes = " ".join(caught.value.__notes__)
    assert "measuring seed 3, whose key is jax.random.fold_in(root, 3)" in notes
    assert "3 finished seeds are kept" in notes
    ran.clear()
    report = jaxinit.analyze(model, X, seeds=[0, 1, 2], checkpoint=tmp_path)
    assert list(report.seeds) == [0, 1, 2]
    assert ran == []
