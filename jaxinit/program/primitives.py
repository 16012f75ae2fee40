"""One table of the primitives that programs are made of: a row each.

What more than one reader asks of a primitive stands here, once. A test shows that
each primitive of the models in the tests has a row.
"""

import functools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.program import versions


class Primitive(NamedTuple):
    """What is known of one primitive.

    Attributes:
      elementwise: an entry of the result depends on the entries at its place alone.
      linear: as a step behind a layer it bends nothing: the result is linear in the
        data operand, or in all of them together.
      layout: it rearranges, repeats or picks entries of its first operand.
      whole: a layout that keeps every entry, once.
      identity: the result is the first operand, value for value.
      reduction: it reduces over axes.
      contraction: it sums products of its two operands.
      sums: it adds up entries of its operand, or the devices' parts of it.
      normalizes: it is part of what makes a norm of linear steps.
      random: it derives random keys or draws from them.
      lapack: a CPU leaves it to LAPACK.
    """

    elementwise: bool = False
    linear: bool = False
    layout: bool = False
    whole: bool = False
    identity: bool = False
    reduction: bool = False
    contraction: bool = False
    sums: bool = False
    normalizes: bool = False
    random: bool = False
    lapack: bool = False


TABLE: dict[str, Primitive] = {}


def _rows(names: str, *traits: str) -> None:
    for name in names.split():
        earlier = TABLE.get(name, Primitive())
        TABLE[name] = earlier._replace(**dict.fromkeys(traits, True))


_rows(
    "abs acos acosh and asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil "
    "clamp clz cos cosh digamma eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma "
    "igammac integer_pow is_finite le lgamma log log1p logistic lt max min ne "
    "nextafter not or polygamma population_count pow regularized_incomplete_beta rem "
    "round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign "
    "sin sinh sqrt square tan tanh xor zeta complex conj imag real bessel_i0e "
    "bessel_i1e",
    "elementwise",
)
_rows("add add_any div mul neg sub", "elementwise", "linear")
_rows("sqrt rsqrt square integer_pow select_n", "normalizes")
# Identities, and what changes no more than the dtype.
_rows("copy copy_p reduce_precision stop_gradient", "elementwise", "identity")
_rows("convert_element_type", "elementwise")
_rows("convert_element_type copy", "linear")
_rows(
    "name optimization_barrier pcast pvary reshard sharding_constraint "
    "layout_constraint",
    "identity",
)
_rows(
    "convert_element_type copy copy_p name optimization_barrier pcast pvary "
    "reduce_precision reshard sharding_constraint stop_gradient layout_constraint "
    "expand_dims reshape rev squeeze transpose",
    "layout",
    "whole",
)
_rows("broadcast_in_dim dynamic_slice slice", "layout")
_rows(
    "argmax argmin reduce reduce_and reduce_max reduce_min reduce_or reduce_prod "
    "reduce_sum reduce_xor",
    "reduction",
)
_rows("dot_general conv_general_dilated ragged_dot ragged_dot_general", "contraction")
_rows("reduce_sum reduce_window_sum cumsum", "sums")
_rows("psum psum2 psum_invariant reduce_scatter", "sums")
_rows(
    "random_bits random_clone random_fold_in random_gamma random_seed random_split "
    "random_unwrap random_wrap rng_bit_generator rng_uniform threefry2x32",
    "random",
)
# Those of which no more is known than that they are none of the above.
_rows(
    "all_gather all_gather_invariant all_to_all approx_top_k argsort axis_index "
    "concatenate cumlogsumexp cummax cummin cumprod dynamic_update_slice empty fft "
    "gather iota pad pmax pmin ppermute reduce_precision_p reduce_window "
    "reduce_window_max reduce_window_min scatter scatter-add scatter-mul scatter-max "
    "scatter-min scatter_add scatter_mul scatter_max scatter_min "
    "select_and_gather_add select_and_scatter_add sort split top_k tile unstack stack "
    "cholesky eig eigh lu qr householder_product svd triangular_solve schur "
    "tridiagonal_solve custom_linear_solve linear_call"
)
# Those that run programs, and those that only have effects.
_rows(
    "checkpoint closed_call cond core_call custom_jvp_call custom_lin custom_vjp_call "
    "custom_vjp_call_jaxpr jit pallas_call pjit remat remat2 run_state scan shard_map "
    "while platform_index"
)
_rows(
    "check debug_callback debug_print io_callback pure_callback create_token "
    "ffi_call assert"
)


_rows(
    "cholesky eig eigh geqp3 geqrf hessenberg householder_product lu qr schur svd "
    "triangular_solve tridiagonal",
    "lapack",
)


def having(trait: str) -> frozenset[str]:
    """The names of all primitives that have a trait."""
    return frozenset(name for name, row in TABLE.items() if getattr(row, trait))


ELEMENTWISE = having("elementwise")
LINEAR = having("linear")
LAYOUT = having("layout")
KEEPS_ELEMENTS = having("whole")
IDENTITIES = having("identity")
REDUCTIONS = having("reduction")
CONTRACTIONS = having("contraction")
LAPACK = having("lapack")
STRAIGHT = LAYOUT | LINEAR | CONTRACTIONS | having("sums") | having("normalizes")
"""Steps that bend nothing, norms included."""


def factors_batches(equations: Iterable[versions.Equation]) -> bool:
    """Whether any of them, or within them, leaves many matrices to LAPACK at once."""
    return any(
        math.prod(inner.invars[0].aval.shape[:-2]) > 1
        for equation in equations
        for inner in versions.within(equation)
        if inner.primitive.name in LAPACK
    )


def is_random(name: str) -> bool:
    """Whether a primitive derives random keys or draws from them.

    What it gives is neither data nor parameter, whatever the key was made from.
    """
    return name in TABLE and TABLE[name].random


def is_sum_over_devices(name: str) -> bool:
    """Whether a primitive adds up the devices' parts of a value."""
    return name.startswith(("psum", "reduce_scatter"))


def is_float(aval: Any) -> bool:
    """Whether values are floating point, jax's own narrow formats included."""
    dtype = getattr(aval, "dtype", None)
    return dtype is not None and hasattr(aval, "shape") and _is_inexact(dtype)


@functools.cache
def _is_inexact(dtype: Any) -> bool:
    if str(dtype).startswith(("bfloat16", "float8")):
        return True
    return isinstance(dtype, np.dtype) and bool(np.issubdtype(dtype, np.inexact))


def is_key(aval: Any) -> bool:
    """Whether values are typed random keys."""
    dtype = getattr(aval, "dtype", None)
    return dtype is not None and bool(jnp.issubdtype(dtype, jax.dtypes.prng_key))


def has_float_result(equation: versions.Equation) -> bool:
    return any(is_float(v.aval) for v in equation.outvars)
