"""What is fed to the model: the user's arrays, checked, or random ones, described."""

import math
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.layers.find import Sites
from jaxinit.models.arguments import key_impl
from jaxinit.program.primitives import is_key


class Fed(NamedTuple):
    """The inputs of an analysis.

    Attributes:
      arrays: one array for each input, on the device.
      descriptions: what each of them is, for the report.
      nonfinite: names of the inputs that hold NaN or infinity.
    """

    arrays: tuple[jax.Array, ...]
    descriptions: tuple[str, ...]
    nonfinite: tuple[str, ...]


_ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


def check_inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises for inputs that no model could take, before one is called with them.

    Args:
      args: the model's positional arguments.
      kwargs: its keyword arguments.

    Raises:
      TypeError: if an array holds no numbers, or a generator stands for one.
      ValueError: if an array is empty, or there is none.
    """
    for i, arg in enumerate(args):
        if isinstance(arg, Iterator):
            raise TypeError(
                f"`args[{i}]` must be an array, got {type(arg).__name__}. Pass one "
                "batch: next(batches)."
            )
    paths, _ = jax.tree_util.tree_flatten_with_path((args, kwargs))
    arrays = 0
    for path, leaf in paths:
        if not isinstance(leaf, _ARRAYS):
            continue
        arrays += 1
        root = "args" if path[0].idx == 0 else "kwargs"
        _check_array(leaf, root + jax.tree_util.keystr(path[1:]))
    if not arrays:
        got = ", ".join(f"{leaf!r:.40}" for _, leaf in paths) or "none"
        raise ValueError(
            f"`analyze` needs the model's array inputs after the model, got {got}. "
            "Write, for an image model, jaxinit.analyze(model, "
            "jax.ShapeDtypeStruct((32, 32, 32, 3), jnp.float32)), or pass a batch as "
            "an array: jnp.asarray(x). Arrays within an object are seen where its "
            "class is a pytree: jax.tree_util.register_dataclass."
        )


def _check_array(leaf: Any, name: str) -> None:
    if isinstance(leaf, np.ma.MaskedArray):
        raise TypeError(
            f"`{name}` must be a plain array, got one with a mask, which a model does "
            "not see. Pass leaf.filled(value), and the mask by itself if it wants one."
        )
    if any(not isinstance(n, int | np.integer) or n < 0 for n in leaf.shape):
        raise ValueError(
            f"`{name}` must have a shape of integers of at least 1, got {leaf.shape}. "
            "Sizes are not inferred: write the batch size that you want."
        )
    if 0 in leaf.shape:
        raise ValueError(
            f"`{name}` must not be empty, got shape {leaf.shape}. Nothing "
            "could be measured: pass at least one sample."
        )
    if not is_key(leaf) and not _is_numeric(leaf.dtype):
        raise TypeError(
            f"`{name}` must hold numbers, booleans or random keys, got dtype "
            f"{leaf.dtype}. Turn it into numbers first: strings into tokens, objects "
            "with np.asarray(x, np.float32)."
        )


def _is_numeric(dtype: Any) -> bool:
    kinds = (jnp.number, jnp.bool_)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def feed(
    inputs: Sequence[Any],
    names: Sequence[str],
    sites: Sites,
    root: jax.Array,
    number: int,
) -> Fed:
    """Checks the arrays among ``inputs`` and draws those that are only shapes.

    Args:
      inputs: arrays, or ``jax.ShapeDtypeStruct``: floating-point ones are drawn
        standard normal, booleans evenly, integers uniformly below the size of the
        table that they are looked up in. Random keys are passed on as they are.
      names: what to call each input in errors.
      sites: the tables that the model reads at each input, and which are keys.
      root: the root key.
      number: that of the root's child which seeds the draws.

    Returns:
      The inputs as arrays.

    Raises:
      TypeError: within `jax.jit` and the like, where inputs have no values.
      ValueError: if an input is empty, or if an integer lies outside its table, or is
        to be drawn and looks up none.
    """
    tables: dict[int, int] = {}
    for lookup in sites.lookups:
        tables[lookup.source] = min(lookup.size, tables.get(lookup.source, lookup.size))

    def key(position: int) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(root, number), position)

    arrays, descriptions, nonfinite = [], [], []
    for position, (value, name) in enumerate(zip(inputs, names, strict=True)):
        size = tables.get(position)
        if isinstance(value, jax.core.Tracer):
            raise TypeError(
                f"`{name}` must be an array, got a value that is being traced. An "
                "analysis measures numbers: call it outside of jax.jit, jax.vmap and "
                "jax.grad."
            )
        if 0 in np.shape(value):
            raise ValueError(
                f"`{name}` must not be empty, got shape {np.shape(value)}. Nothing "
                "could be measured: pass at least one sample."
            )
        if isinstance(value, jax.ShapeDtypeStruct):
            draw = _drawn_keys if is_key(value) else _drawn
            array, what = draw(value, name, size, key(position))
        elif is_key(value) or position in sites.keys:
            array, what = jnp.asarray(value), _KEY
        else:
            array, what = jnp.asarray(value), _described(value)
            if not _is_finite(array):
                nonfinite.append(name)
            if size is not None:
                _check_indices(np.asarray(value), name, size)
        arrays.append(array)
        descriptions.append(
            f"{name}: {array.dtype}[{','.join(map(str, array.shape))}], {what}"
        )
    return Fed(tuple(arrays), tuple(descriptions), tuple(nonfinite))


_KEY = "random key, given"


def batch_size(inputs: Sequence[Any], keys: Container[int]) -> int:
    """The leading size of the first input that has one, else 0; keys do not count."""
    sizes = (
        int(np.shape(x)[0])
        for position, x in enumerate(inputs)
        if np.ndim(x) > 0 and position not in keys and not is_key(x)
    )
    return next(sizes, 0)


def _drawn_keys(
    shape: jax.ShapeDtypeStruct, name: str, size: int | None, key: jax.Array
) -> tuple[jax.Array, str]:
    del name, size
    count = math.prod(shape.shape)
    seeds = jax.random.bits(key, (count,), "uint32")
    impl = key_impl(shape)
    made = jax.vmap(lambda seed: jax.random.key(seed, impl=impl))(seeds)
    return made.reshape(shape.shape), "random key, drawn"


def _drawn(
    shape: jax.ShapeDtypeStruct, name: str, size: int | None, key: jax.Array
) -> tuple[jax.Array, str]:
    if jnp.issubdtype(shape.dtype, jnp.inexact):
        wide = jnp.result_type(shape.dtype, jnp.float32)
        drawn = jax.random.normal(key, shape.shape, wide).astype(shape.dtype)
        return drawn, "drawn standard normal"
    if shape.dtype == jnp.bool_:
        return jax.random.bernoulli(key, 0.5, shape.shape), "drawn evenly"
    if size is None:
        raise ValueError(
            f"`{name}` is the shape of an integer array, and no table that the model "
            "looks up says how large its values may be. Pass an array."
        )
    high = min(size, int(np.iinfo(shape.dtype).max))
    drawn = jax.random.randint(key, shape.shape, 0, high, shape.dtype)
    return drawn, f"drawn uniformly below {high}"


def _is_finite(array: jax.Array) -> bool:
    """By NumPy: jax would compile two programs for it."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return True
    return bool(np.isfinite(np.asarray(array)).all())


def _described(value: Any) -> str:
    x = np.asarray(value)
    if jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            return f"given, mean {x.mean():.3g}, std {x.std():.3g}"
    if x.dtype == np.bool_:
        return f"given, {x.mean():.0%} true"
    return f"given, {x.min()} to {x.max()}"


def _check_indices(x: np.ndarray, name: str, size: int) -> None:
    if x.max() >= size or x.min() < 0:
        raise ValueError(
            f"`{name}` must hold integers from 0 to {size - 1}, the rows of the "
            f"table that the model looks them up in; got {x.min()} to {x.max()}. "
            "JAX would return NaN, a clipped row, or one counted from the end. Enlarge "
            "the embedding or mend the tokens."
        )
