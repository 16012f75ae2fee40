"""Mean-field values as published, and closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit import theory


def test_edge_of_chaos_of_tanh_over_a_grid():
    # Roots by two-dimensional quadrature; the literature quotes 1.76 at 0.05.
    q = np.array([0.10729236, 0.57004788, 3.03639639])
    var_w, var_b = theory.edge_of_chaos(jnp.tanh, q)

    assert var_w == pytest.approx([1.18918959, 1.76095464, 3.44321091], abs=1e-7)
    assert var_b == pytest.approx([0.001, 0.05, 1.0], abs=1e-7)


def test_edge_of_chaos_of_relu_is_a_point():
    var_w, var_b = theory.edge_of_chaos(jax.nn.relu, [0.5, 1.0, 7.0])

    assert var_w == pytest.approx(2.0)
    assert var_b == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("var_w", "expected"),
    [
        (1.5, (0.41803720, 0.93863627, 1.0, 1.682828, 15.790994)),
        (2.5, (1.06395838, 1.13351570, 0.44680423, 1.179873, 11.795598)),
    ],
)
def test_fixed_points_of_tanh(var_w, expected):
    point = theory.fixed_point(jnp.tanh, var_w, 0.05)

    assert [float(v) for v in point[:5]] == pytest.approx(expected, rel=2e-6)
    assert point.stable


def test_correlation_map_of_relu_is_the_arc_cosine_kernel():
    c = np.array([-1.0, 0.0, 0.5, 0.9])
    expected = (np.sqrt(1 - c**2) + c * (math.pi - np.arccos(c))) / math.pi

    assert theory.c_map(jax.nn.relu, c, 1.0, 2.0, 0.0) == pytest.approx(
        expected, abs=1e-7
    )


def test_phases_of_tanh():
    names = theory.phase(jnp.tanh, [1.0, 1.76, 4.0], 0.05)

    assert list(names) == ["ordered", "critical", "chaotic"]


def test_relu_with_large_weights_has_no_fixed_point():
    assert theory.phase(jax.nn.relu, 3.0, 0.0) == "unstable"


def test_negative_variance_is_refused():
    with pytest.raises(ValueError, match="`var_w` must be 0 or more and finite"):
        theory.q_map(jnp.tanh, 1.0, -1.0, 0.0)


def test_activations_go_by_name_and_with_rules_of_their_own():
    @jax.custom_vjp
    def straight(x):
        return jnp.tanh(x)

    straight.defvjp(lambda x: (straight(x), None), lambda _, g: (g,))

    assert theory.q_map("tanh", 1.0, 1.5, 0.0) == theory.q_map(jnp.tanh, 1.0, 1.5, 0)
    # Training sees the derivative of the rule, which is one.
    assert theory.chi_1(straight, 1.0, 1.5) == pytest.approx(1.5)
    inside = jax.jit(lambda x: x + float(theory.fixed_point("tanh", 1.5, 0.05).q))
    assert float(inside(0.0)) == pytest.approx(0.4180372, abs=1e-6)


def test_a_network_without_signal():
    assert theory.chi_1("tanh", 0.0, 1.5) == pytest.approx(1.5)
    assert theory.q_map("sigmoid", 0.0, 1.0, 0.0) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.q_map("tahn", 1.0, 1.0, 0.0), "`activation` must be one of"),
        (lambda: theory.chi_1(jax.nn.softmax, 1.0, 1.0), "`activation` must be elemen"),
        (lambda: theory.phase(3, 1.0, 0.0), "`activation` must be a name"),
        (lambda: theory.q_map("relu", "a", 1.0, 0.0), "`q` must be a number"),
        (lambda: theory.q_map("relu", 1.0, [[1.0], []], 0.0), "`var_w` must be a num"),
        (lambda: theory.c_map("relu", None, 1.0, 1.0, 0.0), "`c` must be a number"),
        (lambda: theory.fixed_point("relu", True, 0.0), "`var_w` must be a number"),
        (lambda: theory.fixed_point("relu", 1.0, 0.0, start=-1.0), "`start` must be"),
        (lambda: theory.fixed_point("relu", 1.0, 0.0, start="1"), "`start` must be"),
    ],
)
def test_what_an_argument_cannot_be_is_refused_by_name(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
