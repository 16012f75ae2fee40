"""What a race compiles: two programs for all its schemes, rates, seeds and chunks."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import monitoring

import jaxinit
from jaxinit.train import programs

X = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
MODEL = jaxinit.Functional(
    lambda key, x: {
        "a": jax.random.normal(key, (5, 7)),
        "b": jax.random.normal(key, (7, 5)),
    },
    lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"],
)


@pytest.fixture
def compiled():
    """Names of what is compiled, counted, whatever cache on disk knows it."""
    found = Counter()

    def heard(event, seconds, fun_name="", **_):
        del seconds
        if event.endswith("jaxpr_to_mlir_module_duration"):
            found[fun_name] += 1

    monitoring.register_event_duration_secs_listener(heard)
    yield found
    monitoring.unregister_event_duration_listener(heard)


def race(schemes, **options):
    return jaxinit.race(
        MODEL,
        (X, X),
        schemes=schemes,
        optimizer=optax.adam,
        **{
            "learning_rates": [1e-3, 1e-2],
            "steps": 6,
            "seeds": 3,
            "batch_size": 8,
            "solutions": 0,
            "diagnose": False,
            **options,
        },
    )


TWO = {"own": None, "he": jaxinit.he_normal()}


@pytest.mark.parametrize(
    "options", [{}, {"chunk": 4}, {"strategy": "loop"}, {"checkpoint": "kept"}]
)
def test_one_program_begins_and_one_trains(compiled, options, tmp_path):
    if "checkpoint" in options:
        options = {"checkpoint": tmp_path}
    jaxinit.clear_caches()
    race(TWO, **options)
    first = dict(compiled)
    compiled.clear()
    race({**TWO, "again": jaxinit.he_normal()}, learning_rates=[0.1, 0.2], **options)

    assert (first["jit(begin)"], first["jit(segment)"]) == (1, 1)
    # The rest draws: a program for each law and shape, and a few of keys.
    assert sum(first.values()) <= 18
    assert not compiled  # a scheme more, other rates: nothing new


def test_what_trains_is_compiled_while_weights_are_drawn(monkeypatch):
    """And once: the call waits for it."""
    order, compile_ = [], programs.Programs._compile

    def ahead(self, *given):
        compile_(self, *given)
        order.append("compiled")

    def drawn(network, scheme):
        order.append("drawing")
        return real(network, scheme)

    from jaxinit.train import runner

    real = runner.draw_of
    monkeypatch.setattr(runner, "draw_of", drawn)
    monkeypatch.setattr(programs.Programs, "_compile", ahead)
    jaxinit.clear_caches()

    found = race(TWO, steps=7)

    assert order == ["drawing", "compiled", "drawing"]
    assert np.isfinite(found.losses).all()
