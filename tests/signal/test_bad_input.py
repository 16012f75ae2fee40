"""What a user does wrong, and what must survive whatever the user does."""

import contextlib
import re
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxinit
from jaxinit._progress import Bar
from jaxinit.signal.engine import Engine
from tests.signal.same import assert_same_statistics

pytestmark = pytest.mark.internals

X = jax.random.normal(jax.random.key(1), (16, 6))
TOKENS = jnp.arange(8) % 10


class MLP(nn.Module):
    """Takes anything beside its input, and looks at none of it."""

    @nn.compact
    def __call__(self, x, **options):
        return nn.Dense(4)(nn.relu(nn.Dense(8)(x)))


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        x = nn.Dense(8)(x)
        return nn.Dense(4)(nn.BatchNorm(use_running_average=not train)(x))


class Label(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(x).argmax(-1)


class Mixed(nn.Module):
    """Tokens, a mask and a vector."""

    @nn.compact
    def __call__(self, tokens, mask, x):
        y = nn.Embed(10, 4)(tokens)
        return jnp.where(mask[:, None], y, nn.Dense(4)(x))


class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.dense = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8, 4, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(nnx.relu(self.norm(self.dense(x)))))


class Forgetful(nnx.Module):
    """Ignores the rngs that it is given."""

    def __init__(self, *, rngs):
        self.dense = nnx.Linear(6, 4, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.dense(x)


def note(report, text):
    """The one note that holds ``text``."""
    (found,) = [note for note in report.notes if text in note]
    return found


# What is refused: which argument, what was got, what is allowed, what to do.


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seeds": 0}, ValueError, "`seeds` must be at least 1, got 0. It is the"),
        ({"seeds": -3}, ValueError, "`seeds` must be at least 1, got -3."),
        ({"seeds": []}, ValueError, "hold at least one index, all of them 0 or more"),
        ({"seeds": [2, -1]}, ValueError, "0 or more and below 2**32, got [2, -1]."),
        ({"seeds": 2.5}, TypeError, "a number of seeds or a sequence of seed indices"),
        ({"seeds": True}, TypeError, "got True."),
        ({"strategy": "fast"}, ValueError, "'vmap', 'loop', got 'fast'."),
        ({"chunk": 0}, ValueError, "`chunk` must be above 0 or None"),
        ({"memory_budget": -1}, ValueError, "`memory_budget` must be above 0"),
        ({"time_budget": 0.0}, ValueError, "`time_budget` must be above 0 or None"),
        ({"seeds": ["a"]}, TypeError, "which are integers, got 'a' among them"),
        ({"seeds": "12"}, TypeError, "`seeds` must be a number of seeds or a sequence"),
        ({"seeds": [1.5]}, TypeError, "which are integers, got 1.5 among them"),
        ({"seeds": np.array([1.0])}, TypeError, "which are integers, got np.float64(1"),
        ({"seeds": [True, False]}, TypeError, "which are integers, got True among"),
        ({"seeds": [3] * 40}, ValueError, "must hold each index once, got 3 several"),
        ({"seeds": np.eye(2, dtype=int)}, TypeError, "a sequence of seed indices, got"),
        ({"seeds": [2**40]}, ValueError, "0 or more and below 2**32, got [109951162"),
        ({"strategy": None}, TypeError, "`strategy` must be one of 'auto', 'vmap'"),
        ({"strategy": ["loop"]}, TypeError, "'vmap', 'loop', got ['loop']."),
        ({"chunk": 1.5}, TypeError, "`chunk` must be an integer, seeds at once, abov"),
        ({"chunk": "2"}, TypeError, "above 0 or None for the default, got '2'."),
        ({"chunk": True}, TypeError, "`chunk` must be an integer"),
        ({"memory_budget": "1G"}, TypeError, "`memory_budget` must be a number of by"),
        ({"time_budget": [1]}, TypeError, "`time_budget` must be a number of seconds"),
        (
            {"time_budget": np.nan},
            ValueError,
            "must be above 0 or None for the default",
        ),
        ({"loss": "mse"}, TypeError, "`loss` must be a function from the model's outp"),
        ({"loss": lambda y: None}, ValueError, "`loss` must return a floating-point s"),
        ({"checkpoint": 3}, TypeError, "`checkpoint` must be the path of a folder or"),
        ({"checkpoint": ""}, ValueError, "`checkpoint` must be the path of a folder"),
        ({"progress": "yes"}, TypeError, "`progress` must be True, False or None, got"),
        ({"plan": 1}, TypeError, "`plan` must be True or False, got 1."),
        ({"judge": "x"}, TypeError, "`judge` must be True or False, got 'x'."),
        ({"roll": "on"}, TypeError, "`roll` must be 'auto', True or False, got 'on'."),
        ({"devices": "cpu"}, TypeError, "`devices` must be a number of devices or a s"),
        ({"scheme": 3}, TypeError, "`scheme` must be a scheme such as jaxinit.lsuv"),
        ({"scheme": "he"}, ValueError, "mean he_normal or he_uniform?"),
        ({"model_kwargs": [1]}, TypeError, "`model_kwargs` must map names of the mode"),
        ({"model_kwargs": {1: 2}}, TypeError, "as in {'train': True}, got {1: 2}."),
        (
            {"model_kwargs": {"a": 1}, "a": 2},
            ValueError,
            "`model_kwargs` must not repeat a keyword argument, got 'a' in both.",
        ),
        ({"key": 2**70}, ValueError, "`key` must be an integer of at most 64 bits, or"),
        ({"key": True}, TypeError, "or an integer that makes one, got True."),
        ({"key": np.zeros(3, np.uint32)}, ValueError, "PRNGKey(0), got shape (3,)."),
        ({"key": "zero"}, TypeError, "`key` must be one jax key, as jax.random.key(0)"),
        ({"key": jnp.ones(2)}, TypeError, "makes one, got an array, float32[2]."),
    ],
)
def test_options_out_of_range(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        jaxinit.analyze(MLP(), X, **options)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "or jaxinit.Functional(init, apply) for anything else; got int."),
        (None, "got NoneType."),
        (MLP, "got the linen class MLP. Pass an instance: MLP(...)."),
        (lambda rngs: 3, "returns int. Return an nnx.Module, or pass jaxinit.Func"),
    ],
)
def test_no_model(model, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        jaxinit.analyze(model, X)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        *((x, ValueError, "needs the model's array inputs") for x in (None, 3.0, "a")),
        *((x, ValueError, "array inputs after the model, got") for x in ({}, {"a": 1})),
        ([1.0, 2.0], ValueError, "after the model, got 1.0, 2.0. Write"),
        ((i for i in range(3)), TypeError, "must be an array, got generator. Pass one"),
        (jnp.ones(()), ValueError, "`args[0]` must have axes that the model works on"),
        (np.float32(2), ValueError, "the first of them over samples, got a scalar"),
        (jnp.ones((4, 0)), ValueError, "`args[0]` must not be empty, got shape (4, 0)"),
        (np.array(["a"]), TypeError, "must hold numbers, booleans or random keys, got"),
        (np.array([None]), TypeError, "got dtype object. Turn it into numbers first"),
        (np.ma.masked_less(np.ones((4, 3)), 0), TypeError, "got one with a mask"),
        (
            jax.ShapeDtypeStruct((-1, 6), jnp.float32),
            ValueError,
            "`args[0]` must have a shape of integers of at least 1, got (-1, 6).",
        ),
    ],
)
def test_inputs_that_are_none(x, error, message):
    with pytest.raises(error, match=re.escape(message)):
        jaxinit.analyze(MLP(), x, seeds=1)


class Wide(nnx.Module):
    def __init__(self, width, *, rngs):
        self.dense = nnx.Linear(6, width, rngs=rngs)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Wide, "the class Wide, which does not take that: missing a required argument"),
        (lambda: MLP(), "alone to one, got the callable <lambda>, which does not take"),
        (lambda a, b: 3, "which does not take that: missing a required argument: 'b'"),
    ],
)
def test_no_factory(model, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        jaxinit.analyze(model, X)


def test_bound_weights_are_not_ignored():
    model = nn.Dense(2)
    bound = model.bind(model.init(jax.random.key(0), X))

    with pytest.raises(TypeError, match=r"without variables, got Dense that is bound"):
        jaxinit.analyze(bound, X)


@pytest.mark.parametrize("x", [np.array([-3, 1]), np.array([10])])
def test_tokens_outside_of_the_table(x):
    with pytest.raises(ValueError, match="must hold integers from 0 to 9"):
        jaxinit.analyze(nn.Embed(10, 4), x, seeds=1)


@pytest.mark.parametrize(
    ("schemes", "error"),
    [(None, TypeError), ("he", TypeError), ({3: None}, TypeError), ({}, ValueError)],
)
def test_schemes(schemes, error):
    with pytest.raises(error, match="`schemes` must"):
        jaxinit.compare(MLP(), X, schemes=schemes)


def test_a_loss_that_is_nan_is_a_finding():
    report = jaxinit.analyze(MLP(), X, seeds=2, loss=lambda y: y.sum() * jnp.nan)

    assert report.verdict == "non-finite"
    assert report.findings[0].metric == "loss"


def test_no_inputs():
    with pytest.raises(TypeError, match=r"needs the inputs of MLP, which come last"):
        jaxinit.analyze(MLP())
    with pytest.raises(TypeError, match=r"jax\.ShapeDtypeStruct\(\(32, 32, 32, 3\)"):
        jaxinit.explain(MLP(), "he_normal")


def test_no_array_among_the_inputs():
    functional = jaxinit.Functional(
        lambda key, size: jax.random.normal(key, (size,)),
        lambda weights, size: weights * size,
    )

    with pytest.raises(ValueError, match=r"needs the model's array inputs.*got 3"):
        jaxinit.analyze(functional, 3)


@pytest.mark.parametrize("scheme", ["he_normal", "lsuv"])
def test_an_object_that_is_no_pytree_is_named(scheme):
    class Batch:
        image = X

        def __repr__(self):
            return "<Batch>"

    model = jaxinit.Functional(
        lambda key, batch: jax.random.normal(key, (batch.image.shape[-1], 4)),
        lambda kernel, batch: batch.image @ kernel,
    )

    with pytest.raises(ValueError, match="weights") as caught:
        jaxinit.initialize(model, scheme, 0, Batch())
    assert "an array, got <Batch>. Pass" in caught.value.__notes__[-1]
    assert "register_dataclass" in caught.value.__notes__[-1]
    with pytest.raises(ValueError, match="register_dataclass"):
        jaxinit.analyze(model, Batch())


def test_wrong_shape_names_what_was_fed():
    with pytest.raises(TypeError, match=r"got \(3,\) and \(6,\)") as caught:
        jaxinit.analyze(Net, X[:, :3])

    said = caught.value.__notes__[-1]
    assert "jaxinit called Net with args[0]: float32[16, 3]." in said
    assert "must be those of model.init(key, ...)" in said


def test_unknown_keyword_is_the_models():
    with pytest.raises(TypeError, match="unexpected keyword argument 'sedes'") as e:
        jaxinit.analyze(Label(), X, sedes=4)

    assert "jaxinit called Label with args[0]: float32[16, 6]" in e.value.__notes__[-1]


def test_empty_input():
    with pytest.raises(ValueError, match=r"`args\[0\]` must not be empty.*\(0, 6\)"):
        jaxinit.analyze(MLP(), X[:0])


@pytest.mark.parametrize(
    ("tokens", "got"), [(TOKENS + 3, "3 to 10"), (TOKENS - 11, "-11 to -4")]
)
def test_wrong_vocabulary(tokens, got):
    with pytest.raises(
        ValueError, match=f"integers from 0 to 9, .* got {got}"
    ) as caught:
        jaxinit.analyze(nn.Embed(10, 4), tokens)

    assert "Enlarge the embedding or mend the tokens." in str(caught.value)


def test_integers_without_a_table_cannot_be_drawn():
    shape = jax.ShapeDtypeStruct((16, 6), jnp.int32)

    with pytest.raises(ValueError, match=r"`args\[0\]` is the shape of an integer"):
        jaxinit.analyze(MLP(), shape)


def test_model_without_parameters():
    with pytest.raises(ValueError, match="have parameters, got Sequential without any"):
        jaxinit.analyze(nn.Sequential([nn.relu]), X)


def test_factory_that_ignores_its_rngs():
    with pytest.raises(ValueError, match="Forgetful draws them from a key of its own"):
        jaxinit.analyze(Forgetful, X)


def test_an_instance_has_one_set_of_weights():
    for seeds in (4, np.arange(4)):
        with pytest.raises(ValueError, match="`seeds` must be 1 for an nnx module"):
            jaxinit.analyze(Net(rngs=nnx.Rngs(0)), X, seeds=seeds)


def test_loss_that_is_no_scalar():
    with pytest.raises(
        ValueError, match=r"`loss` must return a floating.*float32\[16, 4\]"
    ):
        jaxinit.analyze(MLP(), X, loss=lambda y: y)


# What is measured, with a finding or a note.


def test_batch_of_one_under_batch_norm():
    report = jaxinit.analyze(Normalized(), X[:1], seeds=2)
    finding = report.findings[0]

    assert report.verdict == "dead"
    assert finding.row == "BatchNorm_0"
    assert "the batch holds one sample" in finding.message
    assert finding.remedy == "analyze with a batch of at least 2 samples"


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_input_that_is_not_finite(bad):
    report = jaxinit.analyze(MLP(), X.at[3, 2].set(bad), seeds=2)

    assert report.verdict == "non-finite"
    assert report.findings[0].metric == "input"
    assert "args[0] holds NaN or infinity" in report.findings[0].message
    assert "jnp.nan_to_num(x)" in report.findings[0].remedy
    # One row in 16 of the first layer, in every seed.
    np.testing.assert_array_equal(report.forward["frac_nonfinite"][:, 0], 1 / 16)


def test_model_without_float_output():
    report = jaxinit.analyze(Label(), X, seeds=2)

    said = note(report, "No gradients")
    assert "returns no floating-point array (int32[16])" in said
    assert "method=..." in said
    assert report.backward == {}
    assert report.layers == ("Dense_0",)
    assert np.isfinite(report.forward["second_moment"]).all()


def test_an_output_that_is_a_number():
    def with_loss(params, x):
        return jnp.tanh(x @ params["w"]), 0.0

    def init(key, x):
        return {"w": jax.random.normal(key, (x.shape[-1], 4))}

    model = jaxinit.Functional(init, with_loss)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    for context in (contextlib.nullcontext(), jax.set_mesh(mesh)):
        with context:
            report = jaxinit.analyze(model, X, seeds=2)

        assert report.layers == ("w",)
        assert np.isfinite(report.backward["grad_rms"]).all()


def test_keyword_that_cannot_be_hashed():
    plain = jaxinit.analyze(MLP(), X, seeds=2)
    report = jaxinit.analyze(MLP(), X, seeds=2, options={"a": [1, {2}]})

    np.testing.assert_array_equal(
        report.forward["second_moment"], plain.forward["second_moment"]
    )


def test_shapes_are_fed_with_random_numbers():
    shapes = [
        jax.ShapeDtypeStruct((64,), jnp.int32),
        jax.ShapeDtypeStruct((64,), jnp.bool_),
        jax.ShapeDtypeStruct((64, 6), jnp.bfloat16),
    ]
    report = jaxinit.analyze(Mixed(), *shapes, seeds=2)

    assert note(report, "args[0]") == "Fed args[0]: int32[64], drawn uniformly below 10"
    assert note(report, "args[1]") == "Fed args[1]: bool[64], drawn evenly"
    assert "bfloat16[64,6], drawn standard normal" in note(report, "args[2]")
    assert report.forward["frac_nonfinite"].max() == 0
    # 4 outputs of 6 standard normal inputs each, of variance 1/6 by LeCun: 24 weights
    # and 64 samples make the second moment 1 within 5 * sqrt(2/24 + 2/64).
    dense = report.layers.index("Dense_0")
    assert abs(report.forward["second_moment"][0, dense] - 1) < 5 * 0.34


@pytest.mark.parametrize(
    ("factory", "fed"),
    [
        (Net, "float32[32,6]"),
        (lambda rngs: nnx.Embed(10, 4, rngs=rngs), "int32[8,64]"),
        (lambda rngs: nnx.Conv(3, 4, (3, 3), rngs=rngs), "float32[32,32,32,3]"),
    ],
)
def test_an_nnx_model_tells_its_inputs(factory, fed):
    report = jaxinit.analyze(factory, seeds=1)

    assert note(report, "Fed args[0]").startswith(f"Fed args[0]: {fed}, drawn")
    assert report.settings["seeds_requested"] == 1
    assert report.settings["model"] in ("Net", "Embed", "Conv")


class Autoencoder(nn.Module):
    def setup(self):
        self.encoder = nn.Dense(4)
        self.decoder = nn.Dense(6)

    def __call__(self, x):
        return self.decoder(self.encode(x))

    def encode(self, x):
        return self.encoder(x)


@pytest.mark.parametrize("method", ["encode", Autoencoder.encode])
def test_another_method(method):
    report = jaxinit.analyze(Autoencoder(), X, seeds=2, method=method)

    assert report.layers == ("encoder",)


class Weighted(nn.Module):
    """Whose arguments have names that ``analyze`` takes for itself."""

    @nn.compact
    def __call__(self, x, *, seeds, chunk):
        return nn.Dense(chunk)(x * seeds)


def test_model_kwargs_reach_the_model():
    report = jaxinit.analyze(
        Weighted(), X, seeds=2, model_kwargs={"seeds": 10 * jnp.ones(6), "chunk": 5}
    )
    plain = jaxinit.analyze(
        Weighted(), X, seeds=2, model_kwargs={"seeds": jnp.ones(6), "chunk": 5}
    )

    assert report.rows[0].shape == (16, 5)
    assert len(report.seeds) == 2
    np.testing.assert_allclose(
        report.forward["second_moment"], 100 * plain.forward["second_moment"], rtol=1e-5
    )


class Noisy(nn.Module):
    """Whose random streams must be independent: of ones it makes products of noise."""

    @nn.compact
    def __call__(self, x):
        names = ("params", "dropout", "noise")
        a, b, c = (jax.random.normal(self.make_rng(name), x.shape) for name in names)
        for name, product in (("ab", a * b), ("bc", b * c), ("ca", c * a)):
            x = x + 0.1 * jaxinit.tap(product * x / x, name)
        return nn.Dense(4)(x)


def test_several_random_streams():
    report = jaxinit.analyze(Noisy(), jnp.ones((64, 64)), seeds=2, rngs=("noise",))
    taps = [report.layers.index(name) for name in ("ab", "bc", "ca")]

    # The mean of 4096 products of deviation 1; it is 1 where two streams are one.
    np.testing.assert_allclose(report.forward["mean"][:, taps], 0.0, atol=5 / 64)
    assert (report.forward["var"][0, taps] != report.forward["var"][1, taps]).all()


def test_an_array_among_the_keywords_is_an_input():
    report = jaxinit.analyze(
        Mixed(), TOKENS, seeds=2, mask=TOKENS % 2 == 0, x=jnp.ones((8, 6))
    )

    assert note(report, "mask") == "Fed kwargs['mask']: bool[8], given, 50% true"
    assert set(report.layers) >= {"Embed_0", "Dense_0"}


def squared(y):
    return (y.astype(jnp.float32) ** 2).mean()


def test_the_users_loss():
    report = jaxinit.analyze(MLP(), X, seeds=2, loss=squared)

    assert report.mode == "loss"
    for position, seed in enumerate(report.seeds):
        variables = MLP().init(report.key(seed), X)
        loss, grads = jax.value_and_grad(lambda v: squared(MLP().apply(v, X)))(
            variables
        )
        column = report.params.index("Dense_0/kernel")
        norm = np.linalg.norm(grads["params"]["Dense_0"]["kernel"])
        # Two programs compiled apart; the longest sum has 96 terms.
        np.testing.assert_allclose(report.loss[position], loss, rtol=1e-5)
        measured = report.weights["wgrad_norm"][position, column]
        np.testing.assert_allclose(measured, norm, rtol=1e-5)


# What ends early, ends in order.


@pytest.fixture(scope="module")
def whole():
    return jaxinit.analyze(MLP(), X, seeds=6, strategy="loop")


def assert_first_seeds(report, count, whole):
    np.testing.assert_array_equal(report.seeds, np.arange(count))
    assert_same_statistics(report, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("strategy", "chunk"), [("loop", None), ("vmap", 2)])
def test_interrupt_returns_the_finished_seeds(whole, monkeypatch, strategy, chunk):
    def count(self, done, total, what):
        assert total == 6
        if done >= 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "count", count)
    report = jaxinit.analyze(MLP(), X, seeds=6, strategy=strategy, chunk=chunk)

    assert "interrupted: 2 of 6 seeds were run" in report.notes
    assert_first_seeds(report, 2, whole)
    assert report.settings["seeds_requested"] == 6


def test_interrupt_before_the_first_seed(monkeypatch):
    def run(self, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "run", run)

    with pytest.raises(KeyboardInterrupt):
        jaxinit.analyze(MLP(), X, seeds=6, strategy="loop")


@pytest.mark.parametrize(
    ("strategy", "chunk", "done"), [("loop", None, 1), ("vmap", 2, 2)]
)
def test_time_budget_runs_one_step_at_least(whole, strategy, chunk, done):
    report = jaxinit.analyze(
        MLP(), X, seeds=6, strategy=strategy, chunk=chunk, time_budget=1e-9
    )

    assert f"time budget of 1e-09 s spent: {done} of 6 seeds were run" in report.notes
    assert_first_seeds(report, done, whole)


def test_time_budget_that_is_enough_says_nothing(whole):
    report = jaxinit.analyze(MLP(), X, seeds=6, strategy="loop", time_budget=1e9)

    assert not [note for note in report.notes if "time budget" in note]
    assert_first_seeds(report, 6, whole)


def out_of_memory(largest):
    """``run_batched`` on a device that holds no more than ``largest`` seeds."""
    original = Engine.run_batched

    def run_batched(self, seeds, mesh=None):
        if len(seeds) > largest:
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"
            )
        return original(self, seeds, mesh)

    return run_batched


def test_out_of_memory_halves_the_chunk(whole, monkeypatch):
    monkeypatch.setattr(Engine, "run_batched", out_of_memory(largest=2))

    report = jaxinit.analyze(MLP(), X, seeds=6, strategy="vmap", chunk=4)

    assert report.settings["chunk"] == 2
    assert_first_seeds(report, 6, whole)


def test_out_of_memory_leaves_one_seed_in_flight(whole, monkeypatch):
    # A device that holds one seed: every call that finds another running fails.
    device, original = threading.Lock(), Engine.run
    failed = []

    def run(self, seed):
        if not device.acquire(blocking=False):
            failed.append(seed)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        try:
            # Long enough for the other thread to come in.
            time.sleep(0.2 if not failed else 0)
            return original(self, seed)
        finally:
            device.release()

    monkeypatch.setattr(Engine, "run", run)
    monkeypatch.setattr("jaxinit._resources.cores", lambda: 2)
    report = jaxinit.analyze(MLP(), X, seeds=6, strategy="loop", memory_budget=2**40)

    assert len(failed) >= 1
    assert report.settings["chunk"] == 1
    assert_first_seeds(report, 6, whole)


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_one_seed_that_does_not_fit(monkeypatch, strategy):
    def run(self, seed):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(Engine, "run", run)
    monkeypatch.setattr(Engine, "run_batched", out_of_memory(largest=0))

    with pytest.raises(RuntimeError, match=r"one seed does not fit .* smaller batch"):
        jaxinit.analyze(MLP(), X, seeds=6, strategy=strategy, chunk=2)


def test_other_runtime_errors_are_not_swallowed(monkeypatch):
    def run_batched(self, seeds, mesh=None):
        raise jax.errors.JaxRuntimeError("INTERNAL: no such device")

    monkeypatch.setattr(Engine, "run_batched", run_batched)

    with pytest.raises(jax.errors.JaxRuntimeError, match="no such device"):
        jaxinit.analyze(MLP(), X, seeds=6, strategy="vmap", chunk=2)


# What is the caller's stays as it is.


def test_arrays_are_untouched():
    numpy, array = np.asarray(X).copy(), X.copy()
    before = numpy.copy()

    jaxinit.analyze(MLP(), numpy, seeds=2, strategy="vmap")
    jaxinit.analyze(MLP(), array, seeds=2)

    np.testing.assert_array_equal(numpy, before)
    assert not array.is_deleted()
    np.testing.assert_array_equal(array, before)


def test_an_nnx_module_is_untouched():
    module = Net(rngs=nnx.Rngs(0))
    variables = {path: id(v) for path, v in nnx.iter_graph(module)}
    arrays = jax.tree.leaves(nnx.state(module))
    before = [np.array(_data(x)) for x in arrays]

    report = jaxinit.analyze(module, X)

    assert {path: id(v) for path, v in nnx.iter_graph(module)} == variables
    after = jax.tree.leaves(nnx.state(module))
    assert all(x is y for x, y in zip(after, arrays, strict=True))
    for x, y in zip(after, before, strict=True):
        np.testing.assert_array_equal(_data(x), y)
    np.testing.assert_array_equal(report.seeds, [0])
    kernel = np.asarray(module.dense.kernel[...], np.float64)
    np.testing.assert_allclose(
        report.weights["weight_norm"][0, report.params.index("dense/kernel")],
        np.linalg.norm(kernel),
        rtol=1e-5,
    )
    # It draws its dropout from the stream that the module holds.
    assert module.dropout.rngs.count[...] == 0


def _data(x):
    typed = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(x) if typed else x


def test_an_nnx_module_is_read_again_after_training():
    module = Net(rngs=nnx.Rngs(0))
    first = jaxinit.analyze(module, X)
    module.dense.kernel[...] = 2 * module.dense.kernel[...]
    second = jaxinit.analyze(module, X)

    column = first.params.index("dense/kernel")
    np.testing.assert_allclose(
        second.weights["weight_norm"][0, column],
        2 * first.weights["weight_norm"][0, column],
        rtol=1e-6,
    )
