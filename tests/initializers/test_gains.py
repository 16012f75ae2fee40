"""Gains against independently computed values, closed forms and wrong callables."""

import functools
import math
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.initializers._activations import elementwise
from jaxinit.initializers.gains import calculate_gain, critical_init
from jaxinit.initializers.moments import activation_moments

LEAKY = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)
LAMBDA = 1.0507009873554804934193349852946
ALPHA = 1.6732632423543772848170429916717


# E[phi], E[phi^2]^-1/2, Var[phi]^-1/2, E[phi'^2]^-1/2 and the gradient's growth per
# layer, from adaptive quadrature in another program, error below 1e-10.
REFERENCE = {
    "identity": (0, 1, 1, 1, 1),
    "relu": (0.39894228, 1.41421356, 1.71285855, 1.41421356, 1),
    "leaky_relu": (0.39495286, 1.41414286, 1.70483163, 1.41414286, 1),
    LEAKY: (0.31915382, 1.38675049, 1.54646006, 1.38675049, 1),
    "elu": (0.16052057, 1.24519830, 1.27084342, 1.22342856, 1.03590472),
    "celu": (0.16052057, 1.24519830, 1.27084342, 1.22342856, 1.03590472),
    "selu": (0, 1, 1, 0.96602578, 1.07157499),
    "gelu_exact": (0.28209479, 1.53353044, 1.70092624, 1.48111441, 1.07203160),
    "gelu": (0.28203859, 1.53358052, 1.70091656, 1.48116806, 1.07202396),
    "gelu_tanh": (0.28203859, 1.53358052, 1.70091656, 1.48116806, 1.07202396),
    "silu": (0.20662096, 1.67653247, 1.78718722, 1.62332026, 1.06663424),
    "swish": (0.20662096, 1.67653247, 1.78718722, 1.62332026, 1.06663424),
    "quick_gelu": (0.28233055, 1.53945876, 1.70935859, 1.49145923, 1.06540161),
    "mish": (0.24040389, 1.48684758, 1.59202538, 1.44475523, 1.05911800),
    "hard_swish": (0.16621670, 1.73665721, 1.81387147, 1.67007637, 1.08132327),
    "softplus": (0.80605918, 1.04186684, 1.91912598, 1.84622855, 0.31845898),
    "log_sigmoid": (-0.80605918, 1.04186684, 1.91912598, 1.84622855, 0.31845898),
    "squareplus": (1.10930551, 0.81649658, 1.92649522, 1.85914916, 0.19287692),
    "sigmoid": (0.5, 1.84622855, 4.80131337, 4.72264609, 0.15282701),
    "hard_sigmoid": (0.5, 1.89784042, 6.01503449, 6.00811583, 0.09977984),
    "tanh": (0, 1.59253742, 1.59253742, 1.46741359, 1.17780723),
    "erf": (0, 1.46716695, 1.46716695, 1.32521835, 1.22570000),
    "hard_tanh": (0, 1.39203614, 1.39203614, 1.21028706, 1.32289154),
    "soft_sign": (0, 2.33753336, 2.33753336, 2.09578061, 1.24401037),
    "sin": (0, 1.52086662, 1.52086662, 1.32725060, 1.31303529),
    "squared_relu": (0.5, 0.81649658, 0.89442719, 0.70710678, 1.33333333),
    "relu6": (0.39894228, 1.41421357, 1.71285855, 1.41421356, 1),
}


def assert_matches_reference(activation, expected):
    """All five constants agree to the eight printed digits."""
    mean, gain, variance_gain, backward_gain, growth = expected
    moments = activation_moments(activation)
    got = (
        moments.mean,
        calculate_gain(activation),
        calculate_gain(activation, "variance"),
        calculate_gain(activation, "backward"),
        calculate_gain(activation) ** 2 * moments.derivative_second_moment,
    )
    wanted = (mean, gain, variance_gain, backward_gain, growth)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=5.001e-9)


@pytest.mark.parametrize("activation", REFERENCE)
def test_gains_match_the_reference(activation):
    assert_matches_reference(activation, REFERENCE[activation])


def test_reference_check_notices_the_eighth_digit():
    wrong = (0, 1.59253744, 1.59253742, 1.46741359, 1.17780723)

    with pytest.raises(AssertionError, match="Mismatched elements: 1"):
        assert_matches_reference("tanh", wrong)


def test_name_and_function_agree():
    assert calculate_gain("gelu") == calculate_gain(jax.nn.gelu)
    assert calculate_gain("tanh") == calculate_gain(jnp.tanh)
    assert calculate_gain("leaky_relu") == calculate_gain(jax.nn.leaky_relu)


@pytest.mark.parametrize("slope", [0.01, 0.2, -0.5, 3.0])
def test_leaky_relu_has_its_closed_form(slope):
    leaky = functools.partial(jax.nn.leaky_relu, negative_slope=slope)

    assert calculate_gain(leaky) == pytest.approx(
        math.sqrt(2 / (1 + slope**2)), rel=1e-12
    )


@pytest.mark.parametrize("kink", [0.0, 0.37, -1.2345, 1e-5, 1 / 3])
def test_kinks_anywhere_are_found(kink):
    # E[relu(z - t)^2] = (1 + t^2) Q(t) - t pdf(t), and E[1(z > t)] = Q(t).
    tail = 0.5 * math.erfc(kink / math.sqrt(2))
    density = math.exp(-(kink**2) / 2) / math.sqrt(2 * math.pi)
    second = (1 + kink**2) * tail - kink * density

    moments = activation_moments(lambda x: jax.nn.relu(x - kink))

    assert moments.second_moment == pytest.approx(second, rel=1e-11)
    assert moments.derivative_second_moment == pytest.approx(tail, rel=1e-11)


def test_a_jump_is_found():
    moments = activation_moments(lambda x: jnp.where(x > 0.3, 1.0, 0.0) * x)

    tail = 0.5 * math.erfc(0.3 / math.sqrt(2))
    density = math.exp(-0.045) / math.sqrt(2 * math.pi)
    assert moments.second_moment == pytest.approx(tail + 0.3 * density, rel=1e-11)


@pytest.mark.parametrize("frequency", [1.0, 30.0])
@pytest.mark.parametrize("q", [0.01, 1.0, 4.0])
def test_sine_has_its_closed_form(frequency, q):
    moments = activation_moments(lambda x: jnp.sin(frequency * x), q)

    decay = math.exp(-2 * frequency**2 * q)
    assert moments.second_moment == pytest.approx((1 - decay) / 2, rel=1e-11)
    assert moments.derivative_second_moment == pytest.approx(
        frequency**2 * (1 + decay) / 2, rel=1e-11
    )


@pytest.mark.parametrize("q", [1e-4, 0.5, 1.0, 1e2, 1e4])
def test_erf_has_its_closed_form(q):
    moments = activation_moments("erf", q)

    assert moments.second_moment == pytest.approx(
        2 / math.pi * math.asin(2 * q / (1 + 2 * q)), rel=1e-11
    )
    assert moments.derivative_second_moment == pytest.approx(
        4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-11
    )


def test_selu_is_a_fixed_point_to_all_digits():
    assert calculate_gain("selu") == pytest.approx(1.0, abs=1e-13)
    assert activation_moments(jax.nn.selu).mean == pytest.approx(0.0, abs=1e-13)
    assert LAMBDA * ALPHA == pytest.approx(1.7580993408473766, rel=1e-15)


# sigma with E[phi(sigma z)^2] = 1, from the same other program.
@pytest.mark.parametrize(
    ("name", "sigma"),
    [
        ("relu", 1.41421356),
        ("elu", 1.27796008),
        ("gelu_exact", 1.46801126),
        ("silu", 1.55875993),
        ("mish", 1.45149124),
        ("softplus", 1.08312188),
        ("selu", 1.0),
        ("identity", 1.0),
    ],
)
def test_fixed_point_gains(name, sigma):
    gain = calculate_gain(name, "fixed_point")

    assert gain == pytest.approx(sigma, abs=5.001e-9)
    assert activation_moments(name, gain**2).second_moment == pytest.approx(1, 1e-11)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        ("linear", 1.0),
        (jax.nn.sigmoid, 1.0),
        ("tanh", 5 / 3),
        (jnp.tanh, 5 / 3),
        ("relu", math.sqrt(2)),
        (jax.nn.selu, 0.75),
        (jax.nn.leaky_relu, math.sqrt(2 / 1.0001)),
        (LEAKY, math.sqrt(2 / 1.04)),
    ],
)
def test_torch_table(activation, gain):
    assert calculate_gain(activation, "torch") == pytest.approx(gain, rel=1e-15)


# (sigma_w^2, sigma_b^2) at q = 1, from the same other program.
@pytest.mark.parametrize(
    ("name", "weight", "bias"),
    [
        ("relu", 2, 0),
        ("gelu_exact", 2.19369990, 0.06719167),
        ("gelu", 2.19385882, 0.06718503),
        ("silu", 2.63516866, 0.06247150),
        ("elu", 1.49677744, 0.03466025),
        ("selu", 0.93320580, 0.06679420),
        ("mish", 2.08731768, 0.05581814),
        ("tanh", 2.15330265, 0.15096463),
        ("erf", 1.75620368, 0.18413968),
        ("hard_tanh", 1.46479477, 0.24408013),
        ("sin", 1.76159416, 0.23840584),
        ("soft_sign", 4.39229636, 0.19614818),
    ],
)
def test_critical_points(name, weight, bias):
    sigma_w, sigma_b = critical_init(name)

    np.testing.assert_allclose(
        (sigma_w**2, sigma_b**2), (weight, bias), rtol=0, atol=5.001e-9
    )


# The edge of chaos in the literature: (sigma_b^2, q*, sigma_w^2).
@pytest.mark.parametrize(
    ("name", "bias", "q", "weight"),
    [
        ("tanh", 0.001, 0.10729236, 1.18918959),
        ("tanh", 0.01, 0.27330091, 1.42420529),
        ("tanh", 0.05, 0.57004788, 1.76095464),
        ("tanh", 0.1, 0.80579918, 1.98607264),
        ("tanh", 0.2, 1.16449629, 2.28515247),
        ("tanh", 0.5, 1.97103061, 2.84316746),
        ("tanh", 1.0, 3.03639639, 3.44321091),
        ("erf", 0.001, 0.10248071, 0.93258313),
        ("erf", 0.01, 0.25320966, 1.11428006),
        ("erf", 0.05, 0.51717684, 1.37583901),
        ("erf", 0.1, 0.72635923, 1.55211786),
        ("erf", 0.2, 1.04593315, 1.78817977),
        ("erf", 0.5, 1.77206093, 2.23365963),
        ("erf", 1.0, 2.74489093, 2.71838135),
    ],
)
def test_critical_points_elsewhere_on_the_edge(name, bias, q, weight):
    sigma_w, sigma_b = critical_init(name, q)

    # q is printed with 8 digits, so the others are good to a few units of the 8th.
    np.testing.assert_allclose((sigma_w**2, sigma_b**2), (weight, bias), atol=3e-8)


def test_a_gated_or_normalizing_function_is_refused():
    for function, name in [
        (jax.nn.softmax, "softmax"),
        (jax.nn.log_softmax, "log_softmax"),
        (jax.nn.standardize, "standardize"),
        (jax.nn.glu, "glu"),
        (jnp.cumsum, "cumsum"),
        (functools.partial(jax.nn.softmax, axis=1), "softmax"),
        (lambda x: x / jnp.maximum(1.0, jnp.max(jnp.abs(x))), "lambda"),
        (lambda x: jnp.concatenate([x, -x]), "lambda"),
        (lambda x: x * jnp.arange(x.size), "lambda"),
    ]:
        with pytest.raises(ValueError, match=f"must be elementwise, got .*{name}"):
            calculate_gain(function)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: x > 0, "bool"),
        (lambda x: (x, x), r"float64\[2560\] to \("),
        (lambda x: x + 1j, "complex128"),
        (np.tanh, "got tanh, which fails"),
        (math.tanh, "fails on a float64 vector"),
        (lambda x, key: x, "key"),
    ],
)
def test_what_is_no_function_from_floats_to_floats_is_refused(function, why):
    with pytest.raises(ValueError, match=f"must be elementwise.*{why}"):
        calculate_gain(function)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"`activation` must be one of .*got 'rleu'"):
        calculate_gain("rleu")
    with pytest.raises(TypeError, match=r"`activation` must be a name.*got 3.0"):
        calculate_gain(3.0)
    with pytest.raises(ValueError, match=r"`kind` must be one of .*got 'forward'"):
        calculate_gain("relu", "forward")
    with pytest.raises(ValueError, match=r"`q` must be in \(0, inf\), got -1"):
        critical_init("tanh", -1.0)
    with pytest.raises(TypeError, match=r"`q` must be a number, got '1'"):
        critical_init("tanh", "1")
    with pytest.raises(ValueError, match=r"for kind 'torch', got gelu"):
        calculate_gain("gelu", "torch")


@pytest.mark.parametrize(
    ("width", "height"), [(1e-3, 100.0), (1e-6, 1e4), (1e-10, 1e5)]
)
def test_a_spike_between_the_nodes_is_seen(width, height):
    low, high = 0.3137, 0.3137 + width
    probability = width * math.exp(-(low**2) / 2) / math.sqrt(2 * math.pi)
    # E[relu^2] + height^2 P + 2 height E[z in the spike], all but for its middle.
    moment = 0.5 + probability * (height**2 + 2 * height * low)

    gain = calculate_gain(
        lambda x: jax.nn.relu(x) + height * ((x > low) & (x < high)).astype(x.dtype)
    )

    assert gain == pytest.approx(1 / math.sqrt(moment), rel=max(width, 1e-6))


def test_a_smooth_spike_is_seen():
    def bump(x):
        return jax.nn.relu(x) + 1e3 * jnp.exp(-(((2 * x - 0.7) / 1e-6) ** 2))

    density = math.exp(-(0.35**2) / 2) / math.sqrt(2 * math.pi)
    # The integrals of the bump and of its square: widths 1e-6/2 and that over sqrt(2).
    first = 1e3 * density * math.sqrt(math.pi) * 5e-7
    second = 1e6 * density * math.sqrt(math.pi / 2) * 5e-7
    moment = 0.5 + second + 2 * 0.35 * first

    assert calculate_gain(bump) == pytest.approx(moment**-0.5, rel=1e-9)


@pytest.mark.parametrize(
    ("function", "points"),
    [
        (lambda x: x, ()),
        (jax.nn.relu, (0.0,)),
        (jax.nn.hard_tanh, (-1.0, 0.0, 1.0)),
        (lambda x: jnp.where(3 - 2 * x > 4, x, 0), (-0.5, 0.0)),
        (lambda x: jnp.abs(x - 0.25) * jnp.maximum(0.5, x / 4), (0.25, 2.0)),
        (lambda x: jnp.sin(-x + jnp.float32(0.5)), (0.5,)),
        (lambda x: jax.jit(lambda y: jnp.exp(y - 1))(x + 3), (-2.0,)),
        (lambda x: jax.lax.cond(True, jnp.sin, jnp.cos, x * 2), (0.0,)),
    ],
)
def test_where_a_program_turns(function, points):
    assert elementwise(function).turning_points() == points


@pytest.mark.parametrize(
    ("name", "param", "function"),
    [
        ("LeakyReLU", 0.2, LEAKY),
        ("leaky_relu", 0.2, LEAKY),
        ("prelu", None, functools.partial(jax.nn.leaky_relu, negative_slope=0.25)),
        ("ELU", 0.5, functools.partial(jax.nn.elu, alpha=0.5)),
        ("softplus", 2.0, lambda x: jax.nn.softplus(2 * x) / 2),
        ("Hardswish", None, jax.nn.hard_swish),
        ("softsign", None, jax.nn.soft_sign),
        ("tanhshrink", None, lambda x: x - jnp.tanh(x)),
        ("conv2d", None, jax.nn.identity),
    ],
)
def test_names_of_other_libraries_with_their_parameter(name, param, function):
    expected = calculate_gain(function)

    assert calculate_gain(name, param=param) == pytest.approx(expected, rel=1e-9)


def test_the_parameter_in_the_place_of_the_kind():
    with pytest.raises(TypeError, match=r"calculate_gain\('leaky_relu', param=0.2\)"):
        calculate_gain("leaky_relu", 0.2)
    with pytest.raises(ValueError, match=r"`param` is for .* 'relu', which has none"):
        calculate_gain("relu", param=0.2)
    with pytest.raises(ValueError, match="`param` goes with the name"):
        calculate_gain(jnp.tanh, param=1.0)
    assert calculate_gain("leaky_relu", "torch", param=0.2) == math.sqrt(2 / 1.04)


def test_gains_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"zero value, got <lambda>"):
        calculate_gain(lambda x: 0.0 * x)
    with pytest.raises(ValueError, match=r"zero variance, got <lambda>"):
        calculate_gain(lambda x: 0.0 * x + 1.7, "variance")
    with pytest.raises(ValueError, match=r"zero derivative, got sign"):
        calculate_gain(jnp.sign, "backward")
    with pytest.raises(ValueError, match=r"zero derivative, got sign"):
        critical_init(jnp.sign)
    with pytest.raises(ValueError, match=r"kind 'fixed_point', got tanh.*below 1"):
        calculate_gain("tanh", "fixed_point")
    with pytest.raises(ValueError, match=r"no edge of chaos at q = 1, got softplus"):
        critical_init("softplus")
    with pytest.raises(ValueError, match=r"finite E\[phi\(u\)\^2\].*not finite at z"):
        calculate_gain(lambda x: 1 / jnp.where(x > 1, 0.0, 1.0))
    with pytest.raises(ValueError, match=r"grows too fast"):
        calculate_gain(lambda x: jnp.exp(x**2 / 4))
    with pytest.raises(ValueError, match=r"near z = .* does not converge"):
        calculate_gain(lambda x: jnp.sign(x) * jnp.sqrt(jnp.abs(x)), "backward")


def test_a_function_without_a_finite_slope_still_has_a_second_moment():
    root = calculate_gain(lambda x: jnp.sign(x) * jnp.sqrt(jnp.abs(x)))

    assert root == pytest.approx((2 / math.pi) ** -0.25, rel=1e-10)  # E|z|^-1/2


def test_a_function_that_rounds_to_float32_is_good_to_six_digits():
    gain = calculate_gain(lambda x: jnp.tanh(x.astype(jnp.float32)))

    assert gain == pytest.approx(1.59253742, rel=1e-6)


def test_a_custom_derivative_counts():
    @jax.custom_vjp
    def straight_through(x):
        return jnp.sign(x)

    straight_through.defvjp(lambda x: (jnp.sign(x), None), lambda _, g: (2.0 * g,))

    assert calculate_gain(straight_through, "backward") == pytest.approx(0.5, 1e-12)


def test_gains_are_float64_inside_jit_grad_and_vmap():
    def traced(x):
        return x * calculate_gain(lambda u: jnp.tanh(0.9 * u))

    expected = activation_moments(lambda u: jnp.tanh(0.9 * u)).second_moment ** -0.5
    for result in (
        jax.jit(traced)(1.0),
        jax.grad(traced)(1.0),
        jax.vmap(traced)(jnp.ones(2))[1],
    ):
        assert float(result) == pytest.approx(expected, rel=1e-7)
    found = []
    jax.eval_shape(lambda x: (found.append(calculate_gain("elu")), x), 1.0)
    assert found[0] == pytest.approx(1.24519830, abs=5.001e-9)


def test_a_function_of_a_traced_value_is_refused():
    def traced(slope):
        return calculate_gain(lambda x: jnp.where(x > 0, x, slope * x))

    with pytest.raises(ValueError, match="must be elementwise, got <lambda>"):
        jax.jit(traced)(0.1)


def test_settings_of_the_caller_are_left_alone_in_every_thread():
    dtypes, gains = set(), []

    def watch(stop):
        while not stop.is_set():
            dtypes.add(str(jnp.asarray(1.0).dtype))

    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(stop,))
    watcher.start()
    workers = [
        threading.Thread(
            target=lambda c=c: gains.append(
                calculate_gain(lambda x: jnp.tanh(x + 0.01 * c))
            )
        )
        for c in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    watcher.join()

    assert dtypes == {"float32"}
    assert not jax.config.jax_enable_x64
    expected = [
        activation_moments(lambda x, c=c: jnp.tanh(x + 0.01 * c)).second_moment ** -0.5
        for c in range(4)
    ]
    np.testing.assert_allclose(sorted(gains), sorted(expected), rtol=1e-12)


def test_gains_work_under_strict_promotion_and_on_a_mesh():
    slope = jnp.float32(0.25)  # a captured array meets float64 points
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))

    with jax.numpy_dtype_promotion("strict"), jax.set_mesh(mesh):
        gain = calculate_gain(lambda x: jnp.where(x > 0, x, slope * x))

    assert gain == pytest.approx(math.sqrt(2 / 1.0625), rel=1e-12)


def test_equal_functions_are_computed_once():
    calls = []

    def counted(x, slope):
        calls.append(slope)
        return jnp.where(x > 0, x, slope * x)

    first = calculate_gain(functools.partial(counted, slope=0.3))
    traces = len(calls)
    second = calculate_gain(functools.partial(counted, slope=0.3))

    assert first == second
    assert len(calls) == traces
    assert calculate_gain(functools.partial(counted, slope=0.4)) != first


class Unhashable:
    """A callable that no cache can hold."""

    __hash__ = None

    def __call__(self, x):
        return jax.nn.relu(x)


def test_an_unhashable_callable_works():
    assert calculate_gain(Unhashable()) == pytest.approx(math.sqrt(2), rel=1e-12)
