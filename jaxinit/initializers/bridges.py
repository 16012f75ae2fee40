"""Initializers in other libraries, one line each.

========================  ==========================================================
library                   line
========================  ==========================================================
Flax (linen, nnx)         ``nn.Dense(8, kernel_init=he_normal())``
Haiku                     ``hk.Linear(8, w_init=for_haiku(he_normal()))``
Keras 3 (JAX backend)     ``Dense(8, kernel_initializer=for_keras(he_normal()))``,
                          ``load_model(path, custom_objects=keras_objects())``
Equinox                   ``eqx.tree_at(lambda m: m.weight, linear,
                          he_normal(-1, -2)(key, linear.weight.shape))``
penzai                    ``pz.nx.wrap(he_normal()(key, (4, 8)), "in", "out")``
plain pytrees             ``{"w": he_normal()(key, (4, 8))}``, one key an array
========================  ==========================================================

Equinox keeps kernels as ``(out, in)``, so the axes are given; its convolutions are
``(out, in, *spatial)``, which is ``he_normal(1, 0)``. A tree of initializers is mapped
with ``is_leaf=callable``, since an initializer is static and so no leaf of a pytree.
penzai's layers take a function of named axes that returns such a line:
``Linear.from_config(..., initializer=f)``, called as
``f(key, *, input_axes, output_axes, dtype, **_)``.
"""

import functools
import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._check import check_count, check_initializer, shown
from jaxinit.initializers._value import Init

HaikuInitializer = Callable[[Sequence[int], DTypeLike], jax.Array]


def for_haiku(init: Initializer) -> HaikuInitializer:
    """The initializer as Haiku calls it: ``(shape, dtype)``, with Haiku's next key.

    Args:
      init: an initializer.

    Returns:
      What ``w_init`` and ``hk.get_parameter`` take; for use inside ``hk.transform``.

    Raises:
      TypeError: if ``init`` is not an initializer.

    Examples:
      >>> from jaxinit.initializers import he_normal
      >>> w_init = for_haiku(he_normal())
    """
    check_initializer("init", init)

    def haiku_init(shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        haiku = importlib.import_module("haiku")
        return init(haiku.next_rng_key(), shape, dtype)

    return haiku_init


def for_keras(init: Initializer, seed: int | None = None) -> Any:
    """The initializer as Keras 3 takes it, on the JAX backend, saved with its model.

    Args:
      init: an initializer of this package.
      seed: the seed of its keys. ``None`` draws one from Keras' global generator, which
        ``keras.utils.set_random_seed`` sets. Each call of one object draws anew.

    Returns:
      A ``keras.initializers.Initializer``. Its configuration is the call that made
      ``init``. Models are loaded with ``custom_objects=keras_objects()``.

    Raises:
      TypeError: if ``init`` is not an initializer of this package or ``seed`` not an
        integer.
      ValueError: if ``seed`` is negative or has more than 32 bits.
      RuntimeError: if Keras runs on another backend.
    """
    check_initializer("init", init)
    if not isinstance(init, Init):
        raise TypeError(
            f"`init` must be an initializer of jaxinit, got {shown(init)}. Keras "
            "takes its own initializers as they are."
        )
    if seed is not None:
        seed = check_count("seed", seed, "It seeds the keys.", minimum=0)
        if seed >= 2**32:
            raise ValueError(f"`seed` must be below 2**32, got {seed}.")
    return _keras_class()(init, seed)


def keras_objects() -> dict[str, Any]:
    """What Keras must know to load a model that :func:`for_keras` has a part in.

    Returns:
      The ``custom_objects`` of ``keras.saving.load_model(path, custom_objects=...)``.
    """
    return {"jaxinit>FromJaxinit": _keras_class()}


@functools.cache
def _keras_class() -> Any:
    """The subclass of Keras' initializer, made when Keras is there."""
    keras = importlib.import_module("keras")
    if keras.backend.backend() != "jax":
        raise RuntimeError(
            "Keras must run on JAX for initializers of jaxinit, not on "
            f"{keras.backend.backend()}. Set KERAS_BACKEND=jax before its import."
        )

    @keras.saving.register_keras_serializable(package="jaxinit")
    class FromJaxinit(keras.initializers.Initializer):  # type: ignore[misc,name-defined]
        """One of jaxinit's initializers, with keys from a seed."""

        def __init__(self, init: Init, seed: int | None) -> None:
            self.init = init
            self.seed = seed
            self._seeds = keras.random.SeedGenerator(seed)

        def __call__(
            self, shape: Sequence[int], dtype: Any = None, **kwargs: Any
        ) -> jax.Array:
            del kwargs
            raw = jnp.asarray(self._seeds.next(ordered=False), np.uint32)
            key = jax.random.wrap_key_data(raw)
            name = keras.backend.standardize_dtype(dtype)
            return self.init(key, tuple(shape), name)

        def get_config(self) -> dict[str, Any]:
            return {"init": to_config(self.init), "seed": self.seed}

        @classmethod
        def from_config(cls, config: Mapping[str, Any]) -> Any:
            return cls(cast(Init, from_config(config["init"])), config["seed"])

    return FromJaxinit


def to_config(init: Initializer) -> dict[str, Any]:
    """The call that made an initializer, as JSON can hold it.

    Args:
      init: an initializer of this package.

    Returns:
      A dictionary with the factory's name and its arguments.

    Raises:
      TypeError: if an argument is not of a kind that JSON can hold: an array, a
        function, an initializer of another library.

    Examples:
      >>> from jaxinit.initializers import he_normal
      >>> to_config(he_normal())["jaxinit"]
      'he_normal'
    """
    if not isinstance(init, Init) or init.made_by is None:
        raise TypeError(
            f"`init` must be made by a factory of jaxinit, got {shown(init)}."
        )
    factory, arguments = init.made_by
    packed = {name: _packed(name, value) for name, value in arguments.items()}
    return {"jaxinit": factory.__name__, "arguments": packed}


def from_config(config: Mapping[str, Any]) -> Initializer:
    """The initializer of a configuration; the inverse of :func:`to_config`.

    Args:
      config: what :func:`to_config` gave.

    Returns:
      An equal initializer.

    Raises:
      ValueError: if there is no factory of that name with such arguments.

    Examples:
      >>> from jaxinit.initializers import he_normal
      >>> from_config(to_config(he_normal())) == he_normal()
      True
    """
    public = importlib.import_module("jaxinit.initializers")
    name = config.get("jaxinit") if isinstance(config, Mapping) else None
    if not isinstance(name, str) or name not in public.__all__:
        raise ValueError(
            f"`config` must be what `to_config` gave, got {shown(config)}. It names no "
            "initializer of this version of jaxinit."
        )
    factory = getattr(public, name)
    if not getattr(factory, "makes_initializers", False):
        raise ValueError(f"`config` names {name}, which makes no initializer.")
    arguments = config.get("arguments")
    known = inspect.signature(factory).parameters
    if not isinstance(arguments, Mapping) or not set(arguments) <= set(known):
        raise ValueError(
            f"`config` must hold the arguments of {name} by their names, "
            f"{', '.join(known)}, got {shown(arguments)}."
        )
    return Init.of_call(factory, _unpacked(arguments))


def _packed(name: str, value: Any) -> Any:
    if isinstance(value, Init):
        return to_config(value)
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.ndarray) and value.dtype in (bool, np.float64):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [_packed(name, entry) for entry in value]
    try:
        json.dumps(value)
    except TypeError as error:
        raise TypeError(
            f"`{name}` of the initializer cannot be written as JSON, got "
            f"{shown(value)}. Save the weights, or use an initializer without it."
        ) from error
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "jaxinit" in value:
            return from_config(value)
        return {name: _unpacked(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_unpacked(entry) for entry in value)
    return value
