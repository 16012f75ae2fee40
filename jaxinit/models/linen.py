"""flax.linen modules."""

import zlib
from typing import Any

import jax
from flax import linen as nn

from jaxinit.models.model import Model, Variables, unboxed_path

STREAMS = ("params", "dropout")


def adapt(module: nn.Module, streams: tuple[str, ...]) -> Model:
    """A linen module as a model.

    Args:
      module: the module, unbound.
      streams: names of random streams beyond ``params`` and ``dropout``.

    Returns:
      A model whose init is ``module.init({"params": key, ...}, *args, **kwargs)``
      and whose apply lets all collections but the parameters change, and drops the
      changes: BatchNorm works in train mode.
    """
    if module.scope is not None:
        raise TypeError(
            f"`model` must be a module without variables, got {type(module).__name__} "
            "that is bound to some; they would be ignored, since weights are drawn "
            "anew. Pass module.unbind()[0], or the module itself before bind."
        )
    names = tuple(dict.fromkeys((*STREAMS, *streams)))

    def init(
        key: jax.Array, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Variables:
        rngs = {name: _stream(key, name) for name in names}
        variables = dict(module.init(rngs, *args, **_own(kwargs)))
        return Variables(variables.pop("params", {}), variables)

    def assemble(variables: Variables) -> Any:
        return {"params": variables.params, **variables.state}

    def apply(
        variables: Variables,
        key: jax.Array,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        output, _ = module.apply(
            assemble(variables),
            *args,
            rngs={name: _stream(key, name) for name in names},
            mutable=list(variables.state),
            **_own(kwargs),
        )
        return output

    return Model(type(module).__name__, init, apply, assemble, True, unboxed_path)


# Names that `init` and `apply` take for themselves.
_TAKEN = ("rngs", "mutable", "variables", "capture_intermediates")


def _own(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `init` and `apply`, whatever the model's are called."""
    if not any(name in kwargs for name in _TAKEN):
        return kwargs
    rest = dict(kwargs)
    method = rest.pop("method", "__call__")

    def call(module: nn.Module, *args: Any) -> Any:
        function = getattr(module, method) if isinstance(method, str) else method
        bound = () if isinstance(method, str) else (module,)
        return function(*bound, *args, **rest)

    return {"method": call}


def _stream(key: jax.Array, name: str) -> jax.Array:
    """The stream ``params`` is the key itself, as in ``module.init(key, x)``."""
    if name == "params":
        return key
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
