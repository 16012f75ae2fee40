"""Initializers as values: a law, the call that made it, and its equality.

A factory decorated with :func:`family` checks its arguments by their annotations and
returns an :class:`Init` that remembers them. Two of them are equal if they were built
equally, so they may be static arguments of compiled functions, fields of modules, keys
of caches; and they can be printed, pickled and copied.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer, OutSharding
from jaxinit.initializers._check import check_shape
from jaxinit.initializers._dtype import Kinds, check_dtype
from jaxinit.initializers._forms import form_of
from jaxinit.initializers._key import Same, key_of
from jaxinit.initializers._sharding import Make, place
from jaxinit.initializers._words import law_of as law_of
from jaxinit.initializers._words import number_of as number_of
from jaxinit.initializers._words import times as times
from jaxinit.initializers._words import written
from jaxinit.initializers.fans import Fans

P = ParamSpec("P")
Refit = Callable[[Fans], Initializer] | bool


@jax.tree_util.register_static
class Init:
    """An initializer: ``(key, shape, dtype, out_sharding) -> array``.

    Attributes:
      law: the law of the samples in a few words.
      dtype: the dtype of the result where the caller gives none, or ``None`` for jax's
        default float.
    """

    def __init__(
        self,
        make: Make,
        dtype: DTypeLike | None = None,
        *,
        check: Callable[[tuple[int, ...]], None] | None = None,
        kinds: Kinds = "complex",
        law: str = "",
        refit: Refit = False,
    ) -> None:
        """A law that no factory has named yet, equal to itself alone.

        Args:
          make: called as ``make(key, shape, dtype, sharding)`` with a shape without
            zeros; see :mod:`jaxinit.initializers._draw`.
          dtype: the default dtype.
          check: raises if the shape is not supported.
          kinds: which dtypes are supported.
          law: the law in words.
          refit: gives the initializer for other fans, in whatever layout; true if fans
            do not matter, false if the axes must be seen.
        """
        self.dtype = None if dtype is None else check_dtype(dtype, kinds)
        self.law = law
        self._make, self._check, self._kinds, self._refit = make, check, kinds, refit
        self._call: tuple[Callable[..., Any], Mapping[str, Any]] | None = None
        self._key: Any = Same(self)
        self.__name__ = self.__qualname__ = getattr(make, "__qualname__", "init")

    def __call__(
        self,
        key: jax.Array,
        shape: Sequence[int],
        dtype: DTypeLike | None = None,
        out_sharding: OutSharding = None,
    ) -> jax.Array:
        """An array of the shape and dtype; see :class:`jaxinit.Initializer`."""
        dims = check_shape(shape)
        if dtype is None:
            dtype = self.dtype
        chosen = check_dtype(dtype, self._kinds)
        if self._check is not None:
            self._check(dims)
        try:
            if out_sharding is None:
                return self.draw(key, dims, chosen)
            return place(self, key, dims, chosen, out_sharding)
        except (TypeError, ValueError, AttributeError) as error:
            if isinstance(key, (jax.Array, np.ndarray)):
                if _is_one_key(key):
                    raise
                raise ValueError(
                    f"`key` must be one PRNG key, got {key.dtype} of shape {key.shape}."
                    " Map over keys: jax.vmap(lambda key: init(key, shape))(keys)."
                ) from error
            raise TypeError(
                f"`key` must be a PRNG key such as jax.random.key(0), got {key!r}. A "
                "call is init(key, shape, dtype)."
            ) from error

    def draw(
        self,
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None = None,
    ) -> jax.Array:
        """As a call, of arguments that are known to be right."""
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        return self._make(key, shape, dtype, sharding)

    def with_fans(self, fans: Fans) -> "Init | None":
        """The same law for the given fans, whatever the layout; ``None`` if the axes
        must be seen."""
        if self._refit is False:
            return None
        return self if self._refit is True else cast(Init, given_fans(self, fans))

    def named(
        self, factory: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> "Init":
        """This law, as the value of a call of ``factory``."""
        init = object.__new__(Init)
        init.__dict__.update(self.__dict__)
        init._call = factory, dict(arguments)
        init._key = key_of(factory, arguments)
        init.__name__ = init.__qualname__ = factory.__name__
        init.__doc__ = factory.__doc__
        return init

    @property
    def made_by(self) -> tuple[Callable[..., Any], Mapping[str, Any]] | None:
        """The factory and its arguments, unless this was made for one model."""
        return self._call

    @staticmethod
    def of_call(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> "Init":
        """What the factory makes of the arguments, given by name."""
        bound = inspect.signature(factory).bind_partial()
        bound.arguments.update(arguments)
        return cast(Init, factory(*bound.args, **bound.kwargs))

    @property
    def is_traced(self) -> bool:
        """Whether an argument is traced, so that no compiled program may keep this."""
        return self._call is not None and _is_traced(self._call[1].values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Init):
            return NotImplemented
        return self is other or bool(self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"{self.call}: {self.law}" if self.law else self.call

    @property
    def call(self) -> str:
        """The call that makes an equal one."""
        if self._call is None:
            return f"<{self.__name__}>"
        factory, arguments = self._call
        return f"{factory.__name__}({written(factory, arguments)})"

    def __reduce__(self) -> Any:
        if self._call is None:
            raise TypeError(f"{self!r} was made for one model and cannot be pickled.")
        factory, arguments = self._call
        packed = {name: _packed(value) for name, value in arguments.items()}
        return _rebuilt, (factory, packed)

    def __copy__(self) -> "Init":
        return self

    def __deepcopy__(self, memo: object) -> "Init":
        return self


def family(factory: Callable[P, Initializer]) -> Callable[P, Initializer]:
    """Makes the results of a factory values, and checks its arguments.

    Arguments are brought into one form by their annotations, so that 1, 1.0 and
    ``np.int64(1)`` make one initializer; the factory checks what only it knows.
    """
    signature = inspect.signature(factory)
    forms = {
        name: form_of(parameter.annotation)
        for name, parameter in signature.parameters.items()
    }

    @functools.wraps(factory)
    def build(*args: P.args, **kwargs: P.kwargs) -> Initializer:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{factory.__name__}: {error}") from None
        bound.apply_defaults()
        arguments = bound.arguments
        for name, value in arguments.items():
            arguments[name] = forms[name](name, value)
        built = factory(*bound.args, **bound.kwargs)
        assert isinstance(built, Init)
        return built.named(build, arguments)

    build.makes_initializers = True  # type: ignore[attr-defined]
    return build


def with_fans(init: Initializer, fans: Fans) -> Initializer | None:
    """``init`` for the given fans in any layout; ``None`` if it must see the axes."""
    return init.with_fans(fans) if isinstance(init, Init) else None


def refit_around(
    base: Initializer, wrap: Callable[[Initializer], Initializer]
) -> Refit:
    """The ``refit`` of ``wrap(base)``, which follows the fans if ``base`` does."""
    if not isinstance(base, Init) or isinstance(base._refit, bool):
        return isinstance(base, Init) and base._refit is True
    inner = base
    return lambda fans: wrap(cast(Initializer, inner.with_fans(fans)))


def _is_one_key(key: Any) -> bool:
    """Whether it is a typed key without axes, or a raw one."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return bool(key.ndim == (0 if typed else 1))


def _is_traced(values: Iterable[Any]) -> bool:
    return any(
        isinstance(value, jax.core.Tracer)
        or (isinstance(value, Init) and value.is_traced)
        or (isinstance(value, tuple) and _is_traced(value))
        for value in values
    )


class _Public(NamedTuple):
    """A function by its place: those of jax do not say it themselves."""

    module: str
    name: str


def _packed(value: Any) -> Any:
    name = getattr(value, "__name__", "")
    for module in (jax.nn, jnp, jax.lax):
        if callable(value) and getattr(module, name, None) is value:
            return _Public(module.__name__, name)
    return value


def _rebuilt(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What the call gives, for pickle."""
    found = dict(arguments)
    for name, value in found.items():
        if isinstance(value, _Public):
            found[name] = getattr(importlib.import_module(value.module), value.name)
    return Init.of_call(factory, found)


@family
def given_fans(base: Initializer, fans: Fans) -> Initializer:
    """``base`` for fans that the shape does not show.

    Args:
      base: an initializer whose law needs no axes, only the fans.
      fans: the fans.

    Returns:
      An initializer for any layout.
    """
    assert isinstance(base, Init)
    assert callable(base._refit)
    return base._refit(Fans(*fans))
