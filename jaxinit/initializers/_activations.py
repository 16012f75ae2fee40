"""Activation functions by name, and their float64 values whatever the settings."""

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.initializers._check import check_number
from jaxinit.initializers._turning_points import turning_points

Activation = str | Callable[..., Any]


def _prelu(x: Any, negative_slope: Any = 0.25) -> Any:
    return jax.nn.leaky_relu(x, negative_slope)


def _softplus(x: Any, beta: Any = 1.0) -> Any:
    return jax.nn.softplus(beta * x) / beta


def _soft_shrink(x: Any, threshold: Any = 0.5) -> Any:
    return jnp.where(jnp.abs(x) > threshold, x - jnp.sign(x) * threshold, 0.0)


def _hard_shrink(x: Any, threshold: Any = 0.5) -> Any:
    return jnp.where(jnp.abs(x) > threshold, x, 0.0)


def _threshold(x: Any, threshold: Any = 0.0) -> Any:
    return jnp.where(x > threshold, x, 0.0)


# By the name without case and underscores, as jax, PyTorch and Keras spell them.
ACTIVATIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        [
            *("identity", "linear", "conv1d", "conv2d", "conv3d"),
            *("convtranspose1d", "convtranspose2d", "convtranspose3d"),
        ],
        jax.nn.identity,
    ),
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "squaredrelu": lambda x: jnp.square(jax.nn.relu(x)),
    "leakyrelu": jax.nn.leaky_relu,
    "prelu": _prelu,
    "elu": jax.nn.elu,
    "celu": jax.nn.celu,
    "selu": jax.nn.selu,
    "gelu": jax.nn.gelu,
    "gelutanh": functools.partial(jax.nn.gelu, approximate=True),
    "geluexact": functools.partial(jax.nn.gelu, approximate=False),
    "quickgelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    **dict.fromkeys(["silu", "swish"], jax.nn.silu),
    "mish": jax.nn.mish,
    **dict.fromkeys(["hardsilu", "hardswish"], jax.nn.hard_silu),
    "softplus": _softplus,
    "squareplus": jax.nn.squareplus,
    "sparseplus": jax.nn.sparse_plus,
    "sigmoid": jax.nn.sigmoid,
    "logsigmoid": jax.nn.log_sigmoid,
    "hardsigmoid": jax.nn.hard_sigmoid,
    "sparsesigmoid": jax.nn.sparse_sigmoid,
    "tanh": jnp.tanh,
    "hardtanh": jax.nn.hard_tanh,
    "tanhshrink": lambda x: x - jnp.tanh(x),
    "softshrink": _soft_shrink,
    "hardshrink": _hard_shrink,
    "softsign": jax.nn.soft_sign,
    "threshold": _threshold,
    "erf": jax.lax.erf,
    "sin": jnp.sin,
    "exponential": jnp.exp,
}

# What the parameter of an activation is called, for those that have one.
_PARAMETERS = {
    **dict.fromkeys(["leakyrelu", "prelu"], "negative_slope"),
    **dict.fromkeys(["elu", "celu"], "alpha"),
    **dict.fromkeys(["softshrink", "hardshrink", "threshold"], "threshold"),
    "softplus": "beta",
}

# One size, so that each function compiles once.
_BATCH = 2560


@dataclass(frozen=True)
class Elementwise:
    """An elementwise function, equal to another if it is the same function."""

    key: Hashable
    name: str = field(compare=False)
    function: Callable[..., Any] = field(compare=False)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The float64 values at the points ``x`` of shape ``(n,)``."""
        return _evaluate(_compiled(self), x)

    def derivative(self, x: np.ndarray) -> np.ndarray:
        """The float64 derivatives at the points ``x`` of shape ``(n,)``.

        They are taken in reverse mode, as training takes them, so that a custom
        derivative counts.
        """
        return _evaluate(_compiled_derivative(self), x)

    def turning_points(self) -> tuple[float, ...]:
        """The inputs at which its program turns: see `_turning_points.py`."""
        return _turning_points(self)


def elementwise(activation: Activation, param: float | None = None) -> Elementwise:
    """Looks a name up, or checks that a callable acts on each element alone.

    ``param`` is the parameter of a named activation that has one.

    Raises:
      TypeError: if ``activation`` is neither a name nor a callable.
      ValueError: if the name is unknown, if the callable does not map a float array
        to a float array of its shape, or if it is not elementwise.
    """
    if isinstance(activation, str):
        name, function = activation, _named(activation, param)
    elif param is not None:
        raise ValueError(
            f"`param` goes with the name of an activation, got {param!r} and "
            f"{activation!r}. Bind it: functools.partial(function, ...)."
        )
    elif callable(activation):
        function = activation
        name = getattr(activation, "__name__", None) or repr(activation)
    else:
        raise TypeError(
            "`activation` must be a name or an elementwise function such as "
            f"jax.nn.relu, got {activation!r} of type {type(activation).__name__}."
        )
    found = Elementwise(_key(function), name, function)
    _check(found)
    return found


def _named(name: str, param: float | None) -> Callable[..., Any]:
    """The activation of a name, with its parameter bound."""
    plain = name.lower().replace("_", "")
    if plain not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {', '.join(sorted(ACTIVATIONS))}, in any "
            f"spelling, got {name!r}. Pass the function itself for any other."
        )
    function = ACTIVATIONS[plain]
    if param is None:
        return function
    if plain not in _PARAMETERS:
        raise ValueError(
            f"`param` is for {', '.join(_PARAMETERS)}, got {param!r} for {name!r}, "
            "which has none. Leave it out."
        )
    advice = f"It is the {_PARAMETERS[plain]} of {name}."
    number = check_number("param", param, advice)
    return functools.partial(function, **{_PARAMETERS[plain]: number})


def _key(function: Callable[..., Any]) -> Hashable:
    """Equal for partial applications of one function to the same arguments."""
    key: Hashable = function
    if isinstance(function, functools.partial):
        keywords = tuple(sorted(function.keywords.items()))
        key = (_key(function.func), function.args, keywords)
    try:
        hash(key)
    except TypeError:
        return object()  # equal to nothing: never found in a cache
    return key


@functools.lru_cache(maxsize=256)
def _compiled(activation: Elementwise) -> Callable[[np.ndarray], jax.Array]:
    return jax.jit(lambda x: activation.function(x))


@functools.lru_cache(maxsize=256)
def _compiled_derivative(activation: Elementwise) -> Callable[[np.ndarray], jax.Array]:
    def derivative(x: jax.Array) -> jax.Array:
        y, pullback = jax.vjp(activation.function, x)
        return pullback(jnp.ones_like(y))[0]  # type: ignore[no-any-return]

    return jax.jit(derivative)


@functools.lru_cache(maxsize=256)
def _turning_points(activation: Elementwise) -> tuple[float, ...]:
    with _float64_on_host():
        return turning_points(activation.function)


@contextmanager
def _float64_on_host() -> Iterator[None]:
    """Concrete float64 on a CPU inside, for this thread only and until the end.

    Also inside a traced function, where operations on constants would be traced.
    """
    try:
        cpu = jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # no CPU backend: float64 also exists on the others
        cpu = nullcontext()
    with (
        jax.ensure_compile_time_eval(),
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.debug_nans(False),
        cpu,
    ):
        yield


def _evaluate(function: Callable[[np.ndarray], jax.Array], x: np.ndarray) -> np.ndarray:
    padded = np.resize(x, (-(-x.size // _BATCH), _BATCH))
    with _float64_on_host():
        rows = [np.asarray(function(row), np.float64) for row in padded]
    return np.concatenate(rows)[: x.size]


@functools.lru_cache(maxsize=256)
def _check(activation: Elementwise) -> None:
    points = np.random.default_rng(0).uniform(-8.0, 8.0, _BATCH)
    others = np.where(np.arange(_BATCH) % 2, -0.5 * points + 0.1, points)
    advice = (
        "A gain is defined for a function that maps every element of a float array "
        "by itself, such as jax.nn.relu or functools.partial(jax.nn.leaky_relu, "
        "negative_slope=0.2)."
    )
    try:
        with _float64_on_host():
            out = jax.eval_shape(lambda x: activation.function(x), np.zeros(_BATCH))
        if (
            not isinstance(out, jax.ShapeDtypeStruct)
            or out.shape != (_BATCH,)
            or not jnp.issubdtype(out.dtype, jnp.floating)
        ):
            raise ValueError(f"it maps float64[{_BATCH}] to {out}")
        first, second, reverse = (
            activation(values) for values in (points, others, points[::-1])
        )
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(
            f"`activation` must be elementwise, got {activation.name}, which fails "
            f"on a float64 vector: {error}. {advice}"
        ) from error
    same = functools.partial(np.allclose, rtol=1e-4, atol=0.0, equal_nan=True)
    if not same(first[::2], second[::2]) or not same(first, reverse[::-1]):
        raise ValueError(
            f"`activation` must be elementwise, got {activation.name}, whose value at "
            f"one element depends on other elements or on the position. {advice}"
        )
