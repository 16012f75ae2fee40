"""Nothing in `jax.nn.initializers` is missing here, or means something else."""

import inspect

import jax
import numpy as np
import pytest
from scipy import stats

import jaxinit.initializers as ji

NAMES = sorted(name for name in dir(jax.nn.initializers) if not name.startswith("_"))
FACTORIES = {
    "constant": lambda module: module.constant(0.3),
    "zeros": lambda module: module.zeros,
    "ones": lambda module: module.ones,
    "variance_scaling": lambda module: module.variance_scaling(
        1.5, "fan_geo_avg", "truncated_normal"
    ),
}
SCALED = [
    name for name in NAMES if name.endswith("_normal") and name != "truncated_normal"
]
# One axis layout that is not the default, so that an axis cannot be mistaken.
LAYOUT = {"in_axis": (0, 1), "out_axis": 3, "batch_axis": (2,)}


def parameters(function):
    return [
        (parameter.name, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


@pytest.mark.internals
@pytest.mark.parametrize("name", NAMES)
def test_names_parameters_order_and_defaults(name):
    ours, theirs = getattr(ji, name), getattr(jax.nn.initializers, name)
    if name != "Initializer":
        assert parameters(ours) == parameters(theirs)


@pytest.mark.internals
@pytest.mark.parametrize("name", [name for name in NAMES if name != "Initializer"])
def test_the_law_is_the_same(name):
    """A two-sample Kolmogorov-Smirnov test at a false-alarm rate of 1e-6."""
    build = FACTORIES.get(name, lambda module: getattr(module, name)())
    shape = (3, 32, 64)

    ours = build(ji)(jax.random.key(1), shape)
    theirs = build(jax.nn.initializers)(jax.random.key(2), shape)

    assert stats.ks_2samp(np.ravel(ours), np.ravel(theirs)).pvalue > 1e-6


@pytest.mark.internals
def test_every_name_is_in_the_contents_page():
    assert set(NAMES) <= set(ji.__all__)


@pytest.mark.internals
@pytest.mark.parametrize("name", [name for name in NAMES if name != "Initializer"])
def test_results_are_called_alike(name):
    """By position, by name, and with a sharding."""
    build = FACTORIES.get(name, lambda module: getattr(module, name)())
    ours, theirs = build(ji), build(jax.nn.initializers)
    key, shape = jax.random.key(1), (3, 8, 16)
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))

    assert isinstance(ours, jax.nn.initializers.Initializer)
    names = [name for name, _ in parameters(theirs)]
    assert [name for name, _ in parameters(ours)] == names
    assert names == ["key", "shape", "dtype", "out_sharding"]
    x = ours(key, shape)
    np.testing.assert_array_equal(ours(key, shape, np.float32), x)
    named = ours(key=key, shape=shape, dtype=np.float32, out_sharding=sharding)
    assert sharding.is_equivalent_to(named.sharding, 3)
    np.testing.assert_allclose(named, x, atol=1e-6)


@pytest.mark.internals
@pytest.mark.parametrize("name", SCALED)
def test_axes_mean_the_same(name):
    shape = (4, 6, 8, 32)

    ours = getattr(ji, name)(**LAYOUT)(jax.random.key(1), shape)
    theirs = getattr(jax.nn.initializers, name)(**LAYOUT)(jax.random.key(2), shape)

    assert stats.ks_2samp(np.ravel(ours), np.ravel(theirs)).pvalue > 1e-6
    # The test would notice a fan that is wrong by the batch axis.
    assert stats.ks_2samp(np.ravel(ours), np.ravel(theirs) * 2).pvalue < 1e-6


@pytest.mark.internals
def test_columns_of_orthogonal_mean_the_same():
    for column_axis in (-1, 0):
        ours = ji.orthogonal(column_axis=column_axis)(jax.random.key(1), (6, 4, 8))
        theirs = jax.nn.initializers.orthogonal(column_axis=column_axis)(
            jax.random.key(1), (6, 4, 8)
        )
        # The same Gaussian through the same factorization, up to its rounding.
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
