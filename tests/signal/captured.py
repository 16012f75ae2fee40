"""Every module's output and its gradient, by linen's own means: sow and perturb."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

Arrays = dict[str, np.ndarray]
COLLECTIONS = {"intermediates": 0, "perturbations": 0}
"""For the ``variable_axes`` of a scan."""


class Stream(nn.Module):
    """The identity, to have a module where two paths join."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def capture(
    model: nn.Module,
    variables: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    loss: Callable[[Any], jax.Array],
    kinds: tuple[type[nn.Module], ...],
) -> tuple[Arrays, Arrays, Any]:
    """Runs ``model`` once and keeps everything.

    Returns:
      Outputs by module path, gradients of the loss with respect to them (from zero
      perturbations), and gradients of the parameters. All of them whole.
    """

    def watch(next_method: Any, method_args: Any, method_kwargs: Any, context: Any):
        out = next_method(*method_args, **method_kwargs)
        if isinstance(context.module, kinds) and context.method_name == "__call__":
            context.module.sow("intermediates", "out", out)
            out = context.module.perturb("delta", out)
        return out

    def run(params: Any, deltas: Any) -> Any:
        held = {**variables, "params": params, "perturbations": deltas}
        with nn.intercept_methods(watch):
            out, kept = model.apply(
                held, *args, mutable=["intermediates", "batch_stats"], **kwargs
            )
        return loss(out), kept["intermediates"]

    with nn.intercept_methods(watch):
        empty = model.init(jax.random.key(0), *args, **kwargs)["perturbations"]
    deltas = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), empty)
    (grads, at_outputs), outputs = jax.jit(jax.grad(run, argnums=(0, 1), has_aux=True))(
        variables["params"], deltas
    )
    return (
        {
            _path(k): np.asarray(v[0], np.float64)
            for k, v in flatten_dict(outputs).items()
        },
        {
            _path(k): np.asarray(v, np.float64)
            for k, v in flatten_dict(at_outputs).items()
        },
        grads,
    )


def _path(parts: tuple[str, ...]) -> str:
    return "/".join(parts[:-1])
