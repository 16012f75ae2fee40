"""Patterns found in models that other people wrote, each once misread."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxinit

pytestmark = pytest.mark.internals

X = jax.random.normal(jax.random.key(9), (6, 5, 8))


def report_of(model, *args):
    return jaxinit.analyze(model, *args, seeds=2, progress=False)


def kinds(report):
    return [row.kind for row in report.rows]


class PlainArray(nnx.Module):
    """A mask that is an attribute, no variable."""

    def __init__(self, rngs):
        self.inner = nnx.Linear(8, 8, rngs=rngs)
        self.mask = jnp.tril(jnp.ones((8, 8)))

    def __call__(self, x):
        return x @ (self.inner.kernel * self.mask)


class ConcreteConstructor(nnx.Module):
    """A constructor that looks at values."""

    def __init__(self, rngs):
        self.inner = nnx.Linear(8, int(jnp.sum(jnp.ones(8) > 0)), rngs=rngs)

    def __call__(self, x):
        return self.inner(x)


@pytest.mark.parametrize("model", [PlainArray, ConcreteConstructor])
@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_constructors_that_cannot_be_traced(model, strategy):
    report = jaxinit.analyze(model, X, seeds=3, strategy=strategy, progress=False)

    assert report.layers == ("inner",)
    norms = report.weights["weight_norm"][:, report.params.index("inner/kernel")]
    assert len(set(norms)) == 3
    drawn = model(rngs=nnx.Rngs(report.key(1))).inner.kernel[...]
    assert norms[1] == pytest.approx(float(jnp.linalg.norm(drawn)), rel=1e-5)


def test_a_function_among_the_variables_that_closes_over_an_array():
    def init(key, x):
        doubled = jnp.full((8,), 2.0)
        return jax.random.normal(key, (8, 3)), jax.tree_util.Partial(
            lambda v: v * doubled
        )

    model = jaxinit.Functional(init, lambda held, x: held[1](x) @ held[0])
    report = report_of(model, X)
    weight, _ = init(report.key(0), X)

    assert kinds(report) == ["layer"]
    expected = float(jnp.mean((2 * X @ weight) ** 2))
    assert report.forward["second_moment"][0, 0] == pytest.approx(expected, rel=1e-5)


CHANNELS = {
    "product, transposed, with a bias": (
        {"w": (12, 8), "b": (12,)},
        lambda p, x: jax.vmap(jax.vmap(lambda v: p["w"] @ v + p["b"]))(x),
        12,
    ),
    "gain by a product without sum": (
        {"d": (8,)},
        lambda p, x: jnp.einsum("h,blh->blh", p["d"], x),
        8,
    ),
    "blocks on the diagonal": (
        {"w": (2, 4, 4), "b": (2, 4)},
        lambda p, x: (
            jnp.einsum("bthi,hij->bthj", x.reshape(6, 5, 2, 4), p["w"]) + p["b"]
        ),
        8,
    ),
}


@pytest.mark.parametrize("name", list(CHANNELS))
def test_channels(name):
    """``chan_sq_mean`` against its definition tells which axes are channels."""
    shapes, apply, channels = CHANNELS[name]

    def init(key, x):
        return {n: jax.random.normal(key, shape) for n, shape in shapes.items()}

    report = report_of(jaxinit.Functional(init, apply), X)
    out = np.asarray(apply(init(report.key(0), X), X), np.float64)

    assert len(report.rows) == 1
    assert report.rows[0].samples == 30
    expected = (out.reshape(-1, channels).mean(0) ** 2).mean()
    assert report.forward["chan_sq_mean"][0, 0] == pytest.approx(expected, rel=1e-5)


class Experts(nn.Module):
    @nn.compact
    def __call__(self, x):
        gates = nn.softmax(nn.Dense(3)(x))
        outputs = jnp.stack([nn.Dense(8)(x) for _ in range(3)], -2)
        return nn.Dense(2)(x + jnp.sum(gates[..., None] * outputs, axis=-2))


class PooledShortcut(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(8, (3,))(x)), (2,), (2,))
        x = x + nn.Conv(8, (3,))(x)
        return nn.Dense(2)(x.mean(1))


@pytest.mark.parametrize("model", [Experts(), PooledShortcut()])
def test_joins_behind_reductions(model):
    assert kinds(report_of(model, X)).count("join") == 1


class TreeScan(nn.Module):
    """Gates that depend on the data, as in mLSTM and minGRU."""

    @nn.compact
    def __call__(self, x):
        gate, value = nn.sigmoid(nn.Dense(8)(x)), nn.Dense(8)(x)
        _, state = jax.lax.associative_scan(
            lambda left, right: (left[0] * right[0], right[0] * left[1] + right[1]),
            (gate, value),
            axis=1,
        )
        return nn.Dense(2)(state)


def test_the_tree_of_an_associative_scan_is_no_row():
    assert kinds(report_of(TreeScan(), X)) == ["layer", "layer", "layer"]


class ZeroBranch(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        h = nn.relu(nn.Dense(8)(x))
        return x + nn.Dense(8, kernel_init=nn.initializers.zeros)(h), None


class ScannedZeroBranches(nn.Module):
    @nn.compact
    def __call__(self, x):
        blocks = nn.scan(
            ZeroBranch,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        x, _ = blocks()(nn.Dense(8)(x), None)
        return nn.Dense(2)(x)


def test_scanned_branches_that_start_at_zero_are_healthy():
    report = report_of(ScannedZeroBranches(), X)

    assert report.verdict == "ok"
    assert all(name in report.params for row in report.rows for name in row.params)


class Mask(nn.Module):
    """A learned bias and a mask of the lowest number, as in T5."""

    @nn.compact
    def __call__(self, x, keep):
        bias = self.param("bias", nn.initializers.normal(0.1), (5, 5))
        lowest = jnp.finfo(jnp.float32).min
        mask = jnp.where(keep > 0, 0.0, lowest)[:, None, :]
        scores = nn.Dense(8)(x) @ nn.Dense(8)(x).swapaxes(1, 2)
        return nn.Dense(2)(nn.softmax(scores + (bias + mask)) @ x)


def test_a_mask_is_no_overflow():
    keep = jnp.ones((6, 5), jnp.int32).at[:, 3:].set(0)

    assert report_of(Mask(), X, keep).verdict == "ok"


class UnusedLayer(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.Dense(8)(x)
        nn.Dense(8, name="unused")(h)
        return nn.Dense(2)(nn.tanh(nn.Dense(8)(h)))


def test_a_layer_whose_result_is_dropped_is_unreached():
    report = report_of(UnusedLayer(), X)

    assert report.verdict == "unreached"
    assert "unused" not in report.layers
    assert set(report.unreached) == {"unused/bias", "unused/kernel"}


class StoppedTable(nn.Module):
    @nn.compact
    def __call__(self, x):
        table = self.param("table", nn.initializers.normal(), (5, 8))
        return nn.Dense(2)(x + jax.lax.stop_gradient(table))


def test_a_stopped_gradient_is_zero():
    report = report_of(StoppedTable(), X)

    gradient = report.weights["wgrad_norm"][:, report.params.index("table")]
    assert (gradient == 0).all()


class ClosedGate(nn.Module):
    """A gate whose kernel starts at zero and whose bias does not."""

    @nn.compact
    def __call__(self, x):
        h = nn.Dense(8)(x)
        options = {
            "kernel_init": nn.initializers.zeros,
            "bias_init": nn.initializers.ones,
        }
        gate = nn.Dense(8, **options)(nn.Dense(8)(h))
        return nn.Dense(2)(nn.tanh(h) * nn.sigmoid(gate))


def test_a_zero_kernel_explains_a_zero_gradient():
    assert report_of(ClosedGate(), X).verdict == "ok"
