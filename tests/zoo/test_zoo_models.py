"""The zoo's models run with plain jax, and its tables are right."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from tests.zoo import ZOO, forward, variables
from tests.zoo._entry import Entry


def folders(entry: Entry, tree: object) -> set[str]:
    """Every folder that holds a parameter, joined by slashes."""
    if entry.kind == "nnx":
        flat = nnx.to_flat_state(nnx.state(tree, nnx.Param))
        paths = [path for path, _ in flat]
    else:
        flat, _ = jax.tree_util.tree_flatten_with_path(nn.unbox(tree["params"]))
        paths = [[entry.key for entry in path] for path, _ in flat]
    return {"/".join(map(str, path[:-1])) for path in paths}


@pytest.mark.parametrize("name", ZOO)
def test_model_runs_and_its_folders_exist(name):
    entry = ZOO[name]
    tree = variables(entry)

    floats = [
        leaf
        for leaf in jax.tree.leaves(forward(entry, tree))
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    assert floats
    for leaf in floats:
        assert np.isfinite(np.asarray(leaf, np.float32)).all()
        assert np.asarray(leaf, np.float32).std() > 0 or leaf.size == 1
    if entry.folders:
        assert len(set(entry.folders)) == len(entry.folders)
        assert set(entry.folders) == folders(entry, tree)


def test_registry_names_its_entries():
    assert all(name == entry.name for name, entry in ZOO.items())
    assert {entry.kind for entry in ZOO.values()} == {"linen", "nnx", "functional"}


def test_scanned_gpt_equals_the_loop_with_restacked_weights():
    loop, scanned = ZOO["gpt"], ZOO["gpt_scanned"]
    params = variables(loop)["params"]
    blocks = [params[f"block_{i}"] for i in range(3)]
    stacked = {name: params[name] for name in ("wte", "wpe", "ln_f")} | {
        "blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
    }
    chex.assert_trees_all_equal_shapes(stacked, variables(scanned)["params"])

    # The two programs fuse differently: float32 rounding over a dozen operations.
    np.testing.assert_allclose(
        forward(scanned, {"params": stacked}),
        forward(loop, {"params": params}),
        rtol=1e-4,
        atol=1e-5,
    )


def test_while_loop_model_has_no_reverse_mode():
    entry = ZOO["while_loop"]
    model, args, tree = entry.make(), entry.args(), variables(entry)

    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(lambda v: model.apply(v, *args).sum())(tree)
