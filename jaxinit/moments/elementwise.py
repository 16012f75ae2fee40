"""Functions of entries at one place, on the nodes of their variables."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxinit.moments.combine import combined, plus
from jaxinit.moments.law import Law
from jaxinit.moments.shares import is_share, share
from jaxinit.program import primitives, versions


def elementwise(equation: versions.Equation, laws: Sequence[Law]) -> Law:
    """The law of an elementwise function of entries."""
    name = equation.primitive.name
    if name in ("add", "add_any", "sub"):
        return plus(laws[0], laws[1], -1.0 if name == "sub" else 1.0)
    if name == "div" and is_share(*laws):
        return share(*laws)
    if name == "convert_element_type" and primitives.is_float(equation.outvars[0].aval):
        if primitives.is_float(equation.invars[0].aval):
            return laws[0]

    def function(*arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return evaluate(equation, arrays)

    return combined(function, laws)


def evaluate(equation: versions.Equation, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """In float64, where the program has any real format."""
    name, params = equation.primitive.name, equation.params
    out = equation.outvars[0].aval
    arrays = [_wide(a) if primitives.is_float(a) else a for a in arrays]
    real = [np.issubdtype(array.dtype, np.floating) for array in arrays]
    if name == "select_n":
        which, *cases = arrays
        which = which.astype(np.int64)
        return np.choose(which, np.broadcast_arrays(*map(_wide, cases)))
    if name == "convert_element_type":
        return _wide(
            arrays[0].astype(np.float64 if primitives.is_float(out) else out.dtype)
        )
    if name == "bitcast_convert_type":
        stored = arrays[0].astype(equation.invars[0].aval.dtype)
        return _wide(np.array(stored).view(out.dtype))
    if name == "integer_pow" and all(real):
        return np.asarray(arrays[0] ** float(params["y"]))
    if name in _COMPARED or (name in _REAL and all(real)):
        return np.asarray({**_COMPARED, **_REAL}[name](*arrays))
    same = np.broadcast_arrays(*arrays)
    fed = [
        np.array(a) if is_real else a.astype(var.aval.dtype)
        for a, is_real, var in zip(same, real, equation.invars, strict=True)
    ]
    bound = equation.primitive.get_bind_params(params)
    return _wide(np.asarray(equation.primitive.bind(*fed, **bound)))


def _wide(array: np.ndarray) -> np.ndarray:
    if np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_:
        return array
    return array.astype(np.float64)


_Ufunc = Callable[..., Any]
_COMPARED: dict[str, _Ufunc] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_REAL: dict[str, _Ufunc] = {
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "square": np.square,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "sin": np.sin,
    "cos": np.cos,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "atan": np.arctan,
    "sign": np.sign,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "erfc": np.vectorize(math.erfc, otypes=[np.float64]),
    "clamp": lambda low, x, high: np.clip(x, low, high),
}
