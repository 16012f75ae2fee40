"""What the engine draws, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit.signal import engine
from tests.signal.test_checkpoint import MODEL, X

pytestmark = pytest.mark.internals


@pytest.mark.parametrize(("kept", "drawn"), [(2**26, 4), (0, 6)])
def test_the_judge_looks_at_weights_that_were_drawn_if_they_are_small(
    monkeypatch, kept, drawn
):
    seeds, original = [], engine.drawn

    def draw(how, seed, key, inputs):
        seeds.append(seed)
        return original(how, seed, key, inputs)

    monkeypatch.setattr(engine, "drawn", draw)
    monkeypatch.setattr(engine, "_KEPT", kept)
    report = jaxinit.analyze(MODEL, X, seeds=4, remedies="none")

    assert len(seeds) == drawn
    assert report.evidence["seeds"] == 2
    # The weights are those of the seeds, kept or drawn again.
    keys = [jax.random.fold_in(jax.random.key(0), seed) for seed in range(4)]
    kernels = np.stack([jax.random.normal(key, (3, 4)) for key in keys])
    found = report.evidence["params"]["kernel"]["mean_square"]
    np.testing.assert_allclose(found, jnp.mean(kernels**2), rtol=1e-5)
    (fed,) = [c for c in report.evidence["curves"] if c["what"] == "tanh"]
    slopes = [1 - np.tanh(X @ kernel) ** 2 for kernel in kernels[:2]]
    np.testing.assert_allclose(fed["slope"], np.mean(np.square(slopes)), rtol=1e-4)


def test_what_draws_a_seed_is_compiled_beside_the_analysis(monkeypatch, caplog):
    original = engine.Engine.run

    def run(self, seed):
        jax.config.update("jax_log_compiles", True)  # in all threads
        try:
            return original(self, seed)
        finally:
            jax.config.update("jax_log_compiles", False)

    monkeypatch.setattr(engine.Engine, "run", run)
    x = jnp.ones((4, 5))  # a shape of its own: nothing is compiled so far
    model = jaxinit.Functional(
        lambda key, x: {"kernel": jax.random.normal(key, (5, 7))},
        lambda params, x: x @ params["kernel"],
    )
    jaxinit.analyze(model, x, seeds=2, judge=False)
    messages = [r.getMessage() for r in caplog.records]

    assert not [message for message in messages if "ompil" in message]
