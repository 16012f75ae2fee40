"""Every parametrization is flat: its table, and a coordinate check of it."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxinit
from jaxinit import schemes
from tests.schemes.wide_models import GPT, MLP, TOKENS, Residual

BASE = MLP(8)
X = jax.random.normal(jax.random.key(1), (16, 8))


def polar(array):
    """The nearest array of spectral norm 1 whose singular values are all alike."""
    if array.ndim < 2:
        return array / (jnp.linalg.norm(array) + 1e-30)
    left, _, right = jnp.linalg.svd(array, full_matrices=False)
    return left @ right


def shampoo(rate):
    """Shampoo without accumulation: U V' of the gradient of every array."""
    return optax.stateless(
        lambda updates, params: jax.tree.map(lambda u: -rate * polar(u), updates)
    )


def muon(rate, width):
    return optax.contrib.muon(
        rate,
        muon_weight_dimension_numbers=schemes.muon_matrices(MLP(width), X),
        adam_learning_rate=5e-3,
    )


PLAIN = {
    "sgd": lambda width: optax.sgd(0.1),
    "muon": functools.partial(muon, 0.05),
    "shampoo": lambda width: shampoo(0.02),
}


def adamw(width):
    """With a large epsilon and a large decay, which both have to be scaled."""
    factors = schemes.mup_multipliers(MLP(width), BASE, X, optimizer="adamw")
    epsilons = schemes.mup_epsilons(MLP(width), BASE, X)
    return schemes.mup_adamw(
        5e-3, factors, eps=1e-2, epsilons=epsilons, weight_decay=1.0
    )


@pytest.mark.parametrize("name", [*PLAIN, "adamw"])
def test_width_is_flat(name):
    def optimizer(width):
        if name == "adamw":
            return adamw(width)
        factors = schemes.mup_multipliers(MLP(width), BASE, X, optimizer=name)
        return optax.chain(PLAIN[name](width), schemes.scale_by_mup(factors))

    found = jaxinit.coord_check(
        MLP,
        optimizer=optimizer,
        scheme=jaxinit.mup(BASE),
        widths=(16, 64 if name == "shampoo" else 256),  # its SVD is slow
        x=X,
        seeds=3,
    )

    assert found.ok, str(found)


def test_the_table_of_muon_and_shampoo():
    found = {
        name: schemes.mup_multipliers(MLP(64), BASE, X, optimizer=name)
        for name in ("muon", "shampoo")
    }
    kernels = {
        name: [of[layer]["kernel"] for layer in ("first", "second", "head")]
        for name, of in found.items()
    }
    # From 8 to 64. Inputs 8 -> 64: sqrt(8) is wanted, which optax multiplies by.
    assert kernels["shampoo"] == pytest.approx([math.sqrt(8), 1, 1 / math.sqrt(8)])
    assert kernels["muon"] == pytest.approx([1, 1, 1 / math.sqrt(8)])
    assert found["shampoo"]["first"]["bias"] == pytest.approx(math.sqrt(8))
    assert found["muon"]["first"]["bias"] == 1  # left to Adam


@pytest.mark.parametrize("outputs", [3, 500])
def test_a_readout_of_many_classes(outputs):
    """Its own factor, optax's and what logits are divided by give sqrt(out / in)."""

    def mlp(width):
        return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(outputs)])

    for readout, divided in (("small", 1), ("multiplier", 8)):
        rates = schemes.mup_multipliers(
            mlp(64), mlp(8), X, optimizer="muon", readout=readout
        )
        change = {
            width: rate * math.sqrt(max(1, outputs / width)) / by
            for width, rate, by in (
                (8, 1.0, 1),
                (64, rates["layers_2"]["kernel"], divided),
            )
        }
        assert change[64] / change[8] == pytest.approx(math.sqrt(8 / 64))


def test_spectral_rates_give_updates_of_the_spectral_norm():
    """What an orthogonal update, optax's factor and ours come to is sqrt(out / in)."""
    rates = schemes.spectral_multipliers(MLP(64), X, optimizer="muon")
    plain = schemes.spectral_multipliers(MLP(64), X, optimizer="shampoo")
    for layer, (inputs, outputs) in {"first": (8, 64), "head": (64, 3)}.items():
        wanted = math.sqrt(outputs / inputs)
        by_optax = math.sqrt(max(1, outputs / inputs))
        assert rates[layer]["kernel"] * by_optax == pytest.approx(wanted)
        assert plain[layer]["kernel"] == pytest.approx(wanted)


def test_matrices_are_what_data_are_multiplied_by():
    found = schemes.muon_matrices(GPT(16, scanned=True), TOKENS)

    assert found["wte"]["embedding"] is None  # two axes, but looked up
    assert found["blocks"]["fc"]["kernel"] == ((1,), (2,))
    assert found["blocks"]["attn"]["query"]["kernel"] == ((1,), (2, 3))
    assert found["blocks"]["attn"]["out"]["kernel"] == ((1, 2), (3,))
    assert found["blocks"]["ln_1"]["scale"] is None
    optimizer = optax.contrib.muon(0.1, muon_weight_dimension_numbers=found)
    params = jax.eval_shape(GPT(16, scanned=True).init, jax.random.key(0), TOKENS)
    jax.eval_shape(optimizer.init, params["params"])  # optax takes it as it is


def complete_p(width, depth, exponent=1.0):
    factor = (depth / 2) ** -exponent
    return schemes.complete_p(
        Residual(width, depth, factor),
        Residual(8, depth, factor),
        X,
        base_branches=2,
        exponent=exponent,
    )


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_complete_p_is_its_table(exponent):
    width, depth = 64 / 8, 8 / 2
    found = complete_p(64, 8, exponent)

    assert found.branch == pytest.approx(depth**-exponent)
    inside, first = (("Dense_0", "kernel"), ("first", "kernel"))
    for (layer, part), rate, epsilon in (
        (inside, depth ** (exponent - 1) / width, depth**-exponent / width),
        (first, 1.0, 1 / width),
    ):
        assert found.learning_rates[layer][part] == pytest.approx(rate)
        assert found.epsilons[layer][part] == pytest.approx(epsilon)
        assert found.decays[layer][part] == pytest.approx(1 / rate)
    if exponent == 1:
        assert found.decays["Dense_0"]["kernel"] == pytest.approx(width)


def test_decay_times_rate_is_the_same_in_every_model():
    """With no gradient a step shrinks all weights by rate times decay."""
    found = complete_p(64, 8)
    optimizer = found.adamw(0.1, weight_decay=0.5)
    params = jax.tree.map(jnp.float32, found.learning_rates)
    params = jax.tree.map(jnp.ones_like, params)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)

    np.testing.assert_allclose(jax.tree.leaves(updates), -0.05, rtol=1e-5)


def test_width_is_flat_under_complete_p():
    """Twice as deep as the model that hyperparameters come from, with a large eps.

    That depth is flat at its branch multiplier is tested beside coord_check.
    """
    found = jaxinit.coord_check(
        lambda width: Residual(width, 4, 0.5),
        optimizer=lambda width: complete_p(width, 4).adamw(
            5e-3, eps=1e-3, weight_decay=1.0
        ),
        scheme=jaxinit.mup(Residual(8, 4, 0.5)),
        widths=(16, 128),
        x=X,
        seeds=3,
    )

    assert found.ok, str(found)


def unit(width):
    return schemes.multiplied(
        lambda key, x: MLP(width).init(key, x)["params"],
        lambda params, x: MLP(width).apply({"params": params}, x),
        schemes.unit_mup_factors(MLP(width), X).parameters,
    )


def test_unit_mup_is_flat():
    def optimizer(width):
        rates = schemes.unit_mup_factors(MLP(width), X).learning_rates
        return optax.chain(optax.adam(0.05), schemes.scale_by_mup(rates))

    found = jaxinit.coord_check(
        unit,
        optimizer=optimizer,
        scheme=schemes.unit_mup(),
        widths=(16, 256),
        x=X,
        seeds=3,
    )

    assert found.ok, str(found)


def test_unit_mup_is_its_table():
    found = schemes.unit_mup_factors(GPT(16), TOKENS)
    kernel = found.parameters["block_0"]["fc"]["kernel"]
    rate = found.learning_rates["block_0"]["fc"]["kernel"]

    assert kernel == pytest.approx(1 / 4)
    assert rate == pytest.approx(1 / 4 / 2)  # four branches
    assert found.parameters["head"]["kernel"] == pytest.approx(1 / 16)
    assert found.learning_rates["head"]["kernel"] == 1
    assert found.learning_rates["wte"]["embedding"] == pytest.approx(1 / 4)
    with pytest.raises(ValueError, match="two laws"):
        schemes.unit_mup_factors(GPT(16, tied=True), TOKENS)
    drawn = jaxinit.initialize(MLP(64), schemes.unit_mup(), 0, X)["params"]
    std = float(drawn["second"]["kernel"].std())
    assert std == pytest.approx(1, abs=5 / math.sqrt(2 * 64 * 64))


def test_a_row_of_a_table_may_have_several_axes():
    def init(key, tokens):
        del tokens
        return {"table": jax.random.normal(key, (64, 2, 8)), "out": jnp.ones((16, 3))}

    def apply(params, tokens):
        return params["table"][tokens].reshape(*tokens.shape, 16) @ params["out"]

    factors = schemes.unit_mup_factors(jaxinit.Functional(init, apply), TOKENS)

    assert factors.learning_rates["table"] == 1 / math.sqrt(16)
