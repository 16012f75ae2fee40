"""Predictions agree with what is measured, and are silent where no law is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit
from jaxinit.report.report import Report

X = jax.random.normal(jax.random.key(7), (32, 16))


class Body(nn.Module):
    body: object

    @nn.compact
    def __call__(self, x):
        return self.body(x)


def predicted(body, x, seeds=24):
    return jaxinit.analyze(
        Body(body), x, seeds=seeds, predict=True, judge=False, progress=False
    )


def agrees(report, metric, rows, limit=4.0):
    """Theory stands within so many standard errors at these rows, and only there."""
    theory, far = report.predicted[metric], report.predicted[f"{metric}_z"]
    known = {report.layers[i] for i in np.flatnonzero(np.isfinite(theory))}
    assert known == set(rows), known ^ set(rows)
    for i in np.flatnonzero(np.isfinite(theory)):
        assert abs(far[i]) < limit, (report.layers[i], far[i])


def residual(x):
    x = nn.Dense(64)(x)
    for _ in range(2):
        h = nn.LayerNorm()(x)
        h = nn.relu(nn.Dense(64, kernel_init=nn.initializers.he_normal())(h))
        x = x + nn.Dense(64)(h)
    return nn.Dense(5)(x)


@pytest.fixture(scope="module")
def joined():
    return predicted(residual, X)


def test_dense_norms_and_sums(joined):
    agrees(joined, "second_moment", joined.layers)
    # The stream's variance grows by one a block.
    sums = [i for i, kind in enumerate(joined.kinds) if kind == "join"]
    stream = joined.predicted["second_moment"][sums]
    assert np.allclose(np.diff(stream), 1.0, atol=0.05)


def test_gradients_grow_by_fan_out_slope_norms_and_joins(joined):
    agrees(joined, "chi", set(joined.layers) - {"Dense_4+", "Dense_5"})
    chi = dict(zip(joined.layers, joined.predicted["chi"], strict=True))
    size = dict(zip(joined.layers, joined.predicted["second_moment"], strict=True))
    for i in (1, 3):
        # From the kernel in front of relu to the one behind: 1/64 * 64 * E[relu'^2].
        assert abs(chi[f"Dense_{i}"] - 0.5) < 0.02
        # Behind a norm 64 outputs of variance 2/64.
        assert abs(chi[f"LayerNorm_{i // 2}"] - 2.0) < 0.05
    # A norm divides by the mean square; the branch ends where the join does.
    branch = chi["LayerNorm_1"] * chi["Dense_3"]  # = 1, from the join to the norm
    stream = chi["Dense_2+"] - 1
    rows = np.square(np.asarray(X, np.float64)).mean(1)
    other = size["Dense_2+"] / size["Dense_0"] - 1
    inverse = np.mean((1 + other) / (rows / rows.mean() + other))
    assert stream == pytest.approx(branch / size["Dense_2+"] * inverse, rel=0.02)


def test_cosines_are_those_of_the_correlation_map(joined):
    agrees(joined, "cos", joined.layers)
    # Norms and kernels keep the cosine; behind a sum the streams weigh by their size.
    cos = dict(zip(joined.layers, joined.predicted["cos"], strict=True))
    assert cos["Dense_1"] == pytest.approx(cos["Dense_0"], abs=1e-6)
    c = cos["Dense_1"]
    behind = (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / np.pi
    assert cos["Dense_2"] == pytest.approx(behind, abs=1e-4)
    size = dict(zip(joined.layers, joined.predicted["second_moment"], strict=True))
    parts = [cos[n] * size[n] for n in ("Dense_0", "Dense_2")]
    assert cos["Dense_2+"] == pytest.approx(sum(parts) / size["Dense_2+"], abs=1e-6)


def tanh_net(x):
    for _ in range(3):
        x = jnp.tanh(nn.Dense(128, bias_init=nn.initializers.constant(0.5))(x))
    return nn.Dense(5)(x)


def _of_pairs(f, mean, variance, covariance):
    """E f(u) f(u') of two normal variables, by quadrature over both."""
    z, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    rho = covariance / variance
    one = mean + np.sqrt(variance) * z[:, None]
    rest = np.sqrt(max(1 - rho**2, 0)) * z[None, :]
    other = mean + np.sqrt(variance) * (rho * z[:, None] + rest)
    return float((w[:, None] * w * f(one) * f(other)).sum())


def test_slopes_of_tanh_with_biases():
    report = predicted(tanh_net, X)
    agrees(report, "second_moment", report.layers)
    agrees(report, "cos", report.layers)
    cos = report.predicted["cos"]
    q = report.predicted["second_moment"]
    for i in range(2):
        # Of normal variables around the bias, with the bias in common.
        both = _of_pairs(np.tanh, 0.5, q[i] - 0.25, cos[i] * q[i] - 0.25)
        realized = (q[i + 1] - 0.25) / _of_pairs(np.tanh, 0.5, *[q[i] - 0.25] * 2)
        expected = (0.25 + realized * both) / q[i + 1]
        assert cos[i + 1] == pytest.approx(expected, abs=1e-5)

    # By quadrature, apart from the machine: u ~ N(1/2, q) behind each kernel.
    z, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()
    variance = float((np.asarray(X, np.float64) ** 2).mean())
    for i in range(3):
        moment = report.predicted["second_moment"][i]
        assert abs(moment - (variance + 0.25)) < 0.02 * moment
        u = 0.5 + np.sqrt(variance) * z
        slope = (w * (1 - np.tanh(u) ** 2) ** 2).sum()
        if i < 2:
            assert abs(report.predicted["chi"][i] - slope) < 0.02 * slope
        variance = (w * np.tanh(u) ** 2).sum()


def test_pooling_and_attention_have_no_law():
    def pooled(x):
        h = nn.relu(nn.Conv(16, (3, 3))(x))
        return nn.Dense(5)(nn.LayerNorm()(nn.Dense(8)(h.mean((1, 2)))))

    images = jax.random.normal(jax.random.key(1), (4, 6, 6, 3))
    report = predicted(pooled, images, seeds=8)

    # Behind the norm the size is known again; of the pooled mean it is not. Behind
    # the layer that takes it, theory goes on from what was measured there.
    agrees(report, "second_moment", ["Conv_0", "LayerNorm_0", "Dense_0"])
    agrees(report, "cos", ["Conv_0", "LayerNorm_0", "Dense_0"])
    # What a mean takes back it hands to all 36 places; of rows of unknown size a
    # norm divides by an unknown number.
    agrees(report, "chi", ["Conv_0", "LayerNorm_0"])
    (note,) = [n for n in report.notes if n.startswith("Predictions behind Dense_1 ")]
    assert "rest on the moments that were measured there" in note
    at = report.layers.index
    start = report.forward["cos"][:, at("Dense_1")].mean()
    assert report.predicted["cos"][at("LayerNorm_0")] == pytest.approx(start, abs=0.01)


def test_a_stage_of_a_residual_net():
    def stage(x):
        def conv(x, size=3, step=1):
            x = nn.Conv(32, (size, size), (step, step), use_bias=False)(x)
            return nn.BatchNorm(use_running_average=False)(x)

        x = nn.relu(conv(x))
        h = conv(nn.relu(conv(x, step=2)))
        return nn.Dense(7)(nn.relu(conv(x, 1, 2) + h).mean((1, 2)))

    report = predicted(stage, jax.random.normal(jax.random.key(1), (32, 6, 6, 4)), 12)
    layers = set(report.layers) - {"Dense_0"}
    agrees(report, "second_moment", layers)
    # What norms over positions divide by is not known: how alike these are is not.
    agrees(report, "chi", ["BatchNorm_1", "BatchNorm_3"])


def test_theory_goes_on_behind_an_operation_without_a_law():
    def sorted_units(x):
        x = jnp.tanh(nn.Dense(128)(x))
        x = jnp.sort(jnp.fft.irfft(jnp.fft.rfft(x), n=128))
        x = nn.relu(nn.Dense(128)(x))
        return nn.Dense(64)(nn.relu(nn.Dense(128)(x)))

    report = predicted(sorted_units, X)
    agrees(report, "second_moment", ["Dense_0", "Dense_2", "Dense_3"])
    agrees(report, "cos", ["Dense_0", "Dense_2", "Dense_3"])
    agrees(report, "chi", ["Dense_1", "Dense_3"])  # the readout's name comes first

    # relu halves what was measured at the layer behind the operation.
    start = report.forward["second_moment"][:, 1].mean()
    assert report.predicted["second_moment"][2] / start == pytest.approx(0.5, rel=0.03)
    said = " ".join(report.notes)
    assert "Predictions end where no law is known" in said
    assert "Predictions behind Dense_1 rest on the moments" in said


def test_lookups_dropout_and_norms_over_samples():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            x = nn.Embed(8, 128)(tokens) + nn.Embed(6, 128)(jnp.arange(6))
            x = nn.Dropout(0.5, deterministic=False)(nn.relu(nn.Dense(256)(x)))
            return nn.Dense(64)(x)

    tokens = jax.random.randint(jax.random.key(1), (8, 6), 0, 8)
    report = jaxinit.analyze(
        *(Model(), tokens),
        rngs=("dropout",),
        seeds=24,
        predict=True,
        judge=False,
        progress=False,
    )
    agrees(report, "second_moment", report.layers)
    agrees(report, "cos", report.layers)
    first, both, dense, last = report.predicted["cos"]
    # Pairs of samples have one token in common; positions are in all.
    t = np.asarray(tokens)
    pairs = [(t[i] == t[j]).mean() for i in range(8) for j in range(i)]
    assert first == pytest.approx(np.mean(pairs), abs=0.02)
    assert both == pytest.approx((1 + first) / 2, abs=0.02)
    # Dropout of a half doubles the size and keeps what samples have in common.
    behind = (np.sqrt(1 - dense**2) + dense * (np.pi - np.arccos(dense))) / np.pi
    assert last == pytest.approx(behind / 2, abs=1e-3)


def test_norms_over_samples_leave_pairs_at_one_over_their_number():
    def normed(x):
        for _ in range(2):
            x = nn.Dense(256, kernel_init=nn.initializers.he_normal())(x)
            x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        return nn.Dense(64)(x)

    report = predicted(normed, X)
    # In 16 dimensions samples are too alike for their variance in each unit.
    agrees(report, "chi", ["BatchNorm_0", "BatchNorm_1"])
    cos = dict(zip(report.layers, report.predicted["cos"], strict=True))

    agrees(report, "second_moment", report.layers)
    assert np.isfinite(report.predicted["cos"]).all()
    for name in ("BatchNorm_0", "BatchNorm_1"):
        assert cos[name] == pytest.approx(-1 / 31, rel=1e-3)
        at = report.layers.index(name)
        assert abs(report.predicted["cos_z"][at]) < 4
    c = -1 / 31
    behind = (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / np.pi
    assert cos["Dense_1"] == pytest.approx(behind, abs=1e-4)


def test_of_one_sample_there_are_no_cosines():
    report = predicted(lambda x: nn.Dense(5)(nn.relu(nn.Dense(64)(x))), X[:1], 3)

    assert np.isnan(report.predicted["cos"]).all()
    assert np.isfinite(report.predicted["second_moment"]).all()


def test_taps_in_a_padding_are_not_counted():
    def one(x):
        return nn.Conv(64, (3, 3), strides=(2, 2))(x)

    images = jax.random.normal(jax.random.key(1), (4, 5, 5, 3))
    report = predicted(one, images)
    # Outputs at 0, 2 and 4 of 5: two, three and two of three taps lie inside.
    share = ((2 + 3 + 2) / 9) ** 2
    # Of inputs that are counted once or twice the mean square is not that of all.
    assert abs(report.predicted["second_moment"][0] / share - 1) < 0.15
    transposed = predicted(
        lambda x: nn.ConvTranspose(64, (3, 3), (2, 2), padding="VALID")(x), images
    )
    agrees(transposed, "second_moment", ["ConvTranspose_0"])


def test_kernels_that_are_not_random_have_no_law():
    def constant(x):
        x = nn.relu(nn.Dense(32)(x))
        x = nn.relu(nn.Dense(32, kernel_init=nn.initializers.constant(0.1))(x))
        return nn.Dense(5)(x)

    report = predicted(constant, X, seeds=4)

    agrees(report, "second_moment", ["Dense_0"], limit=6.0)
    assert any(n.startswith("Predictions end where") for n in report.notes)


def test_predictions_are_shown_and_survive_json(joined):
    again = Report.from_json(joined.to_json())

    assert again.predicted.keys() == joined.predicted.keys()
    for name, values in joined.predicted.items():
        np.testing.assert_array_equal(again.predicted[name], values)
    assert "predicted" in joined.table()
    assert "off/se" in joined.table()


def test_rows_know_their_roles_and_branches(joined):
    roles = {row.name: row.role for row in joined.rows}

    assert roles["Dense_0"] == "input"
    assert roles["LayerNorm_0"] == "norm_scale"
    assert roles["Dense_2"] == "branch_end"
    assert roles["Dense_5"] == "readout"
    assert roles["Dense_2+"] == ""
    assert [b.join for b in joined.branches] == ["Dense_2+", "Dense_4+"]
    assert joined.branches[0].skip == ("Dense_0",)
    assert joined.branches[0].ends == ("Dense_2",)
    assert "branch_end" in joined.table(width=140)
