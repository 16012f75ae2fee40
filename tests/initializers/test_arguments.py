"""Every argument of every factory, given what it cannot be: an error that names it."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from jaxinit._typing import Axes

KEY = jax.random.key(0)
# What stands for the required arguments of a factory.
REQUIRED = {
    "activation": "relu",
    "array": np.ones((4, 4)),
    "base": ji.normal(),
    "bases": (ji.normal(), ji.zeros),
    "bound": 1.0,
    "distribution": "normal",
    "equation": "BD,DF->BF",
    "factor": 2.0,
    "fan_in": 4,
    "frequencies": (1.0, 2.0),
    "high": 1.0,
    "low": 0.5,
    "mask": np.ones((4, 4)),
    "mode": "fan_in",
    "num_gates": 4,
    "num_inputs": 2,
    "probability": 0.1,
    "scale": 1.0,
    "stddev": 1.0,
    "t_max": 10.0,
    "value": 1.0,
}
FACTORIES = {
    name: getattr(ji, name)
    for name in ji.__all__
    if getattr(getattr(ji, name), "makes_initializers", False)
}
# By kind of argument, what it cannot be.
NO_NUMBER = ["no", None, True, [1.0], 1j, {}, np.True_, object(), float("nan")]
NO_SCALE = [*NO_NUMBER, float("inf"), -1.0, np.array([1.0, -1.0]), np.array(["a"])]
NO_INTEGER = ["no", True, 1.5, [1], 1j, np.float32(1), float("nan"), np.array([1])]
NO_AXES = ["no", True, 1.5, None, [1.5], ["a"], {}, 1j, float("inf")]
NO_FLAG = ["no", 1, None, 0.0, [], np.int32(1), jnp.asarray(True)]
NO_DTYPE = ["float31", 3, -1.0, object(), [1, 2], "int32", bool, "float8_e8m0fnu", True]
NO_DTYPE += [np.float32(1), jnp.asarray(1.0)]
NO_CHOICE = ["no", 1, None, ["fan_in"], True, np.array(["relu"]), object(), -1.0]
NO_INIT = ["no", 1.0, None, [ji.zeros], ji.he_normal, int, True]
NO_ARRAY = ["no", None, [None], ["a"], object()]
NO_MASK = ["no", None, 0.5, -1, float("nan"), [[0, 2]], object()]

WRONG = {
    "activation": ["no", 1, None, True, jax.nn.softmax, [], object()],
    "array": NO_ARRAY,
    "bases": ["no", 1.0, None, [1.0], [ji.zeros, None], True, []],
    "block": NO_CHOICE,
    "compute": NO_DTYPE,
    "distribution": NO_CHOICE,
    "eps": [*(x for x in NO_NUMBER if x is not None), 0.0, 0.5, -1.0],
    "equation": ["no", 1, None, ji.zeros, "AB,BC", True],
    "factor": [*NO_NUMBER, float("inf")],
    "floor": [*NO_NUMBER, -1.0, float("inf")],
    "fraction": [*(x for x in NO_NUMBER if x is not None), -0.1, 1.1],
    "frequencies": ["no", None, [], [0.0], [-1.0, 1.0], [float("nan")], [[1.0]], True],
    "gain": [*NO_NUMBER, float("inf"), np.ones(2)],
    "gate": NO_CHOICE,
    "kind": NO_CHOICE,
    "layout": ["io", 1, True, ["f"], ""],
    "lower": [*NO_NUMBER, float("inf"), 2.0, 1j],
    "mask": NO_MASK,
    "mode": NO_CHOICE,
    "part": NO_CHOICE,
    "position": NO_CHOICE,
    "r_max": [*NO_NUMBER, -0.1, 1.1],
    "r_min": [*NO_NUMBER, -0.1, 1.1],
    "sizes": ["no", 1.5, [1.5, 1], [0, 4], True, [-1, 5]],
    "stored": NO_CHOICE,
    "upper": [*NO_NUMBER, float("-inf"), -2.0, 1j],
    "value": [*NO_ARRAY, float("inf"), float("nan"), [1.0, float("nan")]],
    "stride": [*NO_AXES, 0, -1, (0, 1)],
    "groups": [*NO_INTEGER, 0, -1],
    "num_blocks": [*NO_INTEGER, 0, -1],
    "num_gates": [*NO_INTEGER, 0, -1, None],
    "num_inputs": [*NO_INTEGER, 0, -1, None],
    "num_nonzero": [*NO_INTEGER, 0, -1],
    "num_spatial": [*NO_INTEGER, 0, -1, None],
}
# Where numbers of one sign or size alone are allowed.
SIGNED = {"low", "high", "value"}


def wrong_values(factory, parameter):
    """What the parameter cannot be."""
    name, kind = parameter.name, parameter.annotation
    if name == "value" and kind is float:
        return [*NO_NUMBER, float("inf")]
    if name == "factor" and kind is int:
        return [*NO_INTEGER, 0, -1, None]
    if name in WRONG:
        return WRONG[name]
    if kind is bool:
        return NO_FLAG
    if name == "dtype":
        allowed = {"zeros_init", "ones_init", "constant", "from_array"}
        whole = factory.__name__ in allowed
        return [x for x in NO_DTYPE if not (whole and x in ("int32", bool))]
    if kind in (int, int | None):
        return NO_INTEGER
    if kind in (Axes, Axes | None):
        return [x for x in NO_AXES if x is not None or kind == Axes]
    if kind in (ji.Initializer, ji.Initializer | None):
        return [x for x in NO_INIT if x is not None or kind == ji.Initializer]
    if kind is float:
        return [*NO_NUMBER, float("inf"), *([] if name in SIGNED else [-1.0])]
    return NO_SCALE


def cases(chosen=lambda annotation: True):
    """A test for each argument of each factory whose annotation is chosen."""
    found = [
        pytest.param(factory, parameter, id=f"{name}-{parameter.name}")
        for name, factory in FACTORIES.items()
        for parameter in inspect.signature(factory).parameters.values()
        if chosen(parameter.annotation)
    ]
    return pytest.mark.parametrize(("factory", "parameter"), found)


def required(factory):
    """Values for the arguments that have no default."""
    return {
        name: REQUIRED[name]
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is parameter.empty
    }


@cases()
def test_what_an_argument_cannot_be_is_refused_by_name(factory, parameter):
    given = required(factory)
    if factory is ji.blocked and parameter.name in ("num_blocks", "sizes"):
        given["bases"] = ji.normal()

    for value in wrong_values(factory, parameter):
        with pytest.raises((TypeError, ValueError)) as caught:
            factory(**given | {parameter.name: value})
        assert f"`{parameter.name}`" in str(caught.value), (value, str(caught.value))


@cases()
def test_a_traced_argument_works_or_is_refused_by_name(factory, parameter):
    given = required(factory)

    name = f"`{parameter.name}`"

    def build(traced):
        said = name
        try:
            factory(**given | {parameter.name: traced})
        except (TypeError, ValueError) as error:
            said = str(error)
        assert name in said
        return traced

    jax.eval_shape(build, jax.ShapeDtypeStruct((), jnp.float32))


@pytest.mark.parametrize(
    "shape", ["ab", None, 3, 2.5, (2.5, 3), ("a",), (None,), (True,)]
)
def test_what_is_no_shape_is_refused(shape):
    for init in (ji.he_normal(), ji.zeros, ji.stacked(ji.orthogonal())):
        with pytest.raises(TypeError, match="`shape` must be a sequence of integers"):
            init(KEY, shape)


def test_a_key_that_is_none_is_refused_where_it_matters():
    for init in (ji.he_normal(), ji.stacked(ji.orthogonal()), ji.sparse()):
        with pytest.raises(TypeError, match=r"`key` must be a PRNG key .* got None"):
            init(None, (3, 4, 4))
    assert ji.zeros(None, (2,)).sum() == 0


@pytest.mark.parametrize("keys", [jax.random.split(KEY, 3), np.zeros((3, 2), "uint32")])
def test_several_keys_are_refused_with_the_way_to_map_over_them(keys):
    with pytest.raises(ValueError, match=r"`key` must be one PRNG key.*\(3.*jax\.vmap"):
        ji.he_normal()(keys, (2, 2))


def test_python_types_ask_for_no_size():
    for dtype in (float, "float32", jnp.float32):
        assert ji.he_normal(dtype=dtype) == ji.he_normal(dtype=np.float32)
        assert ji.he_normal()(KEY, (2, 2), dtype).dtype == np.float32
    assert ji.normal()(KEY, (2,), complex).dtype == np.complex64
    assert ji.ones(KEY, (2,), int).dtype == np.int32


@pytest.mark.parametrize("dtype", ["float31", 3.0, object(), [1]])
def test_what_is_no_dtype_is_refused_when_called(dtype):
    with pytest.raises(TypeError, match="`dtype` must be a dtype such as"):
        ji.he_normal()(KEY, (2, 2), dtype)


def test_bounds_in_the_place_of_the_dtype():
    for kind in (int, np.float64, jnp.float32, np.array):  # which have a dtype
        with pytest.raises(TypeError, match=r"`dtype`.* got .*by their names"):
            ji.truncated_normal(0.5, kind(-1), kind(1))
        with pytest.raises(TypeError, match="`dtype` must be a dtype"):
            ji.normal()(KEY, (2,), kind(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (2.5, 3)}, "`shape`"),
        ({"shape": (-2, 3)}, "`shape` must not have negative"),
        ({"groups": 1.5}, "`groups`"),
        ({"groups": True}, "`groups`"),
        ({"transpose": "no"}, "`transpose`"),
        ({"stride": 0}, "`stride`"),
        ({"shape": (2, 3, 4), "batch_axis": -2}, "`batch_axis`.* shares an axis"),
        ({"einsum": 3}, "`einsum`"),
    ],
)
def test_fans(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ji.fans(**{"shape": (4, 6)} | arguments)


def test_numbers_of_every_kind():
    one = ji.normal(0.5)(KEY, (2, 3))

    for half in (np.float32(0.5), jnp.bfloat16(0.5), jnp.asarray(0.5), np.array(0.5)):
        np.testing.assert_array_equal(ji.normal(half)(KEY, (2, 3)), one)
        assert ji.critical_init("tanh", half) == ji.critical_init("tanh", 0.5)
    assert ji.sparse(jnp.int32(3)) == ji.sparse(np.array(3)) == ji.sparse(3)
    for shape in ([2, 3], np.array([2, 3]), jnp.array([2, 3]), (np.int8(2), 3)):
        np.testing.assert_array_equal(ji.normal(0.5)(KEY, shape), one)
    assert ji.he_normal(jnp.array([0, 1])) == ji.he_normal([np.int8(0), 1])
    found = ji.fans(np.array([3, 8, 16]), groups=np.int64(2), stride=np.int64(3))
    assert found == ji.fans((3, 8, 16), groups=2, stride=3)
    assert {type(fan) for fan in found} == {float}
    assert ji.embedding(padding_index=np.int64(0)) == ji.embedding(padding_index=0)


def test_arrays_of_factors_broadcast_to_the_samples():
    factors = np.array([1.0, 3.0, 0.0], np.float32)
    alike = [
        (ji.normal, {}),
        (ji.truncated_normal, {"corrected": True}),
        (ji.uniform, {}),
        (ji.symmetric_uniform, {}),
        (ji.orthogonal, {}),
        (lambda x: ji.scale(ji.normal(1.0), x), {}),
    ]

    for make, options in alike:
        given = make(factors, **options)(KEY, (4, 3))
        by_hand = make(1.0, **options)(KEY, (4, 3)) * factors[None]
        np.testing.assert_allclose(given, by_hand, rtol=1e-6, err_msg=str(make))
        with pytest.raises(ValueError, match=r"shape \(3,\), which does not broadcast"):
            make(factors, **options)(KEY, (3, 2))
