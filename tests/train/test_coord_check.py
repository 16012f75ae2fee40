"""Coordinate checks: flat under muP, and the usual bugs planted one by one."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxinit
from jaxinit.roles.structure import Hints
from jaxinit.schemes.initialize import prepare
from jaxinit.train.coord_laws import laws
from jaxinit.train.sites import param_roles
from tests.schemes.wide_models import GPT, MLP, TOKENS, Residual, nnx_mlp

WIDTHS = (16, 64, 256)
BASE = MLP(8)
X = jax.random.normal(jax.random.key(1), (16, 8))


def rates(width, changed=lambda name, part, rate, width: rate):
    found = jaxinit.mup_multipliers(MLP(width), BASE, X)
    return {
        name: {part: changed(name, part, rate, width) for part, rate in of.items()}
        for name, of in found.items()
    }


def sgd(width, **changes):
    """The same table in SGD."""
    found = jaxinit.mup_multipliers(MLP(width), BASE, X, optimizer="sgd")
    found["head"]["kernel"] *= changes["head"](width)
    return optax.chain(optax.sgd(0.1), jaxinit.scale_by_mup(found))


def adam(width, eps=1e-8, rate=5e-3, **changes):
    return optax.chain(
        optax.adam(rate, eps=eps), jaxinit.scale_by_mup(rates(width, **changes))
    )


def check(optimizer=adam, **options):
    settings = {"scheme": jaxinit.mup(BASE), "widths": WIDTHS, "x": X} | options
    model = settings.pop("model", MLP)
    return jaxinit.coord_check(model, optimizer=optimizer, **settings)


def kinds(found):
    return [finding.kind for finding in found.findings()]


@pytest.fixture(scope="module")
def mup():
    return check()


def test_mup_is_flat(mup):
    assert mup.ok, str(mup)
    assert mup.layers == ("first", "second", "third", "head", "output")
    # Independent terms with a factor of 1/width: logits of size 1/sqrt(width).
    assert mup.trends()[-1].initial.value == pytest.approx(-0.5, abs=0.25)


def test_a_bug_that_is_none_of_the_usual_says_so(mup):
    updates = mup.updates.copy()
    updates[..., -1, :] *= np.reshape(WIDTHS, (-1, 1, 1, 1)) ** -1.0
    found = dataclasses.replace(mup, updates=updates)

    assert not found.ok
    assert kinds(found) == ["unexplained"]
    assert "yet the width moves output. Between" in found.findings()[0].message


def test_what_passes_with_the_width_is_no_bug(mup):
    """Independent terms of the output fall; small networks unlearn what they had."""
    widths = np.reshape(WIDTHS, (-1, 1, 1))
    updates, activations = mup.updates.copy(), mup.activations.copy()
    updates[:, :, -1, -1] *= widths**-0.4
    activations[:, :, -1, -1] *= widths**0.4
    found = dataclasses.replace(mup, updates=updates, activations=activations)

    assert found.ok, str(found)
    assert found.trends()[-1].word == "unclear"
    assert "more seeds or steps tell of output" in str(found)


def test_logits_without_their_multiplier_are_named_before_they_diverge(mup):
    """SGD follows their gradients, by which all else grows out of bounds."""
    widths = np.reshape(WIDTHS, (-1, 1, 1, 1, 1))
    activations, updates = mup.activations.copy(), mup.updates * widths**9.0
    activations[:, :, :, -2:] *= widths
    found = dataclasses.replace(mup, activations=activations, updates=updates)

    assert kinds(found) == ["missing readout multiplier"], str(found)
    assert "before training while hidden" in found.findings()[0].message


@pytest.mark.parametrize(
    ("param", "off", "kind", "law"),
    [
        ("second/kernel", 1.0, "rates not scaled", "-1"),
        ("second/kernel", -1.0, "does not learn", "-1"),
        ("head/kernel", -1.0, "readout divided twice", "-1"),
        ("first/kernel", -1.0, "does not learn", "0"),
        ("third/bias", -1.0, "forgotten biases", "0"),
        ("second/kernel", 0.5, None, ""),  # Muon's updates of full rank
        ("head/kernel", 1.0, None, ""),  # a multiplier behind it
        ("first/kernel", -0.5, None, ""),  # or in front
    ],
)
def test_a_parameter_that_moves_off_its_law_is_named(mup, param, off, kind, law):
    """Though no layer shows it, by what others pass on to it."""
    moved = mup.moved.copy()
    column = mup.params.index(param)
    moved[..., column] *= np.reshape(WIDTHS, (-1, 1, 1)) ** off
    found = dataclasses.replace(mup, moved=moved)

    assert kinds(found) == ([] if kind is None else [kind]), str(found)
    assert found.ok == (kind is None)
    if kind is not None:
        (message,) = (finding.message for finding in found.findings())
        assert f"{param} moves with slope" in message
        assert f"where muP's law is {law}" in message


def test_the_law_of_each_kind_of_parameter():
    """Tensor Programs V, table 3: the slopes of updates, alike for Adam and SGD."""
    wide, narrow = (
        prepare(GPT(width), (TOKENS,), {}, (), jax.random.key(0), Hints())[0]
        for width in (32, 8)
    )
    found = laws(wide, narrow, param_roles(narrow), 4.0)
    of = {p.name: row for p, row in zip(narrow.params, found, strict=True)}

    for name in ("wte/embedding", "position", "ln_f/scale", "block_0/attn/value/bias"):
        assert of[name].tolist() == [0, -0.75, 0.5], name
    assert of["block_0/proj/kernel"].tolist() == [-1, -1.5, -0.25]
    assert of["block_0/attn/query/kernel"].tolist() == [-1, -1.75, -0.25]
    assert of["head/kernel"].tolist() == [-1, -1.5, math.inf]
    # What does not grow; and a key's bias, which shifts all scores of a query alike.
    assert np.isnan(of["head/bias"]).all()
    assert np.isnan(of["block_0/attn/key/bias"]).all()


def test_sizes_are_those_of_a_plain_loop(mup):
    """The first seed of the middle width, trained here with flax and optax alone."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), 0)
    params = jaxinit.initialize(MLP(64), jaxinit.mup(BASE), key, X)["params"]
    y = jax.random.normal(jax.random.fold_in(jax.random.key(0), 2**32 - 1), (16, 3))
    transform = adam(64)
    state, start = transform.init(params), params

    def loss(params):
        output, kept = MLP(64).apply(
            {"params": params}, X, capture_intermediates=True, mutable="intermediates"
        )
        return jnp.square(output - y).mean(), kept["intermediates"]

    before = None
    for step in range(4):
        (value, kept), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        now = [kept[name]["__call__"][0] for name in mup.layers[:-1]]
        before = now if before is None else before
        for row, (a, b) in enumerate(zip(now, before, strict=True)):
            for place, wanted in ((mup.activations, a), (mup.updates, a - b)):
                got = place[1, 0, step, row]
                size = [np.abs(wanted).mean(), np.sqrt(np.square(wanted).mean())]
                np.testing.assert_allclose(got, size, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(mup.losses[1, 0, step], value, rtol=1e-4)
        moved = params["second"]["bias"] - start["second"]["bias"]
        got = mup.moved[1, 0, step, mup.params.index("second/bias")]
        np.testing.assert_allclose(got, np.sqrt(np.square(moved).mean()), rtol=1e-3)
        updates, state = transform.update(gradients, state, params)
        params = optax.apply_updates(params, updates)


def test_plain_rates_blow_up():
    found = check(optax.adam(5e-3), scheme=None)

    assert not found.ok
    assert kinds(found)[:1] == ["rates not scaled"]
    assert "grows, bug" in str(found)


def as_inverse(name, part, rate, width):
    return 1 / rate


def readout_as_input(name, part, rate, width):
    return 1.0 if name == "head" else rate


def biases_as_weights(name, part, rate, width):
    return 8 / width if part == "bias" and name != "head" else rate


PLANTED = {
    "base shapes mixed up": functools.partial(adam, changed=as_inverse, rate=5e-4),
    "missing readout multiplier": functools.partial(adam, changed=readout_as_input),
    "forgotten biases": functools.partial(adam, changed=biases_as_weights),
    "epsilon not scaled": functools.partial(adam, eps=1e-2),
    "readout divided twice": functools.partial(sgd, head=lambda width: 8 / width),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_bugs_are_named(kind):
    optimizer = PLANTED[kind]

    found = check(lambda width: optimizer(width), widths=(16, 256), seeds=3)

    assert not found.ok
    assert kinds(found) == [kind], str(found)


def scaled_epsilon(width):
    epsilons = jaxinit.mup_epsilons(MLP(width), BASE, X)
    return jaxinit.mup_adamw(5e-3, rates(width), eps=1e-2, epsilons=epsilons)


def lion(width):
    factors = jaxinit.mup_multipliers(MLP(width), BASE, X, optimizer="lion")
    return optax.chain(
        optax.lion(5e-3, weight_decay=0.0), jaxinit.scale_by_mup(factors)
    )


@pytest.mark.parametrize("optimizer", [scaled_epsilon, lion])
def test_other_optimizers_are_flat(optimizer):
    found = check(optimizer, widths=(16, 256), seeds=3)

    assert found.ok, str(found)


@pytest.mark.parametrize("exponent", [1.0, None])
def test_depth_is_flat_under_complete_p_alone(exponent):
    """CompleteP's exponent is 1; without a multiplier the stream grows with depth."""

    def model(depth):
        factors = jaxinit.depth_mup_factors(depth, 2, exponent=exponent or 1.0)
        return Residual(16, depth, factors.branch if exponent else 1.0)

    def optimizer(depth):
        adam = optax.adam(2e-3)
        if exponent is None:
            return adam
        factors = jaxinit.depth_mup_multipliers(
            model(depth), X, base_branches=2, exponent=exponent
        )
        return optax.chain(adam, jaxinit.scale_by_mup(factors))

    found = check(
        optimizer, model=model, scheme=None, widths=(2, 12), axis="depth", seeds=3
    )

    assert {"first", "Dense_0", "head"} <= set(found.layers)
    assert (found.trends()[-1].word == "grows") == (exponent is None), str(found)


class Tied(nn.Module):
    """A table that is also the readout, with or without muP's factor."""

    width: int
    scaled: bool = False

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(
            12, self.width, name="table", embedding_init=nn.initializers.normal(1.0)
        )
        x = table(tokens)
        return table.attend(x) * (8 / self.width if self.scaled else 1.0)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_tied_embedding_needs_a_factor(scaled):
    found = check(
        optax.adam(1e-3),
        model=lambda width: Tied(width, scaled),
        x=jnp.arange(12).reshape(2, 6),
        scheme=None,
        widths=(16, 256),
        seeds=3,
    )

    assert ("tied embedding" in kinds(found)) == (not scaled), str(found)


class Attending(nn.Module):
    """One attention head as wide as the model."""

    width: int
    power: float

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.width, name="input")(x)
        q, k, v = (nn.Dense(self.width, name=name)(x) for name in "qkv")
        scores = jnp.einsum("bqd,bkd->bqk", q, k) * 8 ** (self.power - 0.5)
        weights = nn.softmax(scores / self.width**self.power)
        return nn.Dense(3, name="head")(weights @ v)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_attention_needs_one_over_d(power):
    x = jax.random.normal(jax.random.key(2), (2, 5, 8))
    base = Attending(8, power)

    def optimizer(width):
        factors = jaxinit.mup_multipliers(Attending(width, power), base, x)
        return optax.chain(optax.adam(5e-3), jaxinit.scale_by_mup(factors))

    found = check(
        optimizer,
        model=lambda width: Attending(width, power),
        x=x,
        scheme=jaxinit.mup(base),
        widths=(16, 256),
        seeds=3,
    )

    assert "attention scores" in found.layers
    assert kinds(found) == ([] if power == 1 else ["attention scale"]), str(found)
    assert found.ok == (power == 1), str(found)


def test_nnx_and_both_kinds_of_optimizer(mup):
    """The same model in nnx is flat as well; the optimizer may see the parameters."""
    base, seen = nnx_mlp(8), []

    def optimizer(width, params):
        seen.append(jax.tree.map(jnp.shape, jax.tree.leaves(params)))
        factors = jaxinit.mup_multipliers(nnx_mlp(width), base, X)
        return optax.chain(optax.adam(5e-3), jaxinit.scale_by_mup(factors))

    found = check(optimizer, model=nnx_mlp, scheme=jaxinit.mup(base), widths=(16, 128))

    assert not found.findings(), str(found)
    assert (8, 16) in seen[0]
    assert (8, 128) in seen[1]


def test_result_is_kept_and_drawn(mup, tmp_path):
    again = jaxinit.CoordCheck.from_json(mup.to_json())

    assert str(again) == str(mup)
    np.testing.assert_array_equal(again.updates, mup.updates)
    assert len(mup.to_records()) == 3 * 4 * 4 * 5
    figure = mup.plot(tmp_path / "check.png")
    assert len(figure.axes) == 8
    assert (tmp_path / "check.png").exists()


def test_one_program_for_each_width():
    traces = []

    def loss(output):
        traces.append(output.shape)
        return jnp.square(output).mean()

    check(optax.sgd(0.1), loss=loss, scheme=None, widths=(16, 32), steps=5, seeds=3)

    # Shapes, derivative and loop body are traced, however many steps and seeds.
    few = len(traces)
    traces.clear()
    check(optax.sgd(0.1), loss=loss, scheme=None, widths=(16, 32), steps=2, seeds=2)
    assert len(traces) == few


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": [64]}, "`widths` must be at least two"),
        ({"widths": [64, 32]}, "`widths` must be at least two"),
        ({"widths": [16.5, 32]}, "`widths` must be a list of whole numbers"),
        ({"widths": 64}, "`widths` must be a list of whole numbers, got 64"),
        ({"tolerance": "a"}, "`tolerance` must be a number"),
        ({"loss": "mse"}, "`loss` must be a function"),
        ({"model_kwargs": [1]}, "`model_kwargs` must map names"),
        ({"optimizer": 3}, "`optimizer` must be an optax transformation"),
        ({"optimizer": lambda width: 3}, "`optimizer` must return an optax"),
        ({"axis": "time"}, "`axis` must be one of 'width', 'depth'"),
        ({"model": 3}, "`make_model` must be a function"),
        ({"model": nn.Dense(3)}, "`make_model` must be a function from a width"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check(**options)
