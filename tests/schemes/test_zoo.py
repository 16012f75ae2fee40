"""Schemes on the whole zoo; scanned models against their unrolled twins."""

import jax
import numpy as np
import pytest

import jaxinit as ji
from tests.zoo import ZOO

pytestmark = pytest.mark.internals


def model_of(entry):
    made = entry.make()
    return ji.Functional(*made) if entry.kind == "functional" else made


@pytest.mark.parametrize("name", ZOO)
def test_an_initializer_gives_every_weight_its_fans(name):
    entry = ZOO[name]
    init = ji.variance_scaling(2.0, "fan_in", "normal")
    explained = ji.explain(
        model_of(entry), init, *entry.args(), rngs=entry.streams, **entry.kwargs
    )
    drawn = [row for row in explained.rows if row.rule == "every weight"]
    assert drawn or name == "custom_vjp"  # whose rule is opaque
    for row in drawn:
        size = np.prod(row.shape)
        ratio = row.std * np.sqrt(row.fan_in / 2)
        assert ratio == pytest.approx(1, abs=5 / np.sqrt(2 * size)), row.name
    kept = {row.name for row in explained.rows if "weight" not in row.roles}
    assert kept <= set(explained.unmatched)


@pytest.mark.filterwarnings("ignore:.*without normalization:UserWarning")
@pytest.mark.parametrize(
    ("scheme", "tolerance"),
    [
        (ji.orthogonal(), 1e-4),
        # What a layer sees depends on the draws before it.
        (ji.lsuv(), 0.3),
        # Sampling error alone, five times that of the two deviations.
        (ji.fixup(), 0.0),
        (ji.framework("torch"), 0.0),
    ],
    ids=["orthogonal", "lsuv", "fixup", "torch"],
)
def test_scanned_layers_have_the_distribution_of_unrolled_ones(scheme, tolerance):
    unrolled, scanned = (
        ji.initialize(ZOO[name].make(), scheme, 0, *ZOO[name].args())["params"]
        for name in ("gpt", "gpt_scanned")
    )
    for path, stack in jax.tree_util.tree_leaves_with_path(scanned["blocks"]):
        for index in range(3):
            alone = unrolled[f"block_{index}"]
            for entry in path:
                alone = alone[entry.key]
            first, second = (
                np.sqrt(np.mean(np.square(x))) for x in (alone, stack[index])
            )
            error = tolerance or 5 / np.sqrt(alone.size)
            label = jax.tree_util.keystr(path)
            assert second == pytest.approx(first, rel=error, abs=1e-6), label
