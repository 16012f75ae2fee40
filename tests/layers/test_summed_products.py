"""Factors whose products with data are summed at once: weights, like those of ``@``."""

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from jaxinit.schemes.initialize import prepare

X = jax.random.normal(jax.random.key(0), (16, 6, 8))


def init(key, x):
    keys = jax.random.split(key, 4)
    shapes = {"first": (8, 12), "a": (12, 5), "v": (12,), "out": (12, 3)}
    made = zip(keys, shapes.items(), strict=True)
    return {name: jax.random.normal(k, shape) for k, (name, shape) in made}


def model(rest):
    return jaxinit.Functional(
        init, lambda p, x: rest(p, jax.nn.relu(x @ p["first"])), name="Net"
    )


def read(rest, name):
    network, _ = prepare(model(rest), (X,), {}, ())
    (parameter,) = (p for p in network.params if p.name == name)
    rows = [e for e in network.sites.events if parameter.leaf in e.params]
    return parameter, rows


def rms(h):
    return h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + 1e-6)


def in_bfloat16(p, h):
    a = p["a"].astype(jnp.bfloat16)
    return (h.astype(jnp.bfloat16)[..., None] * a).sum(-2)


SAME_AS_A_PRODUCT = {
    "sum": ("a", lambda p, h: (h[..., None] * p["a"]).sum(-2)),
    "mean": ("a", lambda p, h: (p["a"] * h[..., None]).mean(-2)),
    "half precision": ("a", in_bfloat16),
    "probabilities": ("a", lambda p, h: (jax.nn.softmax(h)[..., None] * p["a"]).sum(2)),
    "vector": ("v", lambda p, h: (h * p["v"]).sum(-1)),
    "and over positions": ("v", lambda p, h: (h * p["v"]).sum((1, 2))),
}


@pytest.mark.parametrize("form", SAME_AS_A_PRODUCT)
def test_it_is_read_as_the_product_that_it_is(form):
    name, rest = SAME_AS_A_PRODUCT[form]
    found, rows = read(rest, name)
    expected, plain = read(lambda p, h: h @ p[name], name)

    assert (found.use, found.roles) == (expected.use, expected.roles)
    if form not in ("and over positions",):
        assert [(e.shape, e.channels) for e in rows] == [
            (e.shape, e.channels) for e in plain
        ]


def test_what_varies_with_the_factor_and_is_not_summed_numbers_kernels():
    """As in a graph attention: each head has a vector of its own."""

    def heads(p, h):
        taps = jnp.stack([h, h * h, h + 1, h - 1, -h], -1)
        return (taps * p["a"]).sum(-1)

    found, (row,) = read(heads, "a")

    assert (found.use.fan_in, found.use.fan_out) == (5, 1)
    assert (found.use.in_axis, found.use.batch_axis) == ((1,), (0,))
    assert (row.shape, row.channels) == ((16, 6, 12), (2,))


def test_schemes_draw_it_with_its_fan():
    def rest(p, h):
        return (h[..., None] * p["a"]).sum(-2)

    for scheme in (jaxinit.he_normal(), jaxinit.autoinit()):
        rows = {r.name: r for r in jaxinit.explain(model(rest), scheme, X).rows}
        # Behind a relu AutoInit's variance is He's, too.
        assert (rows["a"].fan_in, rows["a"].fan_out) == (12, 5)
        assert rows["a"].std == pytest.approx((2 / 12) ** 0.5, rel=0.35)


STILL_GAINS = {
    "pool over positions": (lambda p, h: (h * p["v"]).mean(1), "gain"),
    "pool of a norm": (lambda p, h: (rms(h) * p["v"]).mean(1), "norm_scale"),
    "features of a norm": (lambda p, h: (rms(h) * p["v"]).mean(-1), "norm_scale"),
    "mean taken off": (
        lambda p, h: (h * p["v"] - (h * p["v"]).mean(-1, keepdims=True)) @ p["out"],
        "gain",
    ),
    "used besides": (
        lambda p, h: (lambda z: z - z.mean(-1, keepdims=True))(h * p["v"]) @ p["out"],
        "gain",
    ),
    "nonlinear": (lambda p, h: jnp.tanh(h * p["v"]).sum(-1), "gain"),
}


@pytest.mark.parametrize("form", STILL_GAINS)
def test_other_factors_are_gains(form):
    rest, role = STILL_GAINS[form]
    found, _ = read(rest, "v")

    assert found.roles == {role}
    assert found.use is None


PRODUCTS = {
    "einsum": lambda p, h: jnp.einsum("h,blh->blh", p["v"], h),
    "vmap": lambda p, h: jax.vmap(jnp.multiply, (0, -1), -1)(p["v"], h),
    "scalar": lambda p, h: jnp.dot(h, p["v"][0]),
}


@pytest.mark.parametrize("form", PRODUCTS)
def test_a_product_without_a_sum_is_a_gain(form):
    """As the skip weight ``D`` of a state-space model, ``y + D * u``."""
    skip = PRODUCTS[form]

    def rest(p, h):
        return (jnp.cumsum(h, 1) + skip(p, h)) @ p["out"]

    found, _ = read(rest, "v")
    rows = jaxinit.explain(model(rest), jaxinit.he_normal(), X).rows

    assert found.roles == {"gain"}
    assert {r.name: r.kept for r in rows}["v"] == "a gain"


def test_the_scale_of_a_norm_by_einsum():
    found, _ = read(lambda p, h: jnp.einsum("h,blh->blh", p["v"], rms(h)), "v")

    assert found.roles == {"norm_scale"}
