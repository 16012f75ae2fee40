"""Eight devices: parameters born sharded, and watched as they train.

    python -m examples.recipes.mesh

On a machine with fewer devices eight are made of its CPU.
"""

import os

if __name__ == "__main__":
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxinit


class Net(nn.Module):
    """Kernels split over the mesh's axis ``model``."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        split = nn.with_partitioning(jaxinit.he_normal(), (None, "model"))
        x = nn.relu(nn.Dense(64, kernel_init=split)(x))
        return nn.Dense(1)(x)


def main(steps: int = 3) -> dict[str, object]:
    """Initializes and trains on the mesh; what came out."""
    mesh = jax.make_mesh(
        (2, 4), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    model, x = Net(), jax.random.normal(jax.random.key(0), (32, 4))
    # Each device draws its part; no array is ever whole on one of them.
    variables = jaxinit.fast_init(model, jax.random.key(1), x, shardings=mesh)
    params = nn.meta.unbox(variables["params"])
    x = jax.device_put(x, NamedSharding(mesh, P("data")))
    y = jnp.sin(x[:, :1])
    optimizer = optax.adam(1e-2)

    def loss_fn(params: dict, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean((model.apply({"params": params}, x) - y) ** 2)

    @jax.jit
    def train_step(params: dict, moments: optax.OptState) -> tuple:
        loss, grads, statistics = jaxinit.observe_grad(loss_fn)(params, x, y)
        updates, moments = optimizer.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments, loss, statistics

    moments, losses = optimizer.init(params), []
    for _ in range(steps):
        params, moments, loss, statistics = train_step(params, moments)
        losses.append(float(loss))
    # The same weights, measured as they lie.
    report = jaxinit.analyze(model, x, variables={"params": params}, judge=False)
    return {
        "devices": len(jax.devices()),
        "kernel": str(params["Dense_0"]["kernel"].sharding.spec),
        "losses": losses,
        "statistics": statistics.scalars(),
        "report": report.scalars(""),
    }


if __name__ == "__main__":
    import json

    print(json.dumps(main()))
