"""Schemes inside `analyze` and `compare`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit
from jaxinit.signal import compare as module
from jaxinit.signal import engine
from tests.report.synthetic import dense_rows, make_report

X = jax.random.normal(jax.random.key(1), (32, 16))


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(6):
            x = nn.relu(nn.Dense(32)(x))
        return nn.Dense(4)(x)


def test_a_scheme_is_measured_as_initialize_draws_it():
    scheme = jaxinit.he_normal()
    report = jaxinit.analyze(MLP(), X, scheme=scheme, seeds=3)
    for index in range(3):
        drawn = jaxinit.initialize(MLP(), scheme, report.key(index), X)
        norms = [
            float(jnp.linalg.norm(drawn["params"][folder][leaf]))
            for folder, leaf in (name.split("/") for name in report.params)
        ]
        assert report.weights["weight_norm"][index] == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("scheme", [jaxinit.he_normal(), jaxinit.lsuv(), None])
def test_loop_and_vmap_agree(scheme):
    loop, mapped = (
        jaxinit.analyze(MLP(), X, scheme=scheme, seeds=4, strategy=strategy, chunk=2)
        for strategy in ("loop", "vmap")
    )
    for metric, values in loop.forward.items():
        assert np.allclose(values, mapped.forward[metric], rtol=1e-3, atol=1e-5), metric


def test_the_analysis_is_compiled_once_for_all_schemes(monkeypatch):
    made = []
    program = engine.Compiled.program

    def counted(self, chunk, *given):
        before = len(self._compiled)
        found = program(self, chunk, *given)
        made.extend([chunk] * (len(self._compiled) - before))
        return found

    monkeypatch.setattr(engine.Compiled, "program", counted)
    x = jnp.concatenate([X, X])  # a shape of its own, not compiled before
    schemes = {"flax": None, "he": jaxinit.he_normal(), "lsuv": jaxinit.lsuv()}
    comparison = jaxinit.compare(MLP(), x, schemes=schemes, seeds=3, strategy="loop")
    assert made == [0]
    assert list(comparison.reports) == list(schemes)


def test_the_table_tells_schemes_apart():
    schemes = {"flax": None, "he": jaxinit.he_normal()}
    comparison = jaxinit.compare(MLP(), X, schemes=schemes, seeds=8)
    flax, he = comparison.to_records()
    # LeCun's variance halves the second moment at each of six relus, He's keeps it;
    # the median over seeds of both falls by another factor, exp(-5L/2n) or 0.63.
    assert flax["last"] / flax["first"] < 2**-5
    assert 0.3 < he["last"] / he["first"] < 1.3
    first = comparison["he"].forward["second_moment"][:, 0]
    assert he["first"] == pytest.approx(np.median(first))
    printed = str(comparison).splitlines()
    assert printed[0] == "MLP under 2 schemes"
    assert printed[1].split()[:2] == ["scheme", "verdict"]
    assert [line.split()[0] for line in printed[2:4]] == ["flax", "he"]


def test_a_module_that_holds_weights_can_be_drawn_anew():
    net = nnx.Linear(16, 8, rngs=nnx.Rngs(0))
    held = jaxinit.analyze(net, X)
    drawn = jaxinit.analyze(net, X, scheme=jaxinit.he_normal(), seeds=4)
    assert held.forward["var"].shape == (1, 1)
    assert len(set(drawn.forward["var"][:, 0])) == 4


@pytest.mark.parametrize(
    ("schemes", "error", "says"),
    [
        ([jaxinit.he_normal()], TypeError, "must map names to schemes"),
        ({}, ValueError, "at least one scheme"),
        ({"bad": 3}, TypeError, "`scheme` must be a scheme"),
    ],
)
def test_bad_schemes(schemes, error, says):
    with pytest.raises(error, match=says) as caught:
        jaxinit.compare(MLP(), X, schemes=schemes, seeds=2)
    if schemes and isinstance(schemes, dict):
        assert "'bad'" in caught.value.__notes__[-1]


@pytest.mark.parametrize(("at", "done"), [(2, ["own"]), (3, ["own", "he"])])
def test_an_interrupt_returns_what_is_finished(monkeypatch, at, done):
    calls = []

    def measure(prepared, scheme, bar):
        calls.append(scheme)
        if len(calls) == at:
            raise KeyboardInterrupt
        return make_report(dense_rows(2))

    monkeypatch.setattr(module, "prepare", lambda *args: None)
    monkeypatch.setattr(module, "measure", measure)
    schemes = {"own": None, "he": jaxinit.he_normal(), "lecun": jaxinit.lecun_normal()}
    found = jaxinit.compare(None, schemes=schemes)

    assert list(found.reports) == done
    assert str(found).count("\n") == len(done) + 2


def test_a_scheme_cut_short_is_the_last(monkeypatch):
    cut = make_report(dense_rows(2), notes=("interrupted: 16 of 64 seeds were run",))
    monkeypatch.setattr(module, "prepare", lambda *args: None)
    monkeypatch.setattr(module, "measure", lambda *args: cut)
    found = jaxinit.compare(None, schemes={"own": None, "he": jaxinit.he_normal()})

    assert list(found.reports) == ["own"]
    assert found.interrupted
