"""What the user says of a model holds for all that reads its structure."""

import importlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinit
from jaxinit.schemes import (
    complete_p,
    deepnorm_alpha,
    depth_mup_multipliers,
    muon_matrices,
    mup_epsilons,
    mup_multipliers,
    mup_widths,
    spectral_multipliers,
    unit_mup_factors,
)
from jaxinit.train import evidence
from tests.roles.structures import function
from tests.roles.test_unclear_sums import MODEL as UNCLEAR
from tests.roles.test_unclear_sums import X as SHAPE

X = np.ones((4, 8), np.float32)


def two_heads(width):
    """A stack with one branch and two outputs."""

    def apply(p, x):
        h = jnp.tanh(x @ p["stem"])
        h = h + jax.nn.relu(h @ p["a"]) @ p["b"]
        return {"first": h @ p["one"], "second": h @ p["two"]}

    n = width
    shapes = {"stem": (8, n), "a": (n, n), "b": (n, n), "one": (n, 2), "two": (n, 2)}
    return function(shapes, apply)


def first_of(output, y):
    del y
    return jnp.square(output["first"]).mean()


MODEL, BASE = two_heads(16), two_heads(8)
ZERO = jaxinit.rules([(jaxinit.role("readout"), jaxinit.zeros)])


def race(**hints):
    return jaxinit.race(
        MODEL,
        (X, X),
        schemes={"zero": ZERO},
        optimizer=optax.sgd,
        learning_rates=[1e-3],
        steps=1,
        seeds=1,
        batch_size=4,
        loss=first_of,
        solutions=0,
        **{"diagnose": False, **hints},
    )


def check(**hints):
    return jaxinit.coord_check(
        two_heads,
        widths=[8, 16],
        x=X,
        optimizer=optax.sgd(0.1),
        loss=first_of,
        y=0.0,
        steps=1,
        seeds=2,
        **hints,
    )


def rates(**hints):
    return jaxinit.learning_rate_transfer(
        two_heads,
        [8, 16],
        (X, X),
        optimizer=optax.sgd,
        learning_rates=[0.1],
        family="sgd",
        steps=1,
        seeds=1,
        batch_size=4,
        loss=first_of,
        **hints,
    )


READERS = {
    "mup_multipliers": lambda **h: mup_multipliers(MODEL, BASE, X, **h),
    "mup_epsilons": lambda **h: mup_epsilons(MODEL, BASE, X, **h),
    "mup_widths": lambda **h: mup_widths(MODEL, BASE, X, **h),
    "complete_p": lambda **h: complete_p(MODEL, BASE, X, base_branches=1, **h),
    "muon_matrices": lambda **h: muon_matrices(MODEL, X, **h),
    "spectral_multipliers": lambda **h: spectral_multipliers(MODEL, X, **h),
    "unit_mup_factors": lambda **h: unit_mup_factors(MODEL, X, **h),
    "depth_mup_multipliers": lambda **h: depth_mup_multipliers(MODEL, X, **h),
    "deepnorm_alpha": lambda **h: deepnorm_alpha(MODEL, X, **h),
    "race": race,
    "coord_check": check,
    "learning_rate_transfer": rates,
    "mend": lambda **h: jaxinit.mend(MODEL, X, seeds=2, **h),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"roles": {"c": "router"}}, r"`roles` must name parameters.*'c'"),
        ({"output": "logits"}, r"`output` must name.*'logits'"),
        ({"branches": {"stem": True}}, "`branches` must name weights that are the"),
    ],
)
def test_all_readers_take_hints(name, hints, message):
    with pytest.raises(ValueError, match=message):
        READERS[name](**hints)


@pytest.mark.parametrize("output", ["first", "second"])
def test_the_readout_is_that_of_the_main_output(output):
    """By table 8 of muP its rate is 1, that of the other head 1/m."""
    lifted, other = ("one", "two") if output == "first" else ("two", "one")

    rates = mup_multipliers(MODEL, BASE, X, readout="multiplier", output=output)
    epsilons = mup_epsilons(MODEL, BASE, X, readout="multiplier", output=output)

    assert (rates[lifted], rates[other]) == (1.0, 0.5)
    assert (epsilons[lifted], epsilons[other]) == (0.5, 1.0)


def test_branches_are_those_that_the_user_names():
    plain = depth_mup_multipliers(UNCLEAR, SHAPE)
    said = depth_mup_multipliers(UNCLEAR, SHAPE, branches={"b/kernel": True})
    factors = unit_mup_factors(UNCLEAR, SHAPE, branches={"b/kernel": True})

    assert plain["a"]["kernel"] == 1.0  # one branch: nothing to slow down
    assert said["a"]["kernel"] == pytest.approx(2**-0.5)
    assert said["c"]["kernel"] == 1.0
    rates = factors.learning_rates
    assert rates["a"]["kernel"] == pytest.approx(8**-0.5 * 2**-0.5)


def test_mups_rates_go_by_hints_too(monkeypatch):
    module = importlib.import_module("jaxinit.train.learning_rate_transfer")
    asked, real = [], module.mup_multipliers

    def multipliers(*args, **options):
        asked.append(options.get("output"))
        return real(*args, **options)

    monkeypatch.setattr(module, "mup_multipliers", multipliers)
    made = module._usual(two_heads, 4, optax.sgd, "sgd", (X,), {"output": "second"})
    made["muP"](8)

    assert asked == ["second"]


def test_a_race_draws_and_judges_by_hints(monkeypatch):
    asked = []

    def analyze(*args, **options):
        asked.append(options["output"])
        return SimpleNamespace(verdict="ok")

    monkeypatch.setattr(evidence, "analyze", analyze)
    zero, other = race(output="first", diagnose=True), race(output="second")

    assert zero.losses.item() == 0  # the head that the loss looks at is the readout
    assert other.losses.item() > 0
    assert asked == ["first"]


def test_coord_check_knows_the_roles_that_the_user_gives():
    found = check(roles={"b": "router"})

    assert "router" in found.param_roles[found.params.index("b")]
