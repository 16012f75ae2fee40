"""Each metric that is measured on request equals its definition in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit
from jaxinit.report.numbers import compact
from jaxinit.signal.extra.exponents import BINS, HIGH, LOW
from jaxinit.signal.extra.jacobian import isometry
from jaxinit.signal.extra.measure import ALLOWED
from tests.signal.test_against_numpy import Transformer

pytestmark = pytest.mark.internals

X = np.asarray(jax.random.normal(jax.random.key(7), (3, 5, 6)), np.float64)
SEEDS = 2


class Net(nn.Module):
    """Attention, an MLP and two of four experts, each added to the stream."""

    @nn.compact
    def __call__(self, x):
        q, k, v = (nn.Dense(6, use_bias=False, name=n)(x) for n in "qkv")
        scores = jnp.einsum("btd,bsd->bts", q, k) * 2
        scores = jnp.where(jnp.tri(5) > 0, scores, -1e9)
        attended = jnp.einsum("bts,bsd->btd", nn.softmax(scores), v)
        x = x + nn.Dense(6, use_bias=False, name="out")(attended)
        h = nn.relu(nn.Dense(8, use_bias=False, name="up")(x) - 1.5)
        x = x + nn.Dense(6, use_bias=False, name="down")(h)
        gates = nn.softmax(nn.Dense(4, use_bias=False, name="router")(x))
        weights, chosen = jax.lax.top_k(gates, 2)
        w = self.param("experts", nn.initializers.lecun_normal(), (4, 6, 6))
        made = jnp.einsum("btd,edf->btef", x, w)
        picked = jnp.take_along_axis(made, chosen[..., None], axis=2)
        return nn.Dense(3, use_bias=False, name="head")(
            jnp.sum(picked * weights[..., None], axis=2)
        )


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def forward(p, x, cut=()):
    """The model in float64: its output, and everything on the way."""
    s = {n: x @ p[n] for n in "qkv"}
    s["scores"] = 2 * s["q"] @ s["k"].transpose(0, 2, 1)
    s["weights"] = softmax(np.where(np.tri(5) > 0, s["scores"], -1e9))
    s["skip1"] = x
    s["out"] = s["weights"] @ s["v"] @ p["out"]
    x = x + s["out"] * ("out" not in cut)
    s["up"] = x @ p["up"]
    s["relu"] = np.maximum(s["up"] - 1.5, 0)
    s["skip2"], s["down"] = x, s["relu"] @ p["down"]
    s["stream"] = x = x + s["down"] * ("down" not in cut)
    s["router"] = x @ p["router"]
    order = np.argsort(-s["router"], -1)[..., :2]
    gates = np.take_along_axis(softmax(s["router"]), order, -1)
    made = np.einsum("btd,edf->btef", x, p["experts"])
    picked = np.take_along_axis(made, order[..., None], 2)
    s["chosen"] = order
    s["output"] = (picked * gates[..., None]).sum(2) @ p["head"]
    return s["output"], s


@pytest.fixture(scope="module")
def measured():
    """The report with all metrics, and for each seed the weights and all values."""
    model, x = Net(), X.astype(np.float32)
    report = jaxinit.analyze(model, x, seeds=SEEDS, judge=False, metrics=ALLOWED)
    found = []
    for seed in range(SEEDS):
        params = model.init(report.key(seed), x)["params"]
        p = {
            name: np.asarray(v["kernel"] if isinstance(v, dict) else v, np.float64)
            for name, v in params.items()
        }
        found.append((p, forward(p, x.astype(np.float64))[1]))
    return report, found


def check(measured, metric, row, expected, rtol=2e-4):
    """``expected`` takes the weights and the values of one seed."""
    report, found = measured
    place = report.layers.index(row)
    wanted = [expected(p, s) for p, s in found]
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(
        report.forward[metric][:, place], wanted, rtol=rtol, atol=1e-5
    )


def row_cosines(x):
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    gram = unit @ unit.transpose(0, 2, 1)
    n = gram.shape[-1]
    return (gram.sum((1, 2)) - n) / (n * (n - 1))


def participation(rows):
    squares = np.linalg.svd(rows, compute_uv=False) ** 2
    return squares.sum(-1) ** 2 / (squares**2).sum(-1)


def dormant(x):
    size = np.abs(x).mean((0, 1))
    return (size <= 0.1 * size.mean()).mean()


OF_ROWS = {
    ("kurtosis", "up"): lambda p, s: (
        ((s["up"] - s["up"].mean()) ** 4).mean() / s["up"].var() ** 2
    ),
    ("dormant", "up"): lambda p, s: dormant(s["relu"]),
    ("token_cos", "v"): lambda p, s: row_cosines(s["v"]).mean(),
    ("token_rank", "v"): lambda p, s: participation(s["v"]).mean(),
    ("eff_rank", "v"): lambda p, s: participation(s["v"].reshape(3, -1)),
    ("frac_subnormal", "q"): lambda p, s: (np.abs(s["q"]) < 2**-14).mean(),
    ("attn_logit_max", "q"): lambda p, s: np.abs(s["scores"][:, np.tri(5) > 0]).max(),
    ("attn_logit_std", "q"): lambda p, s: s["scores"][:, np.tri(5) > 0].std(),
    ("attn_entropy", "q"): lambda p, s: np.mean(
        [
            -(w[t, : t + 1] * np.log(w[t, : t + 1])).sum() / np.log(t + 1)
            for w in s["weights"]
            for t in range(1, 5)
        ]
    ),
    ("attn_one_hot", "q"): lambda p, s: (s["weights"][:, 1:].max(-1) > 0.99).mean(),
    ("router_load", "router"): lambda p, s: 4 * loads(s).max(),
    ("router_entropy", "router"): lambda p, s: (
        -sum(v * np.log(v) for v in loads(s) if v) / np.log(4)
    ),
    ("router_unused", "router"): lambda p, s: (loads(s) == 0).mean(),
}


def loads(s):
    return np.bincount(s["chosen"].ravel(), minlength=4) / s["chosen"].size


@pytest.mark.parametrize(("metric", "row"), OF_ROWS)
def test_metrics_of_rows(measured, metric, row):
    check(measured, metric, row, OF_ROWS[metric, row])


@pytest.mark.parametrize(("skip", "branch"), [("skip1", "out"), ("skip2", "down")])
def test_metrics_of_joins(measured, skip, branch):
    def rms(x):
        return np.sqrt((x**2).mean())

    def share(p, s):
        total = s[skip] + s[branch]
        return np.cov(s[branch].ravel(), total.ravel(), ddof=0)[0, 1] / total.var()

    def lost(p, s):
        return ((s["output"] - forward(p, s["skip1"], (branch,))[0]) ** 2).mean() / (
            s["output"] ** 2
        ).mean()

    row = f"{branch}+"
    check(measured, "branch_ratio", row, lambda p, s: rms(s[branch]) / rms(s[skip]))
    check(
        measured,
        "branch_cos",
        row,
        lambda p, s: (s[branch] * s[skip]).mean() / rms(s[branch]) / rms(s[skip]),
    )
    check(measured, "branch_share", row, share)
    check(measured, "skip_attribution", row, lost, rtol=2e-3)


def test_metrics_are_nan_where_they_mean_nothing(measured):
    report, _ = measured
    joins = [name.endswith("+") for name in report.layers]
    for metric in ("branch_ratio", "skip_attribution"):
        assert list(~np.isnan(report.forward[metric][0])) == joins
    for metric, row in (("attn_entropy", "q"), ("router_load", "router")):
        known = ~np.isnan(report.forward[metric][0])
        assert [report.layers[i] for i in np.flatnonzero(known)] == [row]


def jacobian(p, x):
    """By central differences in float64."""
    step = 1e-6
    columns = []
    for i in range(x.size):
        away = np.zeros(x.size)
        away[i] = step
        above, below = (
            forward(p, x + sign * away.reshape(x.shape))[0] for sign in (1, -1)
        )
        columns.append((above - below).ravel() / (2 * step))
    return np.stack(columns, axis=1)


def test_isometry_is_that_of_the_whole_jacobian(measured):
    report, found = measured
    x = X.astype(np.float32).astype(np.float64)
    for seed, (p, _) in enumerate(found):
        squares = np.linalg.svd(jacobian(p, x), compute_uv=False) ** 2
        wanted = {
            "jacobian_mean": squares.mean(),
            "jacobian_var": squares.var() / squares.mean() ** 2,
            "jacobian_max": squares.max(),
        }
        for name, value in wanted.items():
            assert report.model[name][seed] == pytest.approx(value, rel=1e-3)
        assert report.model["jacobian_min"][seed] == pytest.approx(
            squares.min(), abs=1e-4 * squares.max()
        )


def test_probes_estimate_what_the_whole_jacobian_has():
    from jaxinit.models.arguments import arguments
    from jaxinit.models.trace import trace

    w = np.asarray(jax.random.normal(jax.random.key(0), (24, 40))) / 5
    model = jaxinit.Functional(lambda key, x: jnp.asarray(w), lambda w, x: x @ w)
    x = jnp.ones(24)
    traced = trace(model, arguments((x,), {}))
    values = [jnp.asarray(w), jax.random.key(0), x]
    run = jax.jit(lambda key: isometry(traced, values, key, exact=0))
    many = [run(jax.random.key(i)) for i in range(12)]
    mean, var, largest, least = np.mean(many, axis=0)

    squares = np.linalg.svd(w, compute_uv=False) ** 2
    # 192 probes of 24 numbers each: a relative error of about sqrt(2/(192*24)) = 2%.
    assert mean == pytest.approx(squares.mean(), rel=0.08)
    assert var == pytest.approx(squares.var() / squares.mean() ** 2, rel=0.3)
    assert largest == pytest.approx(squares.max(), rel=0.02)
    assert np.isnan(least)


def test_exponents_are_counted_by_sign(measured):
    report, found = measured
    place = BINS // 2
    for seed, (_, s) in enumerate(found):
        values = s["q"].ravel()
        wanted = np.zeros(BINS)
        for value in values:
            level = np.clip(np.floor(np.log2(abs(value))), LOW, HIGH - 1) - LOW + 1
            wanted[place + int(np.sign(value) * level)] += 1 / values.size
        # A value next to a power of two may fall on its other side in float32.
        assert np.abs(report.histograms["q"][seed] - wanted).sum() < 3 / values.size


def test_a_layer_of_a_scan_is_cut_alone():
    model = Transformer()
    tokens = jax.random.randint(jax.random.key(0), (2, 7), 0, 11)
    report = jaxinit.analyze(
        model, tokens, seeds=1, judge=False, metrics=["skip_attribution"]
    )
    variables = model.init(report.key(0), tokens)
    run = jax.jit(model.apply)
    whole = run(variables, tokens)
    for layer in range(3):
        cut = jax.tree.map(lambda leaf: leaf, variables)
        out = cut["params"]["blocks"]["MultiHeadDotProductAttention_0"]["out"]
        for name in ("kernel", "bias"):
            out[name] = out[name].at[layer].set(0)
        lost = jnp.mean((whole - run(cut, tokens)) ** 2) / jnp.mean(whole**2)
        place = report.layers.index(
            f"blocks/MultiHeadDotProductAttention_0/out+[{layer}]"
        )
        found = report.forward["skip_attribution"][0, place]
        assert found == pytest.approx(float(lost), rel=1e-3)


def test_they_go_wherever_a_report_goes(measured):
    report, _ = measured
    again = jaxinit.Report.from_json(report.to_json())

    for metric in ("kurtosis", "skip_attribution"):
        np.testing.assert_array_equal(again.forward[metric], report.forward[metric])
    np.testing.assert_array_equal(
        again.model["jacobian_var"], report.model["jacobian_var"]
    )
    np.testing.assert_array_equal(again.histograms["q"], report.histograms["q"])
    scalars = report.scalars()
    assert scalars["init/jacobian_mean"] == pytest.approx(
        np.median(report.model["jacobian_mean"])
    )
    assert "init/attn_entropy/q" in scalars
    assert "init/attn_entropy/up" not in scalars
    frame = report.to_pandas()
    assert frame["router_load"].notna().sum() == SEEDS
    assert list(report.to_pandas("model")["jacobian_max"]) == list(
        report.model["jacobian_max"]
    )
    assert report.to_xarray()["jacobian_mean"].dims == ("seed",)
    wide = report.table(width=300)
    median = compact(
        float(np.median(report.forward["attn_logit_max"][:, report.layers.index("q")]))
    )
    (line,) = (text for text in wide.splitlines() if text.split()[:1] == ["q"])
    assert "attn_logit_max" in wide
    assert median in line
    assert "jacobian_var" in wide


def test_what_is_no_metric_is_named():
    with pytest.raises(ValueError, match=r"`metrics` holds 'rank'.*Allowed are dorma"):
        jaxinit.analyze(Net(), X, metrics=["rank"])
    with pytest.raises(TypeError, match="`metrics` must hold names"):
        jaxinit.analyze(Net(), X, metrics="isometry")
