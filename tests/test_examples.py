"""The examples are the models that they claim to be, on the input they claim."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from examples import gpt, resnet


def count(tree: object) -> int:
    """The number of parameters in a tree of shapes."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def test_resnet_is_resnet_18_on_standardized_digits():
    x = resnet.inputs()
    assert x.shape == (32, 32, 32, 3)
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-5)

    init = functools.partial(resnet.model.init, train=True)
    shapes = jax.eval_shape(init, jax.random.key(0), x)

    # 11.17 million: the count of ResNet-18 with a 3x3 stem and ten classes.
    assert count(shapes["params"]) == 11_173_962
    kernels = [p for p in jax.tree.leaves(shapes["params"]) if len(p.shape) == 4]
    # 17 3x3 convolutions and the three projections; the dense head is the 18th layer.
    assert [k.shape[0] for k in kernels].count(3) == 17
    assert [k.shape[0] for k in kernels].count(1) == 3


def test_gpt_scans_its_blocks_and_ties_its_embedding():
    tokens = gpt.inputs()
    text = Path(gpt.__file__).with_name("text.txt").read_bytes()
    assert bytes(np.asarray(tokens[0], np.uint8)) == text[:128]
    assert tokens.shape == (8, 128)
    assert tokens.dtype == jnp.int32

    shapes = jax.eval_shape(lambda k: gpt.model.init(k, tokens), jax.random.key(0))
    params = shapes["params"]

    assert set(params) == {"wte", "wpe", "blocks", "ln_f"}
    assert all(leaf.shape[0] == 12 for leaf in jax.tree.leaves(params["blocks"]))
    jaxpr = str(jax.make_jaxpr(gpt.model.apply)(shapes, tokens))
    assert "scan[" in jaxpr
    assert "checkpoint[" in jaxpr or "remat2[" in jaxpr
