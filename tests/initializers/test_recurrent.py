"""Gate biases and kernels, in the real cells of linen and nnx."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxinit.initializers as ji
from tests.initializers.checks import assert_law, assert_orthogonal, assert_same

KEY = jax.random.key(15)


def gates(fused, num_gates):
    return np.split(np.asarray(fused), num_gates, axis=-1)


def test_forget_gate_bias_by_layout():
    b = ji.forget_gate_bias(2.0, layout="ifgo")(KEY, (12,))
    np.testing.assert_array_equal(b, [0] * 3 + [2] * 3 + [0] * 6)

    b = ji.forget_gate_bias(layout="rzn")(KEY, (6,))
    np.testing.assert_array_equal(b, [0, 0, 1, 1, 0, 0])

    np.testing.assert_array_equal(ji.forget_gate_bias()(KEY, (3,)), np.ones(3))


def test_chrono_covers_the_time_scales_evenly():
    b = ji.chrono(200.0)(KEY, (8192,))

    gate = 1 / (1 + np.exp(-np.asarray(b, np.float64)))
    assert gate.min() >= 0.5
    assert gate.max() <= 1 - 1 / 200
    scales = 1 / (1 - gate)  # 1 + u, u ~ U[1, 199]
    assert_law(jnp.asarray(scales), stats.uniform(2, 198).cdf)
    stderr = 198 / math.sqrt(12 * 8192)
    assert abs(scales.mean() - (1 + 200 / 2)) < 5 * stderr


def test_uniform_gates_are_uniform():
    b = ji.uniform_gate()(KEY, (512,))
    assert_law(jax.nn.sigmoid(b), stats.uniform(1 / 512, 1 - 2 / 512).cdf)

    b = ji.uniform_gate(0.2)(KEY, (512,))
    assert_law(jax.nn.sigmoid(b), stats.uniform(0.2, 0.6).cdf)


@pytest.mark.parametrize("make", [lambda **k: ji.chrono(50.0, **k), ji.uniform_gate])
def test_input_gates_mirror_forget_gates(make):
    i, f, g, o = gates(make(layout="ifgo")(KEY, (32,)), 4)

    np.testing.assert_array_equal(i, -f)
    np.testing.assert_array_equal(f, make()(KEY, (8,)))
    np.testing.assert_array_equal([g, o], np.zeros((2, 8)))
    # Parameters of one gate each, with the same key.
    assert_same(make(gate="input")(KEY, (8,)), -make(gate="forget")(KEY, (8,)))


def remembered(cell, carry, steps):
    """The share of a cell state that is left after steps of zero input."""
    x = jnp.zeros((1, 3))
    for _ in range(steps):
        carry, _ = cell(carry, x)
    return np.asarray(carry[0])


def test_chrono_in_nnx_lstm_remembers_for_its_time_scales():
    cell = nnx.OptimizedLSTMCell(
        3,
        16,
        kernel_init=nnx.initializers.zeros,
        recurrent_kernel_init=nnx.initializers.zeros,
        bias_init=ji.chrono(64.0, layout="ifgo"),
        rngs=nnx.Rngs(0),
    )
    assert cell.dense_h.bias[...].shape == (64,)

    left = remembered(cell, (jnp.ones((1, 16)), jnp.zeros((1, 16))), 1)

    i, f, g, o = gates(cell.dense_h.bias[...], 4)
    # The candidate is tanh(0) = 0, so a step multiplies the state by the forget gate.
    np.testing.assert_allclose(left[0], jax.nn.sigmoid(f), rtol=1e-6)
    np.testing.assert_array_equal(i, -f)
    np.testing.assert_array_equal([g, o], np.zeros((2, 16)))


def test_chrono_in_nnx_gru_keeps_the_state():
    cell = nnx.GRUCell(
        3,
        16,
        kernel_init=nnx.initializers.zeros,
        recurrent_kernel_init=nnx.initializers.zeros,
        bias_init=ji.chrono(64.0, layout="rzn"),
        rngs=nnx.Rngs(0),
    )
    _, z, _ = gates(cell.dense_i.bias[...], 3)

    carry, _ = cell(jnp.ones((1, 16)), jnp.zeros((1, 3)))

    np.testing.assert_allclose(carry[0], jax.nn.sigmoid(z), rtol=1e-6)
    assert (z >= 0).all()
    assert (z > 0).any()


def test_linen_lstm_has_a_bias_for_each_gate():
    x, cell = jnp.zeros((1, 3)), nn.OptimizedLSTMCell(8)
    carry = cell.initialize_carry(KEY, x.shape)
    params = cell.init(KEY, carry, x)["params"]

    # A path rule on the forget gate, since `bias_init` would reach all four.
    params["hf"]["bias"] = ji.forget_gate_bias()(KEY, params["hf"]["bias"].shape)

    (state, _), _ = cell.apply(
        {"params": jax.tree.map(jnp.zeros_like, params) | {"hf": params["hf"]}},
        (jnp.ones((1, 8)), jnp.zeros((1, 8))),
        x,
    )
    np.testing.assert_allclose(state, jax.nn.sigmoid(jnp.ones((1, 8))), rtol=1e-6)


@pytest.mark.parametrize(
    ("cell", "num_gates"), [(nnx.OptimizedLSTMCell, 4), (nnx.GRUCell, 3)]
)
def test_fused_recurrent_kernels_are_orthogonal_by_gate(cell, num_gates):
    init = ji.orthogonal_gates(num_gates)
    mine = cell(3, 32, recurrent_kernel_init=init, rngs=nnx.Rngs(0))
    default = cell(3, 32, rngs=nnx.Rngs(0))

    for gate in gates(mine.dense_h.kernel[...], num_gates):
        assert_orthogonal(jnp.asarray(gate))
    # What the cells' own default gives, for which this is the cure.
    values = np.linalg.svd(
        gates(default.dense_h.kernel[...], num_gates)[0], compute_uv=False
    )
    assert values.min() < 0.1


@pytest.mark.parametrize(
    ("cell", "names"), [(nn.OptimizedLSTMCell, "hi hf hg ho"), (nn.GRUCell, "hr hz hn")]
)
def test_linen_recurrent_kernels_are_orthogonal_already(cell, names):
    x, module = jnp.zeros((1, 3)), cell(16, recurrent_kernel_init=ji.orthogonal())
    params = module.init(KEY, module.initialize_carry(KEY, x.shape), x)["params"]

    for name in names.split():
        assert_orthogonal(params[name]["kernel"])


def test_irnn_accumulates_its_input():
    init = ji.irnn()
    cell = nnx.SimpleCell(
        2,
        8,
        activation_fn=jax.nn.relu,
        kernel_init=init.kernel,
        recurrent_kernel_init=init.recurrent,
        bias_init=init.bias,
        rngs=nnx.Rngs(0),
    )
    state = jnp.arange(8.0)[None]

    carry, _ = cell(state, jnp.zeros((1, 2)))

    np.testing.assert_array_equal(carry, state)
    w = init.kernel(KEY, (256, 256))
    assert stats.kstest(np.asarray(w).ravel() / 1e-3, "norm").pvalue > 1e-6
    short = ji.irnn(gain=0.01).recurrent(KEY, (3, 3))
    np.testing.assert_allclose(short, 0.01 * jnp.eye(3), rtol=1e-6)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`t_max` must be in \(2, inf\), got 2"):
        ji.chrono(2.0)
    with pytest.raises(ValueError, match=r"`eps` must be in \(0, 0.5\), got 0.5"):
        ji.uniform_gate(0.5)
    with pytest.raises(ValueError, match=r"`layout` .* got 'io'"):
        ji.chrono(9.0, layout="io")
    with pytest.raises(ValueError, match=r"`layout` .* got 4"):
        ji.chrono(9.0, layout=4)
    with pytest.raises(ValueError, match=r"`gate` .* got 'output'"):
        ji.chrono(9.0, gate="output")
    with pytest.raises(ValueError, match=r"'ifgo' has 4 gates.* the shape \(6,\)"):
        ji.forget_gate_bias(layout="ifgo")(KEY, (6,))
    with pytest.raises(ValueError, match=r"`eps` must be given for fewer than 3"):
        ji.uniform_gate()(KEY, (2,))
    with pytest.raises(TypeError, match=r"`num_gates` must be an integer, got None"):
        ji.orthogonal_gates(None)
