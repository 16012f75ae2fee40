"""Rules: who takes which parameter, and what is said when nobody can."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit as ji
from jaxinit import role, rules

X = jax.ShapeDtypeStruct((4, 8), "float32")


class MLP(nn.Module):
    """Dense layers of 16 units with a head of 3."""

    depth: int = 2

    @nn.compact
    def __call__(self, x):
        for i in range(self.depth):
            x = nn.relu(nn.Dense(16, name=f"hidden_{i}")(x))
        return nn.Dense(3, name="head")(x)


def params(scheme, model=None, key=0):
    return ji.initialize(model or MLP(), scheme, key, X)["params"]


def test_first_match_takes_the_parameter():
    scheme = rules(
        [
            ("hidden_0/kernel", ji.constant(1.0)),
            (role("readout"), ji.zeros),
            (role("weight"), ji.constant(2.0)),
        ]
    )
    drawn = params(scheme)
    assert np.all(drawn["hidden_0"]["kernel"] == 1)
    assert np.all(drawn["hidden_1"]["kernel"] == 2)
    assert np.all(drawn["head"]["kernel"] == 0)


def test_unmatched_parameters_keep_the_models_own_init():
    scheme = rules([("head/kernel", ji.zeros)])
    own = MLP().init(jax.random.key(0), jnp.zeros((4, 8)))["params"]
    drawn = params(scheme)
    assert jnp.array_equal(drawn["hidden_0"]["kernel"], own["hidden_0"]["kernel"])
    explained = ji.explain(MLP(), scheme, X)
    assert set(explained.unmatched) == {
        "hidden_0/kernel",
        "hidden_0/bias",
        "hidden_1/kernel",
        "hidden_1/bias",
        "head/bias",
    }


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("hidden_*/kernel", {"hidden_0/kernel", "hidden_1/kernel"}),
        ("hidden_?/bias", {"hidden_0/bias", "hidden_1/bias"}),
        ("**/bias", {"hidden_0/bias", "hidden_1/bias", "head/bias"}),
        ("head/**", {"head/bias", "head/kernel"}),
        ("*/kernel", {"hidden_0/kernel", "hidden_1/kernel", "head/kernel"}),
    ],
)
def test_patterns(pattern, taken):
    explained = ji.explain(MLP(), rules([(pattern, ji.zeros)]), X)
    assert {row.name for row in explained.rows if row.rule == pattern} == taken


def test_choices_combine():
    where = role("weight") & ~role("readout") | ji.path("head/bias")
    explained = ji.explain(MLP(), rules([(where, ji.zeros)]), X)
    taken = {row.name for row in explained.rows if row.rule == where.text}
    assert taken == {"hidden_0/kernel", "hidden_1/kernel", "head/bias"}


def test_a_predicate_sees_the_parameter():
    def wide(parameter):
        return parameter.shape == (16, 16) and parameter.use.fan_in == 16

    drawn = params(rules([(wide, ji.zeros)]))
    assert np.all(drawn["hidden_1"]["kernel"] == 0)
    assert np.any(drawn["hidden_0"]["kernel"] != 0)


def test_a_change_acts_on_what_init_draws():
    own = params(rules([("head/bias", ji.zeros)]))
    halved = params(rules([("hidden_1/kernel", ji.changed(lambda old: old / 2))]))
    assert jnp.array_equal(halved["hidden_1"]["kernel"], own["hidden_1"]["kernel"] / 2)


def test_keys_depend_on_paths_alone():
    # A deeper model has the weights of the shallower one, and its own.
    scheme = rules([(role("weight"), ji.he_normal())])
    shallow, deep = params(scheme, MLP(1)), params(scheme, MLP(3))
    assert jnp.array_equal(shallow["hidden_0"]["kernel"], deep["hidden_0"]["kernel"])
    kernels = [deep["hidden_1"]["kernel"], deep["hidden_2"]["kernel"]]
    assert not jnp.array_equal(*kernels)


def test_override_goes_first():
    scheme = ji.override(ji.constant(1.0), [("head/kernel", ji.zeros)])
    drawn = params(scheme)
    assert np.all(drawn["head"]["kernel"] == 0)
    assert np.all(drawn["hidden_0"]["kernel"] == 1)


def test_as_stored_sees_the_stored_shape():
    class Heads(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.DenseGeneral((2, 4), name="heads")(x)

    shapes = []

    def record(key, shape, dtype):
        shapes.append(shape)
        return jnp.zeros(shape, dtype)

    ji.initialize(Heads(), rules([("heads/kernel", record)]), 0, X)
    ji.initialize(Heads(), rules([("heads/kernel", ji.as_stored(record))]), 0, X)
    assert shapes == [(8, 8), (8, 2, 4)]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ([], ValueError, "at least one rule"),
        ([ji.he_normal()], TypeError, "rule 1 must be a pair"),
        ([("head", 3)], TypeError, "rule 1 must give an initializer"),
        ([("head", ji.he_normal()), (4, ji.zeros)], TypeError, "rule 2 must begin"),
        ([("", ji.zeros)], ValueError, "`pattern`"),
    ],
)
def test_rules_are_checked_when_made(given, error, says):
    with pytest.raises(error, match=says):
        rules(given)


def test_unknown_roles_are_refused():
    with pytest.raises(ValueError, match=r"one of weight, .*got 'quary'"):
        role("quary")


def test_a_rule_without_a_match_is_an_error():
    with pytest.raises(ValueError, match=r"no parameter of MLP matches tail/\*"):
        params(rules([("tail/*", ji.zeros)]))


def test_a_rule_that_comes_too_late_is_an_error():
    given = [(role("weight"), ji.he_normal()), ("head/kernel", ji.zeros)]
    with pytest.raises(ValueError, match=r"rule 2 .* comes too late.*rule 1"):
        params(rules(given))


def test_errors_name_the_parameter():
    with pytest.raises(ValueError, match="fans") as caught:
        params(rules([("hidden_0/bias", ji.he_normal())]))
    assert "hidden_0/bias" in caught.value.__notes__[0]


def test_a_change_must_keep_the_shape():
    with pytest.raises(ValueError, match="must keep the shape"):
        params(rules([("head/kernel", ji.changed(lambda old: old[0]))]))
