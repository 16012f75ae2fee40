"""Many runs of one model at once: a step of training, over schemes, rates and seeds."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxinit.roles.network import Network
from jaxinit.train.losses import Loss, accuracy

Array = jax.Array
Optimizer = Callable[[Any], optax.GradientTransformation]


class Run(NamedTuple):
    """The state of a run in training.

    Attributes:
      params: the model's parameters, leaf by leaf.
      state: its other variables; they stay as they were drawn.
      optimizer: the optimizer's state.
    """

    params: list[Array]
    state: list[Array]
    optimizer: Any


def as_optimizer(optimizer: Any) -> Optimizer:
    """The optimizer as a function of the learning rate.

    Args:
      optimizer: such a function, as ``optax.adam``; or a transformation, whose
        updates are multiplied by the rate.

    Raises:
      TypeError: if it is neither.
    """
    if is_transformation(optimizer):
        return lambda rate: optax.chain(optimizer, optax.scale(rate))
    if callable(optimizer):
        return optimizer  # type: ignore[no-any-return]
    raise TypeError(
        "`optimizer` must be a function from a learning rate to an optax "
        "transformation, as optax.adam or lambda rate: optax.sgd(rate, 0.9), or a "
        f"transformation, got {optimizer!r:.80}."
    )


def is_transformation(optimizer: Any) -> bool:
    """Whether it is an optax transformation."""
    return hasattr(optimizer, "init") and hasattr(optimizer, "update")


class Training(NamedTuple):
    """How a network is trained.

    Attributes:
      network: the model.
      loss: ``(output, target) -> scalar``.
      optimizer: from a learning rate to a transformation.
    """

    network: Network
    loss: Loss
    optimizer: Optimizer

    @property
    def kinds(self) -> list[jax.ShapeDtypeStruct]:
        """The shapes and dtypes of the leaves of parameters and state."""
        traced = self.network.traced
        count = len(self.network.params) + traced.num_state
        avals = (variable.aval for variable in traced.apply.jaxpr.invars[:count])
        return [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]

    def tree(self, params: Sequence[Any]) -> Any:
        """The parameters as the model's own pytree, for the optimizer."""
        traced = self.network.traced
        return traced.variables([*params, *[0.0] * traced.num_state]).params

    def start(self, variables: Sequence[Array], rate: Any) -> Run:
        """A run that has not begun, from the leaves of parameters and state."""
        first = len(self.network.params)
        params, state = list(variables[:first]), list(variables[first:])
        return Run(params, state, self.optimizer(rate).init(self.tree(params)))

    def begin(
        self, drawn: Sequence[Array], keys: Array, where: Array, rate: Any
    ) -> tuple[Run, Array]:
        """A run from the draws of several seeds, of which ``where`` is its own.

        Its key for dropout and the like comes with it, apart from that of its weights.
        """
        start = self.start([leaf[where] for leaf in drawn], rate)
        return start, jax.random.fold_in(keys[where], 1)

    def values(
        self, params: list[Array], state: list[Array], key: Array, batch: Any
    ) -> tuple[Array, Array]:
        """The loss of a batch, and the accuracy (NaN without classes)."""
        inputs, target = batch
        output = self.network.forward(params, state, key, inputs)
        loss = self.loss(output, target)
        return loss, lax.stop_gradient(_accuracy(output, target))

    def step(self, run: Run, rate: Any, key: Array, batch: Any) -> tuple[Run, Any]:
        """One step: the next state, and loss and accuracy before it."""

        def of(params: list[Array]) -> tuple[Array, Array]:
            return self.values(params, run.state, key, batch)

        (loss, right), gradients = jax.value_and_grad(of, has_aux=True)(run.params)
        updates, state = self.optimizer(rate).update(
            self.tree(gradients), run.optimizer, self.tree(run.params)
        )
        moved = jax.tree.leaves(updates)
        params = [
            (p + u).astype(p.dtype) for p, u in zip(run.params, moved, strict=True)
        ]
        kept = jax.tree.map(
            lambda new, old: new.astype(old.dtype), state, run.optimizer
        )
        return Run(params, run.state, kept), (loss.astype(jnp.float32), right)

    def segment(
        self, run: Run, rate: Any, key: Array, first: Array, batches: Any
    ) -> tuple[Run, tuple[Array, Array]]:
        """Several steps: loss and accuracy before each of them, ``(steps,)``."""

        def body(carry: tuple[Run, Array], batch: Any) -> Any:
            run, number = carry
            run, seen = self.step(run, rate, jax.random.fold_in(key, number), batch)
            return (run, number + 1), seen

        (run, _), seen = lax.scan(body, (run, first), batches)
        return run, seen


def _accuracy(output: Any, target: Any) -> Array:
    if len(jax.tree.leaves(target)) != 1 or not jax.tree.leaves(output):
        return jnp.full((), jnp.nan)
    return accuracy(output, jax.tree.leaves(target)[0]).astype(jnp.float32)
