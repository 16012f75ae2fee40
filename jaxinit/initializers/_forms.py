"""Arguments of factories in one form, by their annotations.

There is one form for each value: 1, 1.0 and ``np.int64(1)`` are the float 1.0 where a
number is asked for; what is no value of the kind is left to the factory, which knows
what to say.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxinit._typing import Axes, Initializer, Mask, Numbers, Scalar
from jaxinit.initializers._check import (
    as_array,
    as_integer,
    as_number,
    check_flag,
    check_initializer,
    check_integer,
    check_integers,
)
from jaxinit.initializers._dtype import as_dtype

Form = Callable[[str, Any], Any]


def form_of(annotation: Any) -> Form:
    """The function of an argument's name and value that gives its form."""
    return _FORMS.get(annotation, lambda name, value: frozen(value))


def frozen(value: Any) -> Any:
    """What nobody else can change: tuples for lists, copies of arrays."""
    if type(value) in (list, tuple):
        return tuple(frozen(entry) for entry in value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = value.copy()
        value.setflags(write=False)
    return value


def _or_none(form: Form) -> Form:
    return lambda name, value: None if value is None else form(name, value)


def _number(name: str, value: Any) -> Any:
    """A float, or an array of factors in float64."""
    number = as_number(value)
    if number is not None:
        return number
    return _in_float64(frozen(_on_host(value)))


def _numbers(name: str, value: Any) -> Any:
    """A number, or an array of them; integers that no float holds stay integers."""
    number = as_number(value)
    if number is not None:
        whole = as_integer(value)
        return number if whole is None or number == whole else whole
    array = _array(name, value)
    if isinstance(array, np.ndarray) and array.ndim == 0:
        return array.item()
    return _in_float64(array)


def _array(name: str, value: Any) -> Any:
    """An array for nested lists, with the dtype that NumPy gives them."""
    value = _on_host(value)
    if isinstance(value, str) or not isinstance(value, _ARRAYS):
        return value
    return _in_float64(frozen(as_array(name, value)), jnp.integer)


def _on_host(value: Any) -> Any:
    """The NumPy array of a jax array, if its values are known and all here."""
    if not isinstance(value, jax.Array) or isinstance(value, jax.core.Tracer):
        return value
    is_key = jnp.issubdtype(value.dtype, jax.dtypes.extended)
    return np.asarray(value) if value.is_fully_addressable and not is_key else value


_ARRAYS = (Sequence, np.ndarray, np.generic, float, int, complex)


def _mask(name: str, value: Any) -> Any:
    """Booleans for zeros and ones."""
    array = _in_float64(_array(name, value))
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        return array
    return frozen(array != 0) if np.isin(array, [0, 1]).all() else array


def _in_float64(value: Any, kind: type = jnp.number) -> Any:
    """Arrays of real numbers as float64, where that is exact."""
    if not isinstance(value, np.ndarray) or not jnp.issubdtype(value.dtype, kind):
        return value
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        return value
    wide = value.astype(np.float64)
    return frozen(wide) if (wide.astype(value.dtype) == value).all() else value


def _initializer(name: str, value: Any) -> Any:
    check_initializer(name, value)
    return value


def _axes(name: str, value: Any) -> Axes:
    return check_integers(name, value, "Axes are counted from 0, or from -1 backwards.")


def _integer(name: str, value: Any) -> int:
    return check_integer(name, value, "Give a whole number.")


_FORMS: dict[Any, Form] = {
    bool: check_flag,
    int: _integer,
    int | None: _or_none(_integer),
    float: _number,
    float | None: _or_none(_number),
    Scalar: _number,
    Numbers: _numbers,
    ArrayLike: _array,
    Mask: _mask,
    Axes: _axes,
    Axes | None: _or_none(_axes),
    DTypeLike | None: _or_none(as_dtype),
    Initializer: _initializer,
    Initializer | None: _or_none(_initializer),
}
