"""The same seed gives the same numbers, however the seeds are run."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit

pytestmark = pytest.mark.internals

SEEDS = 5
VECTORS = jax.random.normal(jax.random.key(1), (8, 6))
IMAGES = jax.random.normal(jax.random.key(2), (4, 6, 6, 2))


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(nn.tanh(nn.Dense(8)(nn.relu(nn.Dense(8)(x)))))


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        return nn.Dense(3)(nn.Conv(4, (3, 3), strides=2)(x).mean(axis=(1, 2)))


CASES = {"mlp": (MLP(), VECTORS), "convnet": (ConvNet(), IMAGES)}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A model, its input and a report of its seeds one by one."""
    model, x = CASES[request.param]
    report = jaxinit.analyze(model, x, seeds=SEEDS, strategy="loop", chunk=1)
    return model, x, report


def metrics(report):
    return {**report.forward, **report.backward, **report.weights}


def assert_same_numbers(report, expected):
    """Metric by metric, up to the order in which float32 sums are taken."""
    assert metrics(report).keys() == metrics(expected).keys()
    assert report.layers == expected.layers
    np.testing.assert_array_equal(report.seeds, expected.seeds)
    for name, values in metrics(report).items():
        wanted = metrics(expected)[name]
        # The longest sum has some 100 terms. A mean or cosine near zero is a
        # difference of numbers of the size of the largest.
        atol = 1e-5 * np.nanmax(np.abs(wanted), initial=0.0)
        np.testing.assert_allclose(
            values, wanted, rtol=1e-4, atol=atol, err_msg=f"metric {name}"
        )


@pytest.mark.parametrize(
    ("strategy", "chunk"),
    [
        ("loop", None),
        ("loop", 3),
        ("vmap", 1),
        ("vmap", 3),
        ("vmap", 64),
        ("auto", None),
    ],
)
def test_strategy_and_chunk_leave_the_numbers_alone(case, strategy, chunk):
    model, x, expected = case

    report = jaxinit.analyze(model, x, seeds=SEEDS, strategy=strategy, chunk=chunk)

    assert_same_numbers(report, expected)
    if strategy != "auto":
        assert report.settings["strategy"] == strategy


def test_seeds_differ(case):
    _, _, report = case

    for name in ("second_moment", "grad_rms"):
        values = metrics(report)[name]
        # A BatchNorm gives its output the second moment 1, whatever the seed; the
        # rows before and after it still tell the seeds apart.
        distinct = [len(np.unique(column)) for column in values.T]
        assert distinct[0] == SEEDS
        assert distinct.count(SEEDS) >= len(distinct) - 1


def test_assert_same_numbers_notices_a_swap_of_seeds(case):
    model, x, report = case
    swapped = jaxinit.analyze(model, x, seeds=[1, 0, *range(2, SEEDS)])
    np.testing.assert_array_equal(swapped.seeds, [1, 0, 2, 3, 4])
    object.__setattr__(swapped, "seeds", report.seeds)

    with pytest.raises(AssertionError, match="metric"):
        assert_same_numbers(swapped, report)


def test_a_seed_alone_is_the_seed_in_company(case):
    model, x, report = case
    worst = report.worst_seed

    alone = jaxinit.analyze(model, x, seeds=[worst], strategy="loop")

    np.testing.assert_array_equal(alone.seeds, [worst])
    assert alone.worst_seed == worst
    for name, values in metrics(alone).items():
        # The same compiled program on the same key: not a bit differs.
        np.testing.assert_array_equal(values[0], metrics(report)[name][worst], name)


def test_worst_seed_is_the_furthest_from_the_median():
    outlier = jax.random.key_data(jax.random.fold_in(jax.random.key(0), 3))

    def init(key, x):
        kernel = jaxinit.lecun_normal()(key, (x.shape[-1], 4))
        chosen = (jax.random.key_data(key) == outlier).all()
        return {"kernel": kernel * jnp.where(chosen, 1e3, 1.0)}

    model = jaxinit.Functional(init, lambda params, x: x @ params["kernel"])

    assert jaxinit.analyze(model, VECTORS, seeds=SEEDS).worst_seed == 3


@pytest.mark.parametrize("key", [7, np.int64(7), jax.random.key(7)])
def test_the_reports_key_draws_the_measured_weights(key):
    report = jaxinit.analyze(MLP(), VECTORS, seeds=2, key=key)

    for position, seed in enumerate(report.seeds):
        params = MLP().init(report.key(seed), VECTORS)["params"]
        for column, name in enumerate(report.params):
            folder, leaf = name.split("/")
            norm = np.linalg.norm(np.asarray(params[folder][leaf], np.float64))
            measured = report.weights["weight_norm"][position, column]
            # Drawn by another program: the last bits of erf_inv may differ.
            np.testing.assert_allclose(measured, norm, rtol=1e-5)


def test_an_old_style_key_is_the_new_one():
    old = jaxinit.analyze(MLP(), VECTORS, seeds=2, key=jax.random.PRNGKey(7))
    new = jaxinit.analyze(MLP(), VECTORS, seeds=2, key=jax.random.key(7))

    assert_same_numbers(old, new)


def test_the_root_key_matters():
    seven = jaxinit.analyze(MLP(), VECTORS, seeds=2, key=7)
    eight = jaxinit.analyze(MLP(), VECTORS, seeds=2, key=8)

    with pytest.raises(AssertionError, match="metric"):
        assert_same_numbers(eight, seven)


def test_a_report_read_back_has_the_same_keys():
    report = jaxinit.analyze(MLP(), VECTORS, seeds=2, key=7)
    again = jaxinit.Report.from_json(report.to_json())

    assert (again.key(1) == report.key(1)).all()
    assert again.worst_seed == report.worst_seed


def test_chunk_follows_from_the_memory_budget():
    model, x = nn.Dense(16), jnp.ones((4, 8))
    whole = jaxinit.analyze(model, x, seeds=8, strategy="vmap", progress=False)
    engine_bytes = whole.settings["bytes_per_seed"]
    tight = jaxinit.analyze(
        model,
        x,
        seeds=8,
        strategy="vmap",
        memory_budget=3 * engine_bytes,
        progress=False,
    )

    assert whole.settings["chunk"] == 8
    assert 1 <= tight.settings["chunk"] <= 4
    np.testing.assert_allclose(
        whole.forward["second_moment"], tight.forward["second_moment"], rtol=1e-5
    )


def test_batches_of_matrices_do_not_wait_for_each_other():
    """With jaxlib < 0.12 and two cores they did, forever: a process that is killed.

    The last name that it prints is of the case that waits.
    """
    subprocess.run(
        [sys.executable, "-m", "tests.signal.batches_of_matrices"],
        timeout=400,
        check=True,
    )
