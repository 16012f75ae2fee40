"""Schemes inside `analyze` and `compare`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit
from jaxinit.signal import compare as module
from jaxinit.signal import engine
from jaxinit.signal.compare_ranking import drift, ranking
from jaxinit.verdict.judge import judged
from tests.report.synthetic import dense_rows, make_report, walk

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
    schemes = ["own", "he_normal", "lsuv"]
    comparison = jaxinit.compare(MLP(), x, schemes=schemes, seeds=3, strategy="loop")
    assert made == [0]
    assert list(comparison.reports) == schemes
    by_value = jaxinit.analyze(MLP(), x, scheme=jaxinit.he_normal(), seeds=3)
    moments = comparison["he_normal"].forward["second_moment"]
    assert np.allclose(moments, by_value.forward["second_moment"], rtol=1e-5)
    with pytest.raises(KeyError, match="own, he_normal, lsuv has no 'he'"):
        comparison["he"]


def test_the_table_tells_schemes_apart(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
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
    assert [line.split()[0] for line in printed[2:4]] == ["he", "flax"]  # ranked


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
        ("he_normal", TypeError, "or list names"),
        ({}, ValueError, "at least one scheme"),
        ([], ValueError, "at least one scheme"),
        (["own", "own"], ValueError, "each scheme once"),
        ({"bad": 3}, TypeError, "`scheme` must be a scheme"),
        ({"bad": "he_norm"}, ValueError, "Did you mean he_normal"),
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

    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(module, "prepare", lambda *args: None)
    monkeypatch.setattr(module, "measure", measure)
    schemes = {"own": None, "he": jaxinit.he_normal(), "lecun": jaxinit.lecun_normal()}
    found = jaxinit.compare(None, schemes=schemes)

    assert list(found.reports) == done
    rows = str(found).splitlines()[2:]
    assert [line.split()[0] for line in rows[: len(done)]] == done


def test_a_scheme_cut_short_is_the_last(monkeypatch):
    cut = make_report(dense_rows(2), notes=("interrupted: 16 of 64 seeds were run",))
    monkeypatch.setattr(module, "prepare", lambda *args: None)
    monkeypatch.setattr(module, "measure", lambda *args: cut)
    found = jaxinit.compare(None, schemes={"own": None, "he": jaxinit.he_normal()})

    assert list(found.reports) == ["own"]
    assert found.interrupted


def known(slope, step=0.0, seed=0, **options):
    """A judged report whose log2 second moment falls by ``slope`` a layer."""
    moment = walk(16, 8, drift=slope, step=step, seed=seed)
    return judged(make_report(dense_rows(8), log2_moment=moment, **options))


def test_drift_is_the_change_of_the_rms_in_decades():
    # Seven hidden layers, six steps of 2 bits of power: 6 bits of rms.
    assert drift(known(-2.0)) == pytest.approx(6 * np.log10(2))
    zero = make_report(dense_rows(8), log2_moment=-np.inf)
    assert np.isposinf(drift(zero)).all()


def test_the_ranking_is_paired_over_seeds():
    noisy = known(-0.2, step=0.4)
    worse = judged(
        make_report(
            dense_rows(8),
            log2_moment=walk(16, 8, drift=-0.2, step=0.4) - 0.02 * np.arange(8),
        )
    )
    again = known(-0.2, step=0.4, seed=1)
    first, second = ranking({"worse": worse, "noisy": noisy})

    # Between seeds they overlap; seed by seed one always lies behind the other.
    assert first.drift.high > second.drift.low
    assert (first.scheme, second.scheme) == ("noisy", "worse")
    assert (first.place, second.place, second.tied) == (1, 2, False)
    assert second.behind.low > 0
    assert [r.place for r in ranking({"a": noisy, "b": again})] == [1, 1]


def test_healthy_schemes_come_first_whatever_their_drift():
    assert "unknown" in str(jaxinit.Comparison({"a": judged(make_report(()))}))
    hidden = known(-2.0).findings
    sick, fine = dataclasses.replace(known(-0.01), findings=hidden), known(-0.2)
    assert drift(sick).max() < drift(fine).min()
    assert sick.verdict != "ok"
    assert fine.verdict == "ok"
    ranks = ranking({"sick": sick, "fine": fine})
    assert [(r.scheme, r.place) for r in ranks] == [("fine", 1), ("sick", 2)]
    said = str(jaxinit.Comparison({"sick": sick, "fine": fine}))
    assert "Best at initialization: fine" in said
    assert hidden[0].remedy in said


def test_a_comparison_survives_json_and_is_drawn(tmp_path):
    names = {"own": known(-2.0), "</script>": known(-0.2), "he": known(-0.25)}
    found = jaxinit.Comparison(names)
    found.to_json(tmp_path / "c.json")
    for again in (
        jaxinit.Comparison.from_json(tmp_path / "c.json"),
        jaxinit.Comparison.from_json(found.to_json()),
    ):
        assert again.to_json() == found.to_json()
        assert str(again) == str(found)
    assert list(found.to_pandas()["scheme"]) == list(names)

    figure = found.plot(tmp_path / "c.png")
    signal, gradient = figure.axes
    colors = [line.get_color() for line in signal.lines]
    assert len(set(colors)) == len(signal.lines) == len(gradient.lines) == 3
    assert len(signal.collections) == 3  # bands
    text = found.to_html()
    assert "&lt;/script&gt;" in text
    assert text.count("<polyline") == 6
    assert text.count("</script>") == 4  # the page's own: three of data, one that acts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "must map names of schemes to reports"),
        ("[", "neither JSON text nor the path"),
        ('{"a": 3}', "must map names of schemes"),
        ('{"a": {}}', "not a report"),
        ("{", "no JSON"),
    ],
)
def test_what_is_no_comparison(text, says):
    with pytest.raises(ValueError, match=says):
        jaxinit.Comparison.from_json(text)


def test_a_name_is_a_scheme_everywhere():
    by_name = jaxinit.initialize(MLP(), "orthogonal(1.4)", 0, X)
    by_value = jaxinit.initialize(MLP(), jaxinit.orthogonal(1.4), 0, X)
    own = jaxinit.initialize(MLP(), "own", 0, X)
    for name, other in ((by_name, by_value), (own, MLP().init(jax.random.key(0), X))):
        assert jax.tree.all(
            jax.tree.map(lambda a, b: bool((a == b).all()), name, other)
        )
    assert "orthogonal" in str(jaxinit.explain(MLP(), "orthogonal", X))


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("gpt5", ValueError, "no scheme or initializer 'gpt5'.*gpt2"),
        ("mup", TypeError, r"missing .* 'base'.*mup\(base"),
        ("orthogonal(nowhere=3)", TypeError, r"orthogonal\(nowhere=3\): .*nowhere"),
        ("__import__('os').system('x')", ValueError, "must be a name"),
        ("explain", ValueError, "no scheme or initializer 'explain'"),
        ("normal(-1)", ValueError, "stddev"),
    ],
)
def test_wrong_names(name, error, says):
    with pytest.raises(error, match=says):
        jaxinit.initialize(MLP(), name, 0, X)
