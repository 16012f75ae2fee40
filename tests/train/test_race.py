"""A race: what it measures, what it says, and what may go wrong on the way."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxinit
from jaxinit.train import runner
from jaxinit.train.outcomes import OUTCOMES

RATES, STEPS, SEEDS = [1e-3, 0.03, 1e4], 20, 3


def init(key, x):
    first, second = jax.random.split(key)
    return {
        "a": jax.random.normal(first, (x.shape[1], 8)) / 2,
        "b": jax.random.normal(second, (8, 3)) / 3,
    }


def apply(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]


MODEL = jaxinit.Functional(init, apply)
SCHEMES = {"own": None, "zeros": jaxinit.zeros, "orthogonal": jaxinit.orthogonal()}


def dataset():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 4)).astype(np.float32)
    return x, np.argmax(x[:, :3], 1).astype(np.int32)


def run(data=None, **options):
    settings = {
        "schemes": SCHEMES,
        "optimizer": optax.adam,
        "learning_rates": RATES,
        "steps": STEPS,
        "seeds": SEEDS,
        "batch_size": 32,
        "diagnose": False,
        "solutions": 0,
    }
    return jaxinit.race(
        MODEL, dataset() if data is None else data, **(settings | options)
    )


@pytest.fixture(scope="module")
def result():
    return run(diagnose=True, solutions=2, target=0.9)


def test_runs_are_those_of_a_plain_loop(result):
    """Trained here one by one, op by op, from the same weights and batches."""
    x, y = dataset()
    for seed, rate in [(0, 1), (2, 1)]:
        key = jax.random.fold_in(jax.random.key(0), seed)
        params = MODEL.init(key, x[:32])
        transform = optax.adam(RATES[rate])
        state, losses = transform.init(params), []
        for step in range(STEPS):
            order = np.random.default_rng((0, step // 3)).permutation(96)
            at = order[32 * (step % 3) :][:32]

            def loss(params, at=at):
                logits = apply(params, x[at])
                chosen = jax.nn.log_softmax(logits)[jnp.arange(32), y[at]]
                return -chosen.mean()

            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = transform.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
            losses.append(value)

        np.testing.assert_allclose(result.losses[0, rate, seed], losses, rtol=2e-4)


@pytest.mark.parametrize("options", [{"strategy": "loop"}, {"chunk": 4}])
def test_vectorized_equals_one_by_one(result, options):
    found = run(schemes={"own": None}, learning_rates=RATES[:2], **options)

    np.testing.assert_allclose(found.losses[0], result.losses[0, :2], rtol=2e-4)


def test_outcomes_are_told_apart(result):
    names = np.array(OUTCOMES)[result.outcomes]

    assert (names[0, 1] == "trains").all()  # a sensible rate
    assert (names[1, :2] == "stalls").all()  # zeros: a saddle that nothing leaves
    assert result.standings()[1].decades == 0
    assert result.standings()[0].best_rate == 0.03
    firsts = [np.median(losses[..., 0]) for losses in result.losses]
    assert firsts[1] == pytest.approx(np.log(3), rel=1e-5)  # all classes alike
    assert result.reference == pytest.approx(min(firsts), rel=1e-6)


def test_too_large_a_rate_diverges():
    found = run(
        schemes={"own": None},
        optimizer=optax.sgd,
        learning_rates=[1e4],
        loss=lambda output, target: jnp.square(output).sum() + 0 * target.sum(),
    )

    assert (found.outcomes == OUTCOMES.index("diverges")).all()


def test_who_wins_is_said_with_doubt(result):
    assert result.winner is None
    assert "No winner" in str(result)
    decided = {duel.other: duel.decided for duel in result.duels()}
    assert decided["zeros"]


def test_the_verdict_is_held_against_the_outcome(result):
    own, zeros, _ = result.standings()

    assert (own.verdict, own.predicted) == ("ok", True)
    assert (zeros.verdict != "ok", zeros.predicted) == (True, True)


def test_solutions_are_compared(result):
    pairs = {(p["first"], p["second"]): p for p in result.pairs}
    pair = pairs[("own", 0), ("own", 1)]

    assert not result.unmatched
    assert 0 < pair["matched_distance"] < pair["distance"]
    assert (("own", 0), ("orthogonal", 1)) not in pairs


def test_json_keeps_everything(result, tmp_path):
    result.to_json(tmp_path / "race.json")

    again = jaxinit.Race.from_json(tmp_path / "race.json")

    assert str(again) == str(result)
    assert again.to_json() == result.to_json()
    np.testing.assert_array_equal(again.losses, result.losses)
    with pytest.raises(ValueError, match=r"not a jaxinit\.race"):
        jaxinit.Race.from_json("{}")


def test_figures_are_returned(result, tmp_path):
    figure = result.plot(tmp_path / "race.png")

    assert len(figure.axes) == 3
    assert (tmp_path / "race.png").stat().st_size > 1000


def test_steps_to_target(result):
    record = result.to_records()[SEEDS]
    losses = result.losses[0, 1, 0]
    means = [losses[max(0, i - 1) : i + 1].mean() for i in range(STEPS)]

    assert record["learning_rate"] == 0.03
    assert record["steps_to_target"] == np.argmax(np.array(means) <= 0.9)


def test_an_interrupted_race_goes_on_where_it_was(tmp_path, monkeypatch):
    plain, real = run(chunk=3), runner._run_chunk
    calls = itertools.count()

    def stops(*args):
        if next(calls) == 4:
            raise KeyboardInterrupt
        yield from real(*args)

    monkeypatch.setattr(runner, "_run_chunk", stops)
    first = run(chunk=3, checkpoint=tmp_path)

    assert first.interrupted
    assert (first.outcomes == OUTCOMES.index("not run")).sum() == 27 - 12
    assert "Interrupted" in str(first)
    assert "nan" not in str(first)
    second = run(chunk=3, checkpoint=tmp_path)
    np.testing.assert_array_equal(second.losses, plain.losses)
    assert next(calls) == 4 + 1 + 5  # what was done was not done again
    run(chunk=3, checkpoint=tmp_path, optimizer=optax.sgd)
    assert next(calls) == 10 + 1 + 9  # another optimizer: nothing can be taken up


def test_data_that_run_out_end_runs(result):
    x, y = dataset()
    batches = [(x[i : i + 32], y[i : i + 32]) for i in (0, 32, 64)]

    found = run(iter(batches), schemes={"own": None})

    assert (found.outcomes == OUTCOMES.index("failed")).all()
    assert "ran out after 3 of 20 steps" in str(found)
    assert np.isfinite(found.losses[..., :3]).all()
    assert np.isnan(found.losses[..., 3:]).all()


def test_one_scheme_that_fails_is_reported(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    found = run(schemes={"bad": jaxinit.mup(MODEL), "own": None})

    assert (found.outcomes[0] == OUTCOMES.index("failed")).all()
    assert (found.outcomes[1] < 3).all()
    assert "must be narrower than the model" in str(found)


def test_a_loss_that_is_a_vector_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    found = run(
        loss=lambda output, target: output[:, 0],
        schemes=["own"],
        checkpoint=tmp_path,
        diagnose=True,
    )

    assert "must return a real scalar, got float32[32]" in str(found)
    # What could not be done for it is said, and the rest is done.
    assert "cannot be traced: TypeError" in found.notes["checkpoint"]
    assert found.notes["checkpoint"] in str(found).replace("\n", " ")
    assert found.verdicts == {"own": "ok"}
    assert list(tmp_path.iterdir()) == []


def test_a_verdict_that_fails_is_said():
    found = run(
        schemes={"bad": jaxinit.mup(MODEL), "own": None},
        learning_rates=[0.03],
        diagnose=True,
    )

    assert found.verdicts == {"own": "ok"}
    assert "must be narrower" in found.notes["no verdict on bad"]
    assert "no verdict on bad" in str(found)
    again = jaxinit.Race.from_json(found.to_json())
    assert again.notes == found.notes


def test_nan_from_the_first_step_diverges_alone():
    def nan(key, shape, dtype=jnp.float32, out_sharding=None):
        return jnp.full(shape, jnp.nan, dtype)

    schemes = {"nan": nan, "own": None}

    found = run(schemes=schemes, learning_rates=[0.03])

    assert (found.outcomes[0] == OUTCOMES.index("diverges")).all()
    assert (found.outcomes[1] == OUTCOMES.index("trains")).all()


def test_nnx_factories_and_digits():
    def model(rngs):
        return nnx.Sequential(
            nnx.Linear(64, 8, rngs=rngs), nnx.Linear(8, 10, rngs=rngs)
        )

    found = run_model(model)

    assert found.losses.shape == (1, 1, 2, 30)
    assert found.standings()[0].accuracy > 0.5


def run_model(model):
    return jaxinit.race(
        model,
        "digits",
        schemes={"he": jaxinit.he_normal()},
        optimizer=optax.adam(1.0),  # a transformation, which the rate multiplies
        learning_rates=[0.02],
        steps=30,
        seeds=2,
        diagnose=False,
        solutions=0,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"learning_rates": [0.1, -1.0]},
            r"`learning_rates` must be in .*got -1",
        ),
        ({"seeds": 0}, "`seeds` must be"),
        ({"seeds": [1, 1]}, "`seeds` must hold each index once"),
        ({"seeds": True}, "`seeds` must be a number of seeds or a sequence"),
        ({"learning_rates": ["a"]}, "`learning_rates` must be a list of numbers"),
        ({"learning_rates": [0.1, 0.1]}, "`learning_rates` must be different"),
        ({"steps": 1.5}, "`steps` must be an integer, got 1.5"),
        ({"confidence": "a"}, "`confidence` must be a number, got 'a'"),
        ({"target": "low"}, "`target` must be a number"),
        ({"memory_budget": -1}, "`memory_budget` must be in"),
        ({"solutions": True}, "`solutions` must be an integer"),
        ({"steps": 0}, "`steps` must be an integer of at least 1, got 0"),
        ({"batch_size": 97}, "`batch_size` must be between 1 and the 96 samples"),
        ({"schemes": {}}, "`schemes` must hold at least one scheme"),
        ({"schemes": [3]}, "`schemes` must map names to schemes"),
        ({"devices": 99}, "`devices` must be 1 to"),
        ({"optimizer": "adam"}, "`optimizer` must be a function"),
        ({"loss": "mse"}, "`loss` must be a function"),
        ({"data": 3}, "`data` must be a tuple"),
        ({"data": iter([])}, "`data` must hold at least one batch"),
        ({"strategy": "pmap"}, "`strategy` must be"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        run(**options)
