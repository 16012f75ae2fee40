"""One number is one value, whatever its kind: for every argument of every factory."""

import inspect
import math

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxinit._typing import Axes, Numbers, Scalar
from tests.initializers.test_arguments import FACTORIES, cases, required

NUMBERS = (float, float | None, Scalar, Numbers)
INTEGERS = (int, int | None, Axes, Axes | None)
# All are exact in every format, and one or another is in the range of every argument.
CANDIDATES = (2.0, 4.0, 1.0, 0.5, 0.25, 0.0625, -2.0, 0.0)


def kinds_of(number):
    """The number in every kind that holds it exactly."""
    floats = [float, np.float64, np.float32, np.float16, ml_dtypes.bfloat16]
    floats += [jnp.bfloat16, ml_dtypes.float8_e4m3fn, np.array, jnp.asarray]
    found = [kind(number) for kind in floats]
    found.append(np.array(number, ml_dtypes.bfloat16))
    return found + (integers_of(int(number)) if number.is_integer() else [])


def integers_of(number):
    kinds = [int, np.int64, np.int8, np.array, jnp.asarray]
    return [kind(number) for kind in kinds]


@cases((*NUMBERS, *INTEGERS).__contains__)
def test_equal_numbers_make_equal_initializers(factory, parameter):
    given = required(factory)
    whole = parameter.annotation in INTEGERS
    allowed = 0
    for number in CANDIDATES:
        if whole and not number.is_integer():
            continue
        kinds = integers_of(int(number)) if whole else kinds_of(number)
        try:
            first = factory(**given | {parameter.name: kinds[0]})
        except ValueError:
            continue  # out of range, or no axis
        allowed += 1
        for value in kinds[1:]:
            other = factory(**given | {parameter.name: value})
            assert other == first, repr(value)
            assert hash(other) == hash(first), repr(value)
            assert repr(other) == repr(first), repr(value)
    # Class frequencies are a sequence.
    assert allowed or parameter.name == "frequencies"


@pytest.mark.parametrize("kind", [float, np.float32, ml_dtypes.bfloat16, jnp.asarray])
def test_zeros_differ_by_their_sign_which_draws_show(kind):
    taking = [
        factory
        for factory in FACTORIES.values()
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.annotation is Numbers and name == "value"
    ]
    assert taking
    for factory in taking:
        minus, plus = factory(kind(-0.0)), factory(kind(0.0))
        assert minus == factory(-0.0) != plus == factory(0)
        assert math.copysign(1, minus(None, ())) == -1
