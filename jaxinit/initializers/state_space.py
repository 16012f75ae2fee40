"""State-space layers: transition matrices and diagonal spectra."""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers import _draw
from jaxinit.initializers._check import check_choice
from jaxinit.initializers._value import Init, family

SpectrumPart = Literal["complex", "imag", "log_real"]
_Values: TypeAlias = Callable[[np.ndarray, int], np.ndarray]


@family
def hippo_legs(dtype: DTypeLike | None = None) -> Initializer:
    r"""The transition matrix that keeps Legendre coefficients of the whole past.

    .. math::
      A_{nk} = -\sqrt{(2n+1)(2k+1)} \; (n > k), \quad -(n+1) \; (n = k),
      \quad 0 \; (n < k).

    Its eigenvalues are :math:`-1, \dots, -N`. With :math:`P_n = \sqrt{n + 1/2}`
    (:func:`hippo_legs_low_rank`), :math:`A + P P^T` is normal, with all eigenvalues of
    real part :math:`-1/2`.

    Args:
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., N, N)``; leading axes hold copies. It does
      not use its key.

    Raises:
      ValueError: when called, if the last two axes are not equal.

    Examples:
      >>> hippo_legs()(jax.random.key(0), (2, 2))
      Array([[-1.       ,  0.       ],
             [-1.7320508, -2.       ]], dtype=float32)

    References:
      Gu et al., "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020,
      theorem 2.
    """

    def check_shape(shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise ValueError(
                f"`shape` must be (..., N, N), got {shape}: the matrix maps a state to "
                "a state."
            )

    def values(size: int) -> np.ndarray:
        root = np.sqrt(2.0 * np.arange(size) + 1)
        return np.tril(-np.outer(root, root), -1) + np.diag(-np.arange(1.0, size + 1))

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        return jnp.broadcast_to(jnp.asarray(values(shape[-1]), dtype), shape)

    law = "HiPPO-LegS"
    return _draw.from_sampler(sampler, dtype, check_shape=check_shape, law=law)


@family
def hippo_legs_input(dtype: DTypeLike | None = None) -> Initializer:
    r"""The input vector :math:`B_n = \sqrt{2n+1}` of :func:`hippo_legs`.

    Args:
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., N)``. It does not use its key.

    Raises:
      ValueError: when called, if the shape is ``()``.

    Examples:
      >>> hippo_legs_input()(jax.random.key(0), (3,))
      Array([1.       , 1.7320508, 2.236068 ], dtype=float32)

    References:
      Gu et al., "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020,
      theorem 2.
    """
    law = "input of HiPPO-LegS"
    return _along_state(lambda n, size: np.sqrt(2 * n + 1), dtype, law)


@family
def hippo_legs_low_rank(dtype: DTypeLike | None = None) -> Initializer:
    r"""The vector :math:`P_n = \sqrt{n + 1/2}` that makes :func:`hippo_legs` normal.

    Args:
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., N)``. It does not use its key.

    Raises:
      ValueError: when called, if the shape is ``()``.

    Examples:
      >>> hippo_legs_low_rank()(jax.random.key(0), (2,))
      Array([0.70710677, 1.2247449 ], dtype=float32)

    References:
      Gu et al., "Efficiently Modeling Long Sequences with Structured State Spaces",
      2022, theorem 1 and appendix C.
    """
    law = "low-rank part of HiPPO-LegS"
    return _along_state(lambda n, size: np.sqrt(n + 0.5), dtype, law)


@family
def s4d_lin(
    part: SpectrumPart = "complex", dtype: DTypeLike | None = None
) -> Initializer:
    r"""Diagonal spectrum :math:`-\tfrac12 + i \pi n`, :math:`n = 0, \dots, N/2 - 1`.

    One of each conjugate pair is kept: a state of size :math:`N` has :math:`N/2`
    entries.

    Args:
      part: ``"complex"`` for the values themselves; ``"imag"`` and ``"log_real"``
        (the logarithm of minus the real part) for layers that store two real
        parameters.
      dtype: the dtype of the result where none is given; complex64 by default for
        ``"complex"``.

    Returns:
      An initializer for the shape ``(..., N / 2)``; leading axes hold copies. It does
      not use its key.

    Raises:
      ValueError: if ``part`` is unknown, or, when called, if the shape is ``()`` or
        the dtype is real for ``"complex"``.

    Examples:
      >>> s4d_lin("imag")(jax.random.key(0), (3,))
      Array([0.       , 3.1415927, 6.2831855], dtype=float32)

    References:
      Gu et al., "On the Parameterization and Initialization of Diagonal State Space
      Models", 2022, section 4.
    """
    return _spectrum(lambda n, size: math.pi * n, part, dtype, "S4D-Lin")


@family
def s4d_inv(
    part: SpectrumPart = "complex", dtype: DTypeLike | None = None
) -> Initializer:
    r"""Diagonal spectrum :math:`-\tfrac12 + i \frac N\pi (\frac{N}{2n+1} - 1)`.

    It approximates that of :func:`hippo_legs` with :math:`N` twice the last axis; see
    :func:`s4d_lin` for the rest.

    Args:
      part: ``"complex"``, ``"imag"`` or ``"log_real"``.
      dtype: the dtype of the result where none is given; complex64 by default for
        ``"complex"``.

    Returns:
      An initializer for the shape ``(..., N / 2)``. It does not use its key.

    Raises:
      ValueError: if ``part`` is unknown, or, when called, if the shape is ``()`` or
        the dtype is real for ``"complex"``.

    Examples:
      >>> s4d_inv("imag")(jax.random.key(0), (2,))
      Array([3.8197186 , 0.42441317], dtype=float32)

    References:
      Gu et al., "On the Parameterization and Initialization of Diagonal State Space
      Models", 2022, section 4.
    """
    return _spectrum(
        lambda n, size: 2 * size / math.pi * (2 * size / (2 * n + 1) - 1),
        part,
        dtype,
        "S4D-Inv",
    )


@family
def s4d_real(log: bool = False, dtype: DTypeLike | None = None) -> Initializer:
    r"""Real diagonal spectrum :math:`-(n+1)`, that of :func:`hippo_legs`.

    Args:
      log: whether to give :math:`\log(n+1)`, for layers that store the logarithm of
        minus the values.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for the shape ``(..., N)``; leading axes hold copies. It does not
      use its key.

    Raises:
      ValueError: when called, if the shape is ``()``.

    Examples:
      >>> s4d_real()(jax.random.key(0), (3,))
      Array([-1., -2., -3.], dtype=float32)

    References:
      Gu et al., "On the Parameterization and Initialization of Diagonal State Space
      Models", 2022, section 4.
    """
    if log:
        return _along_state(lambda n, size: np.log(n + 1), dtype, "log of S4D-Real")
    return _along_state(lambda n, size: -(n + 1), dtype, "S4D-Real")


def _along_state(values: _Values, dtype: DTypeLike | None, law: str) -> Init:
    """Values along the last axis, copied along the others."""

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        size = shape[-1]
        row = values(np.arange(size, dtype=np.float64), size)
        return jnp.broadcast_to(jnp.asarray(row, dtype), shape)

    return _draw.from_sampler(sampler, dtype, check_shape=_check_state, law=law)


def _spectrum(imaginary: _Values, part: str, dtype: DTypeLike | None, law: str) -> Init:
    """The spectrum of real part -1/2, or the parameters it is stored as."""
    check_choice("part", part, ("complex", "imag", "log_real"), "It says what to give.")
    law = f"{part.replace('_', ' ')} of {law}"
    if part == "imag":
        return _along_state(imaginary, dtype, law)
    if part == "log_real":
        return _along_state(lambda n, size: np.full(size, math.log(0.5)), dtype, law)

    def sampler(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del key, sharding
        if not _draw.is_complex(dtype):
            raise ValueError(
                f"`dtype` must be complex for part 'complex', got {dtype.name}. Store "
                "the parts 'imag' and 'log_real' in two real parameters."
            )
        size = shape[-1]
        row = -0.5 + 1j * imaginary(np.arange(size, dtype=np.float64), size)
        return jnp.broadcast_to(jnp.asarray(row, dtype), shape)

    default = np.complex64 if dtype is None else dtype
    return _draw.from_sampler(sampler, default, check_shape=_check_state, law=law)


def _check_state(shape: tuple[int, ...]) -> None:
    if not shape:
        raise ValueError(
            "`shape` must have at least one axis, got (): the last one counts the "
            "entries of the state."
        )
