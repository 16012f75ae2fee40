"""Fixup: the identity at first, then steps that do not grow with depth."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxinit
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.residual.fixup import fixup
from jaxinit.schemes.residual.zero_gains import zero_output_projection
from jaxinit.schemes.rules import override
from tests.initializers.checks import assert_moments
from tests.schemes import residual_models as models
from tests.zoo import ZOO, forward

pytestmark = pytest.mark.internals


def _zoo(name, scheme):
    entry = ZOO[name]
    return entry, initialize(
        entry.make(),
        scheme,
        0,
        *entry.args(),
        rngs=entry.streams,
        model_kwargs=dict(entry.kwargs),
    )


@pytest.fixture(scope="module")
def resnet():
    model = models.FixupResNet()
    images = models.images()
    return model, jax.jit(lambda: initialize(model, fixup(), 0, images))()


def test_logits_are_zero_and_the_loss_is_the_log_of_the_classes(resnet):
    model, variables = resnet

    logits = model.apply(variables, models.images())
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(4))

    np.testing.assert_array_equal(logits, 0.0)
    np.testing.assert_allclose(loss, 2.30258509, rtol=1e-6)


def test_each_block_is_the_identity(resnet):
    model, variables = resnet
    _, seen = model.apply(
        variables,
        models.images(),
        capture_intermediates=lambda module, _: (
            isinstance(module, models.FixupBlock) or module.name == "stem"
        ),
    )
    values = seen["intermediates"]
    stem = nn.relu(values["stem"]["__call__"][0])

    assert float(stem.std()) > 0.1
    for name in ("block_0", "block_1"):
        np.testing.assert_array_equal(values[name]["__call__"][0], stem)


def test_scalars(resnet):
    _, variables = resnet
    block = variables["params"]["block_1"]
    scalars = {name: float(x) for name, x in block.items() if not isinstance(x, dict)}

    assert scalars.pop("multiplier") == 1.0
    assert len(scalars) == 4
    assert set(scalars.values()) == {0.0}


@pytest.mark.parametrize(
    ("depth", "weights", "factor"), [(54, 2, 0.13608276), (16, 3, 0.5)]
)
def test_the_factor_inside_branches(depth, weights, factor):
    width = 32
    model = models.DeepFixup(depth, weights, width=width)
    drawn = models.assigned(model, fixup(), models.vectors(width))
    expected = factor * math.sqrt(2 / width)

    for i in range(weights - 1):
        kernel = drawn[f"blocks/weight_{i}/kernel"]
        assert_moments(kernel, mean=0.0, std=expected)
        # No layer of the scan has a law of its own.
        each = jnp.sqrt(jnp.square(kernel).mean((1, 2))) / expected
        assert float(abs(each - 1).max()) < 5 / math.sqrt(2 * width**2)
    assert not drawn[f"blocks/weight_{weights - 1}/kernel"].any()


def test_unrolled_and_scanned_follow_one_law():
    width = 32
    model = models.DeepFixup(4, scan=False, width=width)
    drawn = models.assigned(model, fixup(), models.vectors(width))
    kernels = jnp.stack([drawn[f"block_{i}/weight_0/kernel"] for i in range(4)])

    assert_moments(kernels, mean=0.0, std=0.5 * math.sqrt(2 / width))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_outside_of_branches_the_law_is_plain_he(mode):
    scheme = fixup(mode=mode)
    drawn = models.assigned(models.FixupResNet(), scheme, models.images())
    fans = {"fan_in": (27, 8), "fan_out": (72, 12)}[mode]

    assert_moments(drawn["stem/kernel"], mean=0.0, std=math.sqrt(2 / fans[0]))
    assert_moments(drawn["projection/kernel"], mean=0.0, std=math.sqrt(2 / fans[1]))
    assert not drawn["stem/bias"].any()


def test_three_weights_in_a_branch_beside_two():
    model = models.FixupResNet(weights=3)
    drawn = models.assigned(model, fixup(), models.images())
    std = math.sqrt(2 / 72)

    for i in range(2):
        kernel = drawn[f"block_0/weight_{i}/kernel"]
        assert_moments(kernel, mean=0.0, std=std * 3 ** (-1 / 4))
    assert_moments(
        drawn["down_0/kernel"], mean=0.0, std=math.sqrt(2 / 108) * 3 ** (-1 / 2)
    )


@pytest.mark.filterwarnings("ignore:.*without normalization:UserWarning")
@pytest.mark.parametrize("name", ["resnet", "nnx_scanned"])
def test_logits_of_the_zoo_are_zero(name):
    entry, variables = _zoo(name, fixup())

    np.testing.assert_array_equal(forward(entry, variables), 0.0)


@pytest.mark.parametrize("name", ["gpt", "gpt_scanned"])
def test_attention_has_four_weights(name):
    entry = ZOO[name]
    normed = (
        r"for residual networks without normalization, and \w*GPT normalizes in its "
    )
    with pytest.warns(UserWarning, match=rf"fixup\(\) is {normed}blocks: block.*ln_1"):
        drawn = models.assigned(entry.make(), fixup(), *entry.args())

    def pooled(part):
        found = [x.ravel() for path, x in drawn.items() if path.endswith(part)]
        assert len(found) == (3 if name == "gpt" else 1)
        return jnp.concatenate(found)

    # Six branches; each kernel has 16 inputs.
    for part in ("query", "key", "value"):
        std = math.sqrt(2 / 16) * 6 ** (-1 / 6)
        assert_moments(pooled(f"attn/{part}/kernel"), mean=0.0, std=std)
    std = math.sqrt(2 / 32) * 6 ** (-1 / 2)
    assert_moments(pooled("fc/kernel"), mean=0.0, std=std)
    assert not pooled("attn/out/kernel").any()
    assert not pooled("proj/kernel").any()
    # The table is the readout as well: it keeps what the model draws.
    assert "wte/embedding" not in drawn


class PostNorm(nn.Module):
    """Norms on the stream, between its branches, and one behind the last."""

    between: bool

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = x + nn.Dense(8)(nn.relu(nn.Dense(16)(x)))
            x = nn.LayerNorm(name=f"norm_{i}")(x) if self.between or i else x
        return nn.Dense(3)(x)


def test_norms_of_the_stream_are_named_but_for_the_last():
    x = jnp.ones((4, 8))
    with pytest.warns(UserWarning, match=r"in its blocks: norm_0/scale\. Norms"):
        jaxinit.explain(PostNorm(True), fixup(), x)
    jaxinit.explain(PostNorm(False), fixup(), x)


@pytest.mark.filterwarnings("ignore:.*without normalization:UserWarning")
def test_fused_projections_have_the_law_of_separate_ones():
    x = models.vectors()[None]
    model = models.Attending(64, fused=True)
    kernel = models.assigned(model, fixup(), x)["blocks/qkv/kernel"]

    std = math.sqrt(2 / models.WIDTH) * 128 ** (-1 / 6)
    assert_moments(kernel, mean=0.0, std=std)


@pytest.mark.filterwarnings("ignore:.*without normalization:UserWarning")
def test_parallel_paths_are_counted_apart():
    model = models.SideBySide()
    drawn = models.assigned(model, fixup(), models.vectors()[None])
    fc = jnp.stack([drawn[f"fc_{i}/kernel"] for i in range(4)])
    query = jnp.stack([drawn[f"attn_{i}/query/kernel"] for i in range(4)])

    assert_moments(fc, mean=0.0, std=math.sqrt(2 / 32) * 4 ** (-1 / 2))
    assert_moments(query, mean=0.0, std=math.sqrt(2 / 16) * 4 ** (-1 / 6))
    assert not drawn["proj_0/kernel"].any()
    assert not drawn["attn_0/out/kernel"].any()


def test_without_a_head_only_the_ends_are_zero():
    drawn = models.assigned(models.Headless(), fixup(), models.vectors())

    assert_moments(drawn["stem/kernel"], mean=0.0, std=math.sqrt(2 / 16))
    assert not drawn["only/kernel"].any()


def _change_in_one_step(depth, scheme):
    """How much the outputs move in one step of gradient descent, by the step size."""
    width, rate = 32, 1e-3
    x = models.vectors(width)
    # Without scalars: the same step moves them too far, and the paper slows them down.
    model = models.DeepFixup(depth, width=width, scalars=False)
    # A readout that is not zero, so that gradients reach the branches at once.
    scheme = override(scheme, [("head/kernel", jaxinit.lecun_normal())])
    variables = jax.jit(lambda: initialize(model, scheme, 0, x))()

    def loss(variables):
        return (model.apply(variables, x) - 1).mean()

    def moved(variables):
        grads = jax.grad(loss)(variables)
        after = jax.tree.map(lambda p, g: p - rate * g, variables, grads)
        change = model.apply(after, x) - model.apply(variables, x)
        return jnp.sqrt(jnp.square(change).mean()) / rate

    return float(jax.jit(moved)(variables))


def test_one_step_changes_the_function_alike_at_any_depth():
    changes = [_change_in_one_step(depth, fixup()) for depth in (4, 16, 64)]

    # They differ by the noise of the draws alone.
    assert max(changes) < 1.1 * min(changes), changes


def test_without_the_factor_one_step_changes_more_with_depth():
    he = jaxinit.variance_scaling(2.0, "fan_out", "normal")
    scheme = override(zero_output_projection(), [("blocks/weight_0/kernel", he)])
    changes = [_change_in_one_step(depth, scheme) for depth in (4, 64)]

    # Each branch adds one and the same to the change.
    assert changes[1] > 8 * changes[0], changes


def test_no_branches():
    entry = ZOO["mlp"]

    with pytest.raises(ValueError, match=r"fixup\(\) is for networks with residual"):
        initialize(entry.make(), fixup(), 0, *entry.args())


def test_unknown_mode():
    with pytest.raises(ValueError, match="'fan_in' or 'fan_out', got 'fan_avg'"):
        fixup(mode="fan_avg")


def test_a_weight_that_two_branches_ask_different_things_of():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = nn.Dense(models.WIDTH, name="shared")
            x = x + nn.Dense(models.WIDTH)(nn.relu(shared(x)))
            x = x + shared(nn.relu(nn.Dense(models.WIDTH)(x)))
            return nn.Dense(2)(x)

    x = models.vectors()
    with pytest.raises(ValueError, match=r"shared/kernel is in branches that ask for"):
        initialize(Net(), fixup(), 0, x)
    rules = [("shared/kernel", jaxinit.he_normal())]
    drawn = models.assigned(Net(), override(fixup(), rules), x)
    assert drawn["shared/kernel"].any()
