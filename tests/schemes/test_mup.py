"""The initialization of muP: deviations at many widths, and laws kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from jaxinit.initializers import he_normal, normal, ones, orthogonal, zeros
from jaxinit.schemes.explain import explain
from jaxinit.schemes.initialize import initialize
from jaxinit.schemes.rules import override
from jaxinit.schemes.width.mup import mup
from tests.schemes.wide_models import GPT, MLP, TOKENS, VECTORS, NnxMLP, nnx_mlp

# The base's deviation is measured on 2**14 entries or more: an error of
# 1 / sqrt(2 * 2**14) = 0.55 percent, here times 4.
MEASURED = 0.022


def rms(value):
    return float(np.sqrt(np.square(np.asarray(value, np.float64)).mean()))


def draw(model, scheme, *args, key=0):
    return initialize(model, scheme, key, *args)["params"]


@pytest.mark.parametrize("ratio", [2, 8])
def test_deviations_of_the_table(ratio):
    params = draw(MLP(16 * ratio), mup(MLP(16)), VECTORS)

    # Flax's own are 1/sqrt(fan_in): at the base width 1/sqrt(8) and 1/4.
    expected = {
        "first": 1 / np.sqrt(8),
        "second": 1 / np.sqrt(16 * ratio),
        "third": 1 / np.sqrt(16 * ratio),
        "head": 1 / 4 / ratio,
    }
    for name, std in expected.items():
        assert rms(params[name]["kernel"]) == pytest.approx(std, rel=MEASURED)
        assert not np.any(params[name]["bias"])


@pytest.mark.parametrize("scanned", [False, True], ids=["unrolled", "scanned"])
def test_deviations_in_a_transformer(scanned):
    model, base = (GPT(w, w // 8, scanned=scanned) for w in (64, 16))
    params = draw(model, mup(base), TOKENS)

    assert rms(params["wte"]["embedding"]) == pytest.approx(1 / 4, rel=MEASURED)
    assert rms(params["position"]) == pytest.approx(0.02, rel=MEASURED)
    assert rms(params["head"]["kernel"]) == pytest.approx(1 / 16, rel=MEASURED)
    for i in range(2):
        block = params["blocks"] if scanned else params[f"block_{i}"]
        take = (lambda x, i=i: x[i]) if scanned else (lambda x: x)
        for name in ("query", "key", "value", "out"):
            kernel = take(block["attn"][name]["kernel"])
            assert rms(kernel) == pytest.approx(1 / 8, rel=MEASURED)
        assert rms(take(block["fc"]["kernel"])) == pytest.approx(1 / 8, rel=MEASURED)
        assert rms(take(block["proj"]["kernel"])) == pytest.approx(1 / 16, rel=MEASURED)
        assert (take(block["ln_1"]["scale"]) == 1).all()


def test_a_deviation_that_knows_no_fans_is_given_some():
    def model(width):
        dense = nn.initializers.normal(0.1)
        return nn.Sequential(
            [nn.Dense(w, kernel_init=dense, use_bias=False) for w in (width, width, 3)]
        )

    params = draw(model(64), mup(model(16)), VECTORS)

    found = [rms(params[f"layers_{i}"]["kernel"]) for i in range(3)]
    assert found == pytest.approx([0.1, 0.05, 0.025], rel=MEASURED)


def test_laws_are_those_of_the_models_own_init():
    def model(width):
        return nn.Sequential(
            [
                nn.Dense(width, kernel_init=nn.initializers.he_uniform()),
                nn.Dense(width, kernel_init=nn.initializers.orthogonal(2.0)),
                nn.Dense(
                    3,
                    bias_init=nn.initializers.constant(0.5),
                    kernel_init=nn.initializers.constant(0.25),
                ),
            ]
        )

    params = draw(model(32), mup(model(8)), VECTORS)

    uniform = np.asarray(params["layers_0"]["kernel"])
    assert np.abs(uniform).max() / rms(uniform) == pytest.approx(np.sqrt(3), rel=0.05)
    matrix = np.asarray(params["layers_1"]["kernel"])
    np.testing.assert_allclose(matrix.T @ matrix, 4 * np.eye(32), atol=1e-5)
    np.testing.assert_allclose(params["layers_2"]["kernel"], 0.25 / 4, rtol=1e-6)
    assert (params["layers_2"]["bias"] == 0.5).all()


def test_what_does_not_grow_keeps_its_values():
    def model(width):
        return nn.Sequential([nn.Dense(5), nn.Dense(width), nn.Dense(3)])

    params = draw(model(16), mup(model(4)), VECTORS)

    own = jax.jit(model(16).init)(jax.random.key(0), jnp.ones(VECTORS.shape))["params"]
    np.testing.assert_array_equal(
        params["layers_0"]["kernel"], own["layers_0"]["kernel"]
    )
    assert not np.allclose(params["layers_2"]["kernel"], own["layers_2"]["kernel"])


def test_biases_keep_the_deviation_of_the_base():
    def model(width):
        def bias(key, shape, dtype):
            return jax.random.normal(key, shape, dtype) / shape[0]

        return nn.Sequential([nn.Dense(width, bias_init=bias), nn.Dense(3)])

    params = draw(model(64), mup(model(4)), VECTORS)

    assert rms(params["layers_0"]["bias"]) == pytest.approx(1 / 4, rel=0.05)


def test_base_init_with_fans_of_the_base():
    params = draw(MLP(64), mup(MLP(16), base_init=he_normal()), VECTORS)

    # Samples of this size have deviations within 4 / sqrt(2 * size).
    for name, std in [("first", 1 / 2), ("second", np.sqrt(2 / 64)), ("third", None)]:
        kernel = params[name]["kernel"]
        std = std or np.sqrt(2 / 64)
        assert rms(kernel) == pytest.approx(std, rel=4 / np.sqrt(2 * kernel.size))
    assert rms(params["head"]["kernel"]) == pytest.approx(np.sqrt(2 / 16) / 4, rel=0.2)


def test_base_init_without_fans():
    params = draw(MLP(64), mup(MLP(16), base_init=orthogonal()), VECTORS)

    second, head = (np.asarray(params[n]["kernel"]) for n in ("second", "head"))
    np.testing.assert_allclose(second.T @ second, np.eye(64), atol=1e-5)
    # At the base width (16, 3) with entries of 1/4, here a fourth of them.
    np.testing.assert_allclose(head.T @ head, np.eye(3) * 64 / 16**2, atol=1e-5)


@pytest.mark.parametrize(
    ("readout", "std"), [("small", 1 / 16), ("multiplier", 1 / 4), ("zero", 0)]
)
def test_readouts(readout, std):
    params = draw(MLP(64), mup(MLP(16), readout=readout), VECTORS)

    assert rms(params["head"]["kernel"]) == pytest.approx(std, rel=MEASURED)


def test_narrow_layers_inside_are_no_readouts():
    def model(width):
        return nn.Sequential([nn.Dense(n) for n in (width, 2, width, 3)])

    params = draw(model(64), mup(model(16), readout="zero"), VECTORS)

    assert rms(params["layers_1"]["kernel"]) == pytest.approx(1 / 16, rel=MEASURED)
    assert not np.any(params["layers_3"]["kernel"])


def test_tied_table():
    model, base = (GPT(w, tied=True) for w in (64, 16))
    params = draw(model, mup(base, readout="multiplier"), TOKENS)

    assert rms(params["wte"]["embedding"]) == pytest.approx(1 / 4, rel=MEASURED)
    with pytest.raises(ValueError, match=r"wte/embedding.*by 0.25.*got readout='zero'"):
        initialize(model, mup(base, readout="zero"), 0, TOKENS)
    free = override(mup(base), [("wte/embedding", normal(0.5))])
    assert rms(draw(model, free, TOKENS)["wte"]["embedding"]) == pytest.approx(
        0.5, rel=0.1
    )


def test_nnx():
    model = initialize(nnx_mlp(64), mup(nnx_mlp(16)), 0, VECTORS)

    assert rms(model.second.kernel[...]) == pytest.approx(1 / 8, rel=MEASURED)
    assert rms(model.head.kernel[...]) == pytest.approx(1 / 16, rel=MEASURED)


def test_inside_jit_and_vmap_it_is_the_same():
    model, scheme, x = MLP(32), mup(MLP(16)), jnp.ones(VECTORS.shape)
    plain = draw(model, scheme, x, key=jax.random.key(3))

    keys = jnp.stack([jax.random.key(3), jax.random.key(4)])
    mapped = jax.jit(jax.vmap(lambda k: draw(model, mup(MLP(16)), x, key=k)))(keys)

    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(mapped), strict=True):
        np.testing.assert_allclose(a, b[0], rtol=2e-5, atol=1e-7)


def test_explain_names_the_role():
    rows = {row.name: row for row in explain(MLP(64), mup(MLP(16)), VECTORS).rows}

    assert rows["second/kernel"].rule == "muP hidden"
    assert rows["second/kernel"].law == "own, std of the base x 0.5"
    assert rows["head/bias"].rule == "(the model's own)"


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`readout` must be one of small.*got 'big'"):
        mup(MLP(8), readout="big")
    with pytest.raises(TypeError, match="`base` must draw its weights, got a NnxMLP"):
        mup(NnxMLP(8, rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match=r"got the linen class MLP") as error:
        mup(MLP)
    assert "`base`" in error.value.__notes__[-1]
    with pytest.raises(TypeError, match="base_init"):
        mup(MLP(8), base_init=0.02)
    with pytest.raises(ValueError, match=r"readout='zero' is for .* has none"):
        initialize(nn.Dense(8), mup(nn.Dense(4), readout="zero"), 0, VECTORS)
    with pytest.raises(ValueError, match="`base` must be narrower"):
        initialize(MLP(8), mup(MLP(8)), 0, VECTORS)


def test_zeros_stay_zeros_and_ones_stay_ones():
    def model(width):
        return nn.Sequential([nn.Dense(width, kernel_init=zeros, bias_init=ones)])

    params = draw(model(64), mup(model(7)), VECTORS)["layers_0"]

    assert not np.any(params["kernel"])
    assert (params["bias"] == 1).all()


def test_inputs_of_the_base_are_a_tuple_and_streams_have_whole_names():
    with pytest.raises(TypeError, match=r"`base_args` must be a tuple.*\(x,\)"):
        mup(MLP(16), base_args=jnp.ones((2, 8)))
    assert mup(MLP(16), rngs="noise").rngs == ("noise",)


def test_keyword_arguments_of_the_model_are_given_once():
    for kwargs, message in [([1], "must map names"), ({"a": 1}, "must not repeat")]:
        with pytest.raises((TypeError, ValueError), match=f"`model_kwargs` {message}"):
            initialize(MLP(16), zeros, 0, VECTORS, a=1, model_kwargs=kwargs)
