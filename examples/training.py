"""What the training examples share: digits, a loop over steps, a printed table."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxinit


def digits() -> tuple[jax.Array, jax.Array]:
    """Scikit-learn's 1797 digits, `(1797, 64)`, standardized, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = data.data.astype(np.float32)
    return jnp.asarray((x - x.mean()) / x.std()), jnp.asarray(data.target)


def train(
    model: nn.Module,
    variables: Any,
    x: jax.Array,
    labels: jax.Array,
    *,
    steps: int,
    optimizer: optax.GradientTransformation,
    batch: int = 128,
) -> np.ndarray:
    """The cross-entropy on the random batch of each step, `(steps,)`."""

    def loss(params: Any, chosen: jax.Array) -> jax.Array:
        logits = model.apply({"params": params}, x[chosen])
        per_sample = optax.softmax_cross_entropy_with_integer_labels(
            logits, labels[chosen]
        )
        return per_sample.mean()

    def step(carry: Any, chosen: jax.Array) -> Any:
        params, state = carry
        value, gradients = jax.value_and_grad(loss)(params, chosen)
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), value

    params = variables["params"]
    order = jax.random.randint(jax.random.key(0), (steps, batch), 0, len(x))
    run = jax.jit(lambda carry: jax.lax.scan(step, carry, order)[1])
    return np.asarray(run((params, optimizer.init(params))))


def compare(
    model: nn.Module,
    schemes: dict[str, Any],
    x: jax.Array,
    labels: jax.Array,
    *,
    steps: int,
    optimizer: optax.GradientTransformation,
    batch: int = 128,
) -> dict[str, np.ndarray]:
    """The losses under each scheme; `None` stands for the model's own init."""
    losses = {}
    for name, scheme in schemes.items():
        if scheme is None:
            variables = model.init(jax.random.key(0), x[:batch])
        else:
            variables = jaxinit.initialize(model, scheme, 0, x[:batch])
        losses[name] = train(
            model,
            variables,
            x,
            labels,
            steps=steps,
            optimizer=optimizer,
            batch=batch,
        )
    return losses


def show(losses: dict[str, np.ndarray]) -> None:
    """Prints the loss at the start, and means over a tenth of the steps later on."""
    print(f"{'loss':<14}{'start':>10}{'halfway':>10}{'end':>10}")
    for name, values in losses.items():
        width = max(len(values) // 10, 1)
        half = values[len(values) // 2 :][:width].mean()
        end = values[-width:].mean()
        print(f"{name:<14}{values[0]:10.3f}{half:10.3f}{end:10.3f}")
