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


def test_gradients_grow_by_fan_out_and_slope(joined):
    # From the kernel in front of relu to the one behind: 1/64 * 64 * E[relu'^2].
    inner = ["Dense_1", "Dense_3"]
    agrees(joined, "chi", inner)
    for name in inner:
        chi = joined.predicted["chi"][joined.layers.index(name)]
        assert abs(chi - 0.5) < 0.02


def tanh_net(x):
    for _ in range(3):
        x = jnp.tanh(nn.Dense(128, bias_init=nn.initializers.constant(0.5))(x))
    return nn.Dense(5)(x)


def test_slopes_of_tanh_with_biases():
    report = predicted(tanh_net, X)
    agrees(report, "second_moment", report.layers)

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

    # Behind the norm the size is known again; of the pooled mean it is not.
    agrees(report, "second_moment", ["Conv_0", "LayerNorm_0", "Dense_0"])


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
