"""`analyze(variables=...)`: trained and loaded weights, one set or many as seeds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit

pytestmark = pytest.mark.internals

X = jax.random.normal(jax.random.key(1), (16, 5))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(8)(x))
        return nn.Dense(3)(nn.BatchNorm(use_running_average=True)(x))


MODEL = Net()
OPTIONS = {"seeds": 3, "judge": False}


@pytest.fixture(scope="module")
def drawn():
    """A report, and the variables behind each of its seeds."""
    report = jaxinit.analyze(MODEL, X, **OPTIONS)
    return report, [MODEL.init(report.key(seed), X) for seed in range(3)]


def same(report, expected, seeds=slice(None)):
    for group in ("forward", "weights"):
        for name, values in getattr(expected, group).items():
            if not name.startswith("wgrad"):  # its probe is the seed's
                np.testing.assert_allclose(
                    getattr(report, group)[name], values[seeds], rtol=1e-5, atol=1e-6
                )


def test_many_sets_are_seeds_in_a_list_or_stacked(drawn):
    report, sets = drawn
    listed = jaxinit.analyze(MODEL, X, variables=sets, judge=False)
    stacked = jax.tree.map(lambda *x: np.stack(x), *sets)

    assert list(listed.seeds) == [0, 1, 2]
    same(listed, report)
    same(jaxinit.analyze(MODEL, X, variables=stacked, judge=False), report)
    for strategy in ("loop", "vmap"):
        some = jaxinit.analyze(
            MODEL, X, variables=sets, seeds=[2, 0], strategy=strategy, judge=False
        )
        same(some, report, [2, 0])


def test_one_set_is_one_seed_and_is_judged(drawn):
    report, sets = drawn
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), sets[1])
    one = jaxinit.analyze(MODEL, X, variables=wide)

    same(one, report, slice(1, 2))
    assert one.findings
    assert one.settings["weights"] == "given"
    # Weights that have learned may be sure: no loss at initialization is meant.
    wide["params"]["Dense_1"]["kernel"] *= 50
    assert jaxinit.analyze(MODEL, X, variables=wide).verdict == "ok"
    # The steps of the judge start from these weights too.
    square = float(jnp.mean(sets[1]["params"]["Dense_0"]["kernel"] ** 2))
    entry = one.evidence["params"]["Dense_0/kernel"]
    assert entry["mean_square"] == pytest.approx(square, rel=1e-5)


class Deep(nn.Module):
    """LeCun's law under ReLU: squares halve per layer."""

    @nn.compact
    def __call__(self, x):
        for _ in range(12):
            x = nn.relu(nn.Dense(16)(x))
        return nn.Dense(3)(x)


def test_remedies_keep_what_given_weights_have_learned():
    report = jaxinit.analyze(Deep(), X, variables=Deep().init(jax.random.key(0), X))

    assert report.verdict == "vanishing"
    assert report.remedies
    assert not any(remedy.scheme for remedy in report.remedies)
    assert "a new initializer would discard the training" in report.findings[0].remedy
    assert not any("_init=" in finding.remedy for finding in report.findings)
    # Inputs may be changed, and are tried with these weights.
    far = jaxinit.analyze(Deep(), X + 100, variables=Deep().init(jax.random.key(0), X))
    tried = [remedy for remedy in far.remedies if remedy.tried]
    assert [remedy.change for remedy in tried] == ["inputs"]


def test_state_is_given_too(drawn):
    _, sets = drawn
    moved = jax.tree.map(lambda x: x, sets[0])
    moved["batch_stats"] = jax.tree.map(lambda x: x + 3, moved["batch_stats"])
    report = jaxinit.analyze(MODEL, X, variables=moved, judge=False)

    h = nn.relu(X @ moved["params"]["Dense_0"]["kernel"])
    expected = jnp.mean((h - 3) / jnp.sqrt(4 + 1e-5))
    place = report.layers.index("BatchNorm_0")
    assert report.forward["mean"][0, place] == pytest.approx(float(expected), rel=1e-4)


def test_predictions_are_of_the_weights_that_were_measured(drawn):
    _, sets = drawn
    moved = jax.tree.map(lambda x: x, sets[0])
    moved["params"]["Dense_1"]["bias"] += 3
    both = {"variables": [sets[0], moved], "predict": True, "judge": False}
    report = jaxinit.analyze(MODEL, X, seeds=[1], **both)

    theory = report.predicted["second_moment"][report.layers.index("Dense_1")]
    assert theory > 9  # the square of the bias


def test_variables_of_a_pair_of_functions_that_are_a_tuple():
    model = jaxinit.Functional(
        lambda key, x: (jax.random.normal(key, (5, 4)), "relu"),
        lambda variables, x: getattr(jax.nn, variables[1])(x @ variables[0]),
    )
    w = jnp.arange(20.0).reshape(5, 4)
    one = jaxinit.analyze(model, X, variables=(w, "relu"), judge=False)
    two = jaxinit.analyze(
        model, X, variables=[(w, "relu"), (2 * w, "relu")], judge=False
    )

    rms = float(jnp.sqrt(jnp.mean((X @ w) ** 2)))
    assert one.forward["rms"][0, 0] == pytest.approx(rms, rel=1e-5)
    np.testing.assert_allclose(two.forward["rms"][:, 0], [rms, 2 * rms], rtol=1e-5)


def without(tree, name):
    kept = {k: v for k, v in tree["params"].items() if k != name}
    return {**tree, "params": kept}


def test_what_does_not_fit_the_model_is_named(drawn):
    _, sets = drawn
    wrong = jax.tree.map(lambda x: x, sets[0])
    wrong["params"]["Dense_1"]["kernel"] = jnp.zeros((8, 4))
    for given, text in (
        (without(sets[0], "Dense_1"), "missing params/Dense_1/bias"),
        ([sets[0], sets[0]["params"]], r"`variables\[1\]` must.*unknown BatchNorm_0"),
        (wrong, r"\[params/Dense_1/kernel\]` must have shape \(8, 3\), got \(8, 4\)"),
        ([], "at least one set"),
    ):
        with pytest.raises(ValueError, match=text):
            jaxinit.analyze(MODEL, X, variables=given)
    with pytest.raises(ValueError, match="of which there are 1, got 2"):
        jaxinit.analyze(MODEL, X, variables=sets[0], seeds=2)
    with pytest.raises(ValueError, match="`scheme` draws weights"):
        jaxinit.analyze(MODEL, X, variables=sets[0], scheme=jaxinit.he_normal())
    with pytest.raises(TypeError, match="Pass the nnx module that holds"):
        jaxinit.analyze(lambda rngs: nnx.Linear(5, 3, rngs=rngs), X, variables=sets[0])
