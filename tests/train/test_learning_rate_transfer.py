"""Transfer of learning rates: the fit of the best rate, and muP against none."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinit
from tests.schemes.wide_models import MLP

WIDTHS = [16, 128]


class Quadratic:
    """A model whose best SGD rate is known: a quadratic of a given curvature."""

    def __new__(cls, width):
        def init(key, x):
            return {"w": jax.random.normal(key, (x.shape[1], 1))}

        def apply(params, x):
            return jnp.sqrt(jnp.float32(width)) * (x @ params["w"])

        return jaxinit.Functional(init, apply)


@pytest.fixture(scope="module")
def found():
    """Curvature 2 * width: one step of SGD at the rate 1 / (2 * width) is exact."""
    x = jnp.eye(4)
    rates = [2.0**-n for n in range(3, 12)]
    return jaxinit.learning_rate_transfer(
        Quadratic,
        WIDTHS,
        lambda step: (x, jnp.zeros((4, 1))),
        optimizer=optax.sgd,
        learning_rates=rates,
        parametrizations={
            "plain": lambda width: (None, optax.sgd),
            "divided": lambda width: (None, lambda rate: optax.sgd(16 * rate / width)),
        },
        loss=lambda output, target: jnp.square(output - target).sum(),
        steps=2,
        seeds=2,
    )


def test_best_rates_are_those_of_the_quadratic(found):
    best = found.best_rates()

    np.testing.assert_allclose(best[0], [1 / 32, 1 / 256], rtol=0.2)
    np.testing.assert_allclose(best[1], [1 / 32, 1 / 32], rtol=0.2)
    plain, divided = found.slopes()
    assert plain.value == pytest.approx(-1, abs=0.1)
    assert divided.value == pytest.approx(0, abs=0.1)
    assert plain.low <= plain.value <= plain.high


def test_result_is_kept_and_drawn(found, tmp_path):
    again = jaxinit.RateTransfer.from_json(found.to_json())

    assert str(again) == str(found)
    assert "plain" in str(found)
    assert len(found.to_records()) == found.finals.size
    assert len(found.plot(tmp_path / "rates.png").axes) == 2


def test_rates_that_all_diverge_have_no_best(found):
    lost = dataclasses.replace(found, finals=np.full_like(found.finals, np.inf))

    assert np.isnan(lost.best_rates()).all()
    assert np.isnan(lost.slopes()[0].value)


def test_the_base_must_be_narrower():
    with pytest.raises(ValueError, match="`base_width` must be at least 1 and below"):
        jaxinit.learning_rate_transfer(
            Quadratic,
            WIDTHS,
            [(jnp.eye(4), jnp.zeros((4, 1)))],
            optimizer=optax.sgd,
            learning_rates=[0.1],
            base_width=16,
        )


def test_the_usual_pair_is_standard_and_mup():
    """Adam on an MLP eight times as wide: muP's best rate stays, the other falls."""
    x = np.asarray(jax.random.normal(jax.random.key(0), (64, 8)), np.float32)
    y = np.sin(2 * x[:, :3]).astype(np.float32)
    found = jaxinit.learning_rate_transfer(
        MLP,
        [32, 256],
        (x, y),
        optimizer=optax.adam,
        base_width=16,
        learning_rates=[2.0**-n for n in range(3, 12)],
        steps=20,
        seeds=3,
        batch_size=64,
    )

    assert found.parametrizations == ("standard", "muP")
    standard, mup = found.slopes()
    assert standard.value < -0.5, str(found)
    assert abs(mup.value) < 0.35, str(found)
    # And muP gives nothing away at its best.
    wide = found.finals[:, 1].min(axis=(1, 2))
    assert wide[1] < 1.5 * wide[0]
