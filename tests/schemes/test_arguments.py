"""Every argument of every scheme, given what it cannot be: an error that names it."""

import inspect

import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxinit
from jaxinit import schemes
from jaxinit._typing import Initializer
from jaxinit.schemes.scheme import Scheme

NO_NUMBER = ["no", True, [1.0], 1j, {}, object(), float("nan"), float("inf")]
NO_COUNT = ["no", True, 1.5, [1], -1, None, float("nan"), np.float32(1)]
NO_INIT = ["no", 1.0, [jaxinit.zeros], jaxinit.he_normal, int]
NO_CHOICE = ["no", 1, None, ["output"], True, object()]
NO_FLAG = ["no", 1, None, [], 0.0]
NO_TEXT = [1, None, [], True, ""]
WRONG = {
    "batches": [1, iter([])],
    "change": ["no", 1, None],
    "factor": ["no", None, True, [1.0], float("nan")],
    "given": [[3], [("a",)], [("a", jaxinit.he_normal)], [(3, jaxinit.zeros)], []],
    "loss": ["no", 1, None],
    "method": ["no", 1, None],
    "modulation": NO_TEXT,
    "optimizer": ["adam", 1, optax.adam],
    "timestep": [x for x in NO_TEXT if x is not None],
}
# What stands for the required arguments.
REQUIRED = {
    "base": nn.Dense(2),
    "batches": [],
    "change": np.negative,
    "given": [("a", jaxinit.zeros)],
    "init": jaxinit.zeros,
    "layer": 0,
    "loss": optax.l2_loss,
    "method": schemes.rbm(),
    "modulation": "**/m/*",
    "name": "flax",
    "pattern": "a",
    "scheme": jaxinit.zeros,
    "streams": 2,
}
# Of a model, or of any kind; and names of rules, which tell their number.
LEFT = {"base", "base_args", "progress", "rngs", "scheme", "start"}
FACTORIES = {
    name: factory
    for name, factory in inspect.getmembers(schemes, inspect.isfunction)
    if inspect.signature(factory).return_annotation in (Scheme, Initializer)
    or name in ("as_stored", "changed", "denoising_autoencoder", "rbm")
}


def wrong_values(parameter):
    name, kind = parameter.name, parameter.annotation
    if name in WRONG:
        return WRONG[name]
    if kind in (float, float | None):
        return [*NO_NUMBER, *([None] if kind is float else [])]
    if kind is int:
        return NO_COUNT
    if kind is bool:
        return NO_FLAG
    if kind in (Initializer, Initializer | None):
        return NO_INIT
    return NO_CHOICE


def cases():
    for name, factory in FACTORIES.items():
        for parameter in inspect.signature(factory).parameters.values():
            if parameter.name not in LEFT or parameter.annotation is Initializer | None:
                yield pytest.param(factory, parameter, id=f"{name}-{parameter.name}")


@pytest.mark.parametrize(("factory", "parameter"), list(cases()))
def test_what_an_argument_cannot_be_is_refused_by_name(factory, parameter):
    given = {
        name: REQUIRED[name]
        for name, other in inspect.signature(factory).parameters.items()
        if other.default is other.empty and name in REQUIRED
    }
    said = "rule 1|`given`" if parameter.name == "given" else f"`{parameter.name}`"

    for value in wrong_values(parameter):
        with pytest.raises((TypeError, ValueError), match=said):
            factory(**given | {parameter.name: value})


def test_all_schemes_are_there():
    assert len(FACTORIES) > 30
    assert {"lsuv", "gpt2", "dit", "metainit", "rbm", "rules"} <= FACTORIES.keys()
