"""One language of patterns, names of training states, heads, stated sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

from jaxinit.transfer import load_partial, net2wider, torch_heads


def tree(*names):
    return {name: {"a": jnp.zeros(2), "b": {"c": jnp.zeros(2)}} for name in names}


def test_two_stars_stand_for_any_depth():
    source = {"a": jnp.ones(2), "b": {"c": 2 * jnp.ones(2)}}
    new, report = load_partial(tree("enc"), source, {"enc/**": "**"})
    assert [leaf.source for leaf in report.leaves] == ["a", "b/c"]
    assert new["enc"]["b"]["c"][0] == 2


def test_two_stars_before_a_name_and_question_marks():
    source = {"x": {"enc": {"b": {"k": jnp.ones(2)}}}, "g1": jnp.ones(3)}
    fresh = {"enc": {"b": {"k": jnp.zeros(2)}}, "f1": jnp.zeros(3)}
    mapping = {"**/k": "x/**/k", "f?": "g?"}
    _, report = load_partial(fresh, source, mapping)
    assert [leaf.source for leaf in report.leaves] == ["x/enc/b/k", "g1"]


def test_a_pattern_that_the_source_answers_in_part_is_warned_of():
    with pytest.warns(UserWarning, match=r"2 arrays, of which the source lacks 1"):
        load_partial(tree("enc"), {"a": jnp.ones(2)}, {"enc/**": "**"})


def test_a_training_state_has_the_names_of_what_was_saved_of_it():
    model = nn.Dense(3)
    variables = model.init(jax.random.key(0), jnp.ones((1, 2)))
    live = TrainState.create(
        apply_fn=model.apply, params=variables["params"], tx=optax.sgd(0.1)
    )
    saved = {"step": 0, "params": variables["params"], "opt_state": [None, None]}
    for source in (live, saved):
        _, report = load_partial(variables, source, missing="error")
        assert {leaf.source for leaf in report.leaves} == {"kernel", "bias"}


def test_torch_kernels_split_into_heads_attend_alike():
    d, h, size = 6, 2, 4
    rng = np.random.default_rng(0)
    names = ("query", "key", "value")
    torch = {n: {"kernel": rng.normal(size=(h * size, d))} for n in names}
    for n in names:
        torch[n]["bias"] = rng.normal(size=(h * size))
    torch["out"] = {
        "kernel": rng.normal(size=(d, h * size)),
        "bias": rng.normal(size=d),
    }
    model = nn.MultiHeadDotProductAttention(h, qkv_features=h * size)
    x = jnp.asarray(rng.normal(size=(1, 5, d)), jnp.float32)
    fresh = model.init(jax.random.key(0), x)
    loaded, _ = load_partial(fresh, torch, transform=torch_heads(h), missing="error")

    q, k, v = (
        (np.asarray(x[0]) @ torch[n]["kernel"].T + torch[n]["bias"]).reshape(5, h, size)
        for n in names
    )
    logits = np.einsum("qhd,khd->hqk", q, k) / size**0.5
    mixed = np.einsum("hqk,khd->qhd", jax.nn.softmax(logits), v).reshape(5, -1)
    expected = mixed @ torch["out"]["kernel"].T + torch["out"]["bias"]
    np.testing.assert_allclose(
        model.apply(loaded, x)[0], expected, rtol=1e-4, atol=1e-4
    )


def test_packed_projections_give_each_folder_its_part():
    split = torch_heads(2, packed=("query", "key", "value"))
    array = np.arange(12 * 3.0).reshape(12, 3)
    np.testing.assert_array_equal(
        split("a/key/kernel", array), array[4:8].T.reshape(3, 2, 2)
    )
    grouped = torch_heads({"query": 4, "key": 2})
    assert grouped("key/kernel", np.zeros((4, 3))).shape == (3, 2, 2)
    with pytest.raises(ValueError, match=r"has 5 entries .* split into 2"):
        grouped("key/kernel", np.zeros((5, 3)))


class Stated(nnx.Module):
    def __init__(self, width, rngs):
        self.conv = nnx.Conv(2, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(width, 5, rngs=rngs)])

    def __call__(self, x):
        return self.layers[0](self.norm(self.conv(x)).mean((1, 2)))


def test_a_wider_module_states_its_sizes():
    narrow = Stated(3, nnx.Rngs(0))
    wide = net2wider(
        narrow, jax.random.key(0), "conv", 7, next="layers/0", per_channel="norm"
    )
    new = Stated(7, nnx.Rngs(0))
    for name in ("out_features", "kernel_shape", "in_features"):
        assert getattr(wide.conv, name) == getattr(new.conv, name)
    assert wide.norm.num_features == 7
    assert wide.layers[0].in_features == 7
    assert wide.layers[0].out_features == 5
    assert narrow.conv.out_features == 3
    assert narrow.layers[0].in_features == 3
