"""What is known of the primitives that programs are made of."""

from typing import Any

import numpy as np

from jaxinit.program import versions

LAYOUT = frozenset(
    "broadcast_in_dim convert_element_type copy copy_p dynamic_slice expand_dims "
    "optimization_barrier reduce_precision reshape rev sharding_constraint slice "
    "squeeze stop_gradient transpose name pvary pcast reshard".split()
)
KEEPS_ELEMENTS = LAYOUT - {"broadcast_in_dim", "dynamic_slice", "slice"}
LINEAR = frozenset("convert_element_type copy mul div neg add sub dropout".split())
ELEMENTWISE = frozenset(
    "abs add add_any and asin asinh acos acosh atan atan2 atanh cbrt ceil clamp "
    "complex conj convert_element_type copy copy_p cos cosh digamma div eq erf "
    "erf_inv erfc exp exp2 expm1 floor ge gt imag integer_pow is_finite le lgamma "
    "log log1p logistic lt max min mul ne neg nextafter not or pow real "
    "reduce_precision rem round rsqrt select_n sign sin sinh sqrt square "
    "stop_gradient sub tan tanh xor".split()
)
)
REDUCTIONS = frozenset(
    "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax "
    "argmin".split()
)


def is_random(name: str) -> bool:
    """Whether a primitive derives random keys or draws from them.

    What it gives is neither data nor parameter, whatever the key was made from.
    """
    return name.startswith(("random_", "rng_")) or name == "threefry2x32"


def is_sum_over_devices(name: str) -> bool:
    """Whether a primitive adds up the devices' parts of a value."""
    return name.startswith(("psum", "reduce_scatter")) or name == "all_reduce"


def is_float(aval: Any) -> bool:
    """Whether values are floating point, jax's own narrow formats included."""
    dtype = getattr(aval, "dtype", None)
    if dtype is None or not hasattr(aval, "shape"):
        return False
    if str(dtype).startswith(("bfloat16", "float8")):
        return True
    return isinstance(dtype, np.dtype) and np.issubdtype(dtype, np.inexact)


def has_float_result(equation: versions.Equation) -> bool:
    return any(is_float(v.aval) for v in equation.outvars)


def is_elementwise(program: versions.Program) -> bool:
    """Whether each equation of ``program`` works on its elements one by one."""
    for equation in program.jaxpr.eqns:
        name = equation.primitive.name
        if name in ELEMENTWISE:
            continue
        if name == "broadcast_in_dim" and not equation.invars[0].aval.shape:
            continue
        inner = versions.called_program(equation)
        if inner is None or name in versions.REMAT_CALLS or not is_elementwise(inner):
            return False
    return True
