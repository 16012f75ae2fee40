"""Mean squares of gradients, against derivatives written out in float64 NumPy."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinit.models.functional import Functional
from jaxinit.moments.growth import ratio
from jaxinit.moments.predict import predict
from jaxinit.schemes.initialize import prepare

DRAWS = 80
RNG = np.random.default_rng(0)
X = RNG.standard_normal((32, 16))
IMAGES = RNG.standard_normal((32, 6, 6, 8))


class Theory(NamedTuple):
    sizes: list
    second_moments: list


def theory(apply, kernels, x, loss=False):
    """What is predicted at each layer and join, in the order of the program."""
    model = Functional(
        lambda key, x: {k: jax.random.normal(key, v) for k, v in kernels.items()},
        apply,
    )
    x = jnp.asarray(x, jnp.float32)
    network, _ = prepare(model, (jax.ShapeDtypeStruct(x.shape, x.dtype),), {}, ())
    leaves, squares = [], {}
    for p in network.params:
        fan_in = math.prod(p.shape[:-1])
        leaves.append(RNG.standard_normal(p.shape) / fan_in**0.5)
        squares[p.leaf] = {(): 1 / fan_in}
    found = predict(network, squares, leaves, [x], {}, len(x), loss)
    numbers = network.sites.numbers
    return Theory(
        [found.gradients.get(n) for n in numbers],
        [found.second_moments[n][0] for n in numbers],
    )


def agrees(found, samples, slack=0.0):
    """Within 4 standard errors, and a relative ``slack`` for what is wide."""
    samples = np.asarray(samples)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    away = abs(found - samples.mean())
    assert away < 4 * error + slack * abs(found), (found, samples.mean(), error)


def normal(*shape):
    """A kernel of variance one over the fan-in."""
    return RNG.standard_normal(shape) / math.prod(shape[:-1]) ** 0.5


def normed(x, axis):
    """Zero mean and unit variance along an axis; what takes gradients back."""
    std = x.std(axis, keepdims=True)
    y = (x - x.mean(axis, keepdims=True)) / std

    def back(g):
        mean = g.mean(axis, keepdims=True)
        return (g - mean - y * (g * y).mean(axis, keepdims=True)) / std

    return y, back


def norm(x, axis):
    y = x - x.mean(axis, keepdims=True)
    return y * lax.rsqrt(jnp.square(y).mean(axis, keepdims=True))


def test_layer_norm_divides_by_the_mean_square_of_each_row():
    n = 64

    def apply(p, x):
        x = x @ p["a"]
        return norm(x + jax.nn.relu(x @ p["b"]) @ p["c"], -1) @ p["d"]

    shapes = {"a": (16, n), "b": (n, n), "c": (n, n), "d": (n, n)}
    first, inner, branch, join, last = theory(apply, shapes, X).sizes

    found = []
    for _ in range(DRAWS):
        a, b, c, d = (normal(*s) for s in shapes.values())
        x = X @ a
        u = x @ b
        _, back = normed(x + np.maximum(u, 0) @ c, -1)
        joined = back(RNG.standard_normal((32, n)) @ d.T)
        at_u = (joined @ c.T) * (u > 0)
        at_x = joined + at_u @ b.T
        found.append([np.square(g).mean() for g in (at_x, at_u, joined, joined)])
    assert last == {0: 1.0}
    for size, samples in zip(
        (first, inner, branch, join), np.transpose(found), strict=True
    ):
        # Theory is of wide layers: (n-2)/(n-3) of it.
        agrees(size[0], samples, 2 / n)
    assert ratio(join, last) == join[0]


@pytest.mark.parametrize("count", [32, 96])
def test_batch_norm_divides_by_the_variance_over_samples(count):
    n = 64

    def apply(p, x):
        x = jax.nn.relu(norm(x @ p["a"], 0))
        return norm(x @ p["b"], 0) @ p["c"]

    shapes = {"a": (64, n), "b": (n, n), "c": (n, n)}
    x = RNG.standard_normal((count, 64))
    first, second, _ = theory(apply, shapes, x).sizes

    found = []
    for _ in range(DRAWS):
        a, b, c = (normal(*s) for s in shapes.values())
        y, back = normed(x @ a, 0)
        _, back_again = normed(np.maximum(y, 0) @ b, 0)
        at_b = back_again(RNG.standard_normal((count, n)) @ c.T)
        at_a = back((at_b @ b.T) * (y > 0))
        found.append([np.square(g).mean() for g in (at_a, at_b)])
    for size, samples in zip((first, second), np.transpose(found), strict=True):
        agrees(size[0], samples, 0.03)
    # The mean of relu is no variance: 1/2 - 1/(2 pi) is, and not 1/2.
    assert second[0] > 2.8


def test_batch_norm_of_few_samples_or_terms_has_no_law():
    def apply(p, x):
        return norm(x @ p["a"], 0) @ p["b"]

    for x in (X[:8], X):  # 8 samples; 16 terms
        first, last = theory(apply, {"a": (16, 64), "b": (64, 8)}, x).sizes
        assert math.isnan(ratio(first, last))


def test_pools_slices_and_gates():
    def pooled(p, x):
        conv = dict(padding="VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = lax.conv_general_dilated(x, p["a"], (1, 1), **conv)
        four = (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        x = lax.reduce_window(x, 0.0, lax.add, *four) / 4
        x = lax.conv_general_dilated(x, p["b"], (1, 1), **conv)
        x = lax.reduce_window(x, -jnp.inf, lax.max, *four)
        return x.mean((1, 2)) @ p["c"]

    shapes = {"a": (3, 3, 8, 64), "b": (1, 1, 64, 32), "c": (32, 16)}
    first, second, last = theory(pooled, shapes, IMAGES).sizes
    # Of 4 entries an average gives each 1/16, the largest takes all, of one window.
    assert ratio(second, last) == pytest.approx(16 / 32 / 4)
    assert ratio(first, second) == pytest.approx(32 / 64 / 16)

    def gated(p, x):
        one, two = jnp.split(x @ p["a"], 2, -1)
        return (jnp.tanh(one) * two) @ p["b"]

    first, last = theory(gated, {"a": (16, 128), "b": (64, 64)}, X).sizes
    z, w = np.polynomial.hermite_e.hermegauss(80)
    q = np.square(X).mean()
    tanh = np.tanh(q**0.5 * z)
    known = (w * (q * np.square(1 - tanh**2) + tanh**2)).sum() / w.sum()
    assert ratio(first, last) == pytest.approx(known / 2, rel=1e-3)


def test_what_has_no_law_is_a_number_of_its_own():
    def soft(p, x):
        x = jax.nn.relu(x @ p["a"]) @ p["b"]
        return jax.nn.softmax(x, -1) @ p["c"]

    shapes = {"a": (16, 64), "b": (64, 64), "c": (64, 64)}
    first, second, last = theory(soft, shapes, X).sizes
    assert math.isnan(ratio(second, last))
    assert ratio(first, second) == pytest.approx(0.5, rel=1e-3)

    def picked(p, x):
        return jnp.sort(jax.nn.relu(x @ p["a"]), -1)[:, ::2] @ p["b"]

    first, last = theory(picked, {"a": (16, 64), "b": (32, 64)}, X).sizes
    assert math.isnan(ratio(first, last))

    @jax.custom_vjp
    def reversed_(x):
        return x

    reversed_.defvjp(lambda x: (x, None), lambda _, g: (3 * g,))
    own = theory(lambda p, x: reversed_(x @ p["a"]) @ p["b"], shapes, X).sizes
    assert own == [None, None]


def test_rows_of_unknown_size_have_no_law_until_a_norm_makes_them_equal():
    def apply(p, x):
        x = x @ p["a"] + jnp.cumsum(x, 0) @ p["b"]  # rows of growing size
        x = norm(x, -1) @ p["c"]
        return norm(jax.nn.relu(x) + x @ p["d"], -1) @ p["e"]

    shapes = {"a": (16, 64), "b": (16, 64)} | dict.fromkeys("cde", (64, 64))
    *_, join, third, fourth, _, last = theory(apply, shapes, X).sizes
    assert math.isnan(ratio(join, third))
    assert 0 < ratio(third, last) < 2
    assert ratio(fourth, last) > 0


def test_gradients_that_are_alike_do_not_add_up_as_squares():
    # The two ways back carry the same numbers: 4, and not 2.
    def twice(p, x):
        x = x @ p["a"]
        return (x.reshape(32, 8, 8).reshape(32, 64) + x) @ p["b"]

    first, last = theory(twice, {"a": (16, 64), "b": (64, 64)}, X).sizes
    assert math.isnan(ratio(first, last))


def test_a_loss_leaves_what_is_relative_to_one_output():
    def apply(p, x):
        return jax.nn.relu(x @ p["a"]) @ p["b"]

    shapes = {"a": (16, 64), "b": (64, 64)}
    first, last = theory(apply, shapes, X, loss=True).sizes
    assert 0 not in last
    assert ratio(first, last) == pytest.approx(0.5, rel=1e-3)


def test_borders_of_convolutions_are_met_by_fewer_taps():
    def apply(p, x):
        for name in "ab":
            x = lax.conv_general_dilated(
                *(x, p[name], (1, 1), "SAME"),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        return x

    x = np.ones((32, 6, 6, 8)) * RNG.standard_normal((32, 6, 6, 8))
    shapes = {"a": (3, 3, 8, 32), "b": (3, 3, 32, 32)}
    second = theory(apply, shapes, x).second_moments[1]
    taps = np.array([2, 3, 3, 3, 3, 2])
    mean = np.mean(np.convolve(taps, np.ones(3), "same")) / 9
    assert second == pytest.approx(mean**2 * np.square(x).mean(), rel=1e-6)
