"""No parameter is passed over in silence: drawn, kept for a reason, or named."""

import warnings

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import jaxinit as ji
from jaxinit import as_stored, changed, override
from jaxinit.schemes import UntouchedWarning

N = jax.random.normal
X = N(jax.random.key(1), (16, 8))


def functional(apply, **shapes):
    def init(key, *_):
        return {name: N(key, shape) for name, shape in shapes.items()}

    return ji.Functional(init, apply)


@jax.custom_vjp
def opaque(w, x):
    return x @ w


opaque.defvjp(lambda w, x: (x @ w, (w, x)), lambda r, g: (r[1].T @ g, g @ r[0].T))


def quantized(w, x):
    """A product of integers of 8 bits."""
    scale = jnp.abs(w).max() / 127
    small = jnp.round(w / scale).astype(jnp.int8)
    return jax.lax.dot(jnp.round(x).astype(jnp.int8), small).astype(x.dtype) * scale


def spectral(p, x):
    y = jnp.fft.rfft(x @ p["w"]) * jnp.fft.rfft(p["k"])
    return jnp.fft.irfft(y, n=16)


def slope(p, x):
    def energy(z):
        return jnp.sum(jnp.tanh(z @ p["w"]) @ p["k"])

    return jax.grad(energy)(x)


HIDDEN = {
    "complex": functional(
        lambda p, x: jnp.abs(x @ (p["k"] + 1j * p["i"])) @ p["w"],
        k=(8, 4),
        i=(8, 4),
        w=(4, 3),
    ),
    "spectral": functional(spectral, w=(8, 16), k=(16,)),
    "integers": functional(
        lambda p, x: quantized(p["k"], x) @ p["w"], k=(8, 16), w=(16, 3)
    ),
    "derivatives": functional(slope, w=(8, 16), k=(16, 1)),
    "no data": functional(lambda p, x: x @ p["w"], w=(8, 3), k=(3, 5)),
}


def taken_or_named(model, scheme):
    """Whether ``k`` is drawn, and whether a warning names it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ji.initialize(model, scheme, 0, X)
    named = [w for w in caught if issubclass(w.category, UntouchedWarning)]
    explained = ji.explain(model, scheme, X)
    return "k" not in explained.unmatched, any("k (" in str(w.message) for w in named)


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_kernel_is_drawn_or_named(name):
    drawn, named = taken_or_named(HIDDEN[name], ji.he_normal())
    assert drawn != named
    assert ("k" in ji.explain(HIDDEN[name], ji.he_normal(), X).untouched) == named


def test_a_kernel_in_a_custom_rule_is_drawn_or_named():
    model = functional(lambda p, x: opaque(p["k"], x) @ p["w"], k=(8, 16), w=(16, 3))
    for scheme in (ji.he_normal(), ji.lsuv(), ji.autoinit()):
        drawn, named = taken_or_named(model, scheme)
        assert drawn != named


def test_the_line_of_the_warning_works():
    model = HIDDEN["no data"]
    with pytest.warns(UntouchedWarning, match="override") as caught:
        ji.initialize(model, ji.he_normal(), 0, X)
    assert "[('k', as_stored(initializer))]" in str(caught[0].message)
    for what in (as_stored(ji.normal(0.5)), changed(lambda old: old)):
        ji.initialize(model, override(ji.he_normal(), [("k", what)]), 0, X)


class Ordinary(nn.Module):
    """Kinds that a scheme for weights keeps, and a tied readout."""

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(11, 8)
        h = embed(tokens) + self.param("positions", nn.initializers.normal(), (5, 8))
        h = nn.PReLU()(nn.Dense(8)(nn.LayerNorm()(h)))
        return embed.attend(h * self.param("gain", nn.initializers.ones, (8,)))


def test_what_is_kept_on_purpose_is_said_and_not_warned_of():
    tokens = jnp.zeros((2, 5), int)
    for scheme in (ji.he_normal(), ji.lsuv()):
        rows = ji.explain(Ordinary(), scheme, tokens).rows
        kept = {row.name: row.kept for row in rows if row.kept}
        assert kept["Embed_0/embedding"] == "a table that is the readout too"
        assert kept["positions"] == "a position"
        assert kept["LayerNorm_0/scale"] == "the scale of a norm"
        assert kept["gain"] == kept["PReLU_0/negative_slope"] == "a gain"
        assert all(row.kept or row.law for row in rows)
    ji.initialize(Ordinary(), ji.he_normal(), 0, tokens)  # warnings are errors


def test_rules_and_schemes_for_the_ends_of_branches_leave_weights_on_purpose():
    model = nn.Sequential([nn.Dense(4), nn.Dense(3)])
    rules = ji.rules([("layers_0/bias", ji.ones)])
    assert not ji.explain(model, rules, X).untouched
    ji.initialize(model, rules, 0, X)


def test_parameters_are_explained_in_the_order_of_data():
    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(12):
                x = nn.Dense(4)(x)
            return x

    names = [row.name for row in ji.explain(Deep(), ji.he_normal(), X).rows]
    assert names[::2] == [f"Dense_{i}/kernel" for i in range(12)]
    assert names[1::2] == [f"Dense_{i}/bias" for i in range(12)]


@pytest.mark.parametrize("around", [lambda f, key: f(key), jax.eval_shape])
def test_the_warning_names_the_users_line(around):
    model, key = HIDDEN["no data"], jax.random.key(0)

    with pytest.warns(UntouchedWarning) as found:
        around(lambda key: ji.initialize(model, ji.lecun_normal(), key, X), key)

    assert [warning.filename for warning in found] == [__file__]
