"""Models whose parameters act inside control flow and custom rules, in linen."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec


class Branches(nn.Module):
    """The data decide which of two kernels is used."""

    @nn.compact
    def __call__(self, x):
        init = nn.initializers.lecun_normal()
        left = self.param("left", init, (16, 16))
        right = self.param("right", init, (16, 16))
        x = nn.Dense(16, name="enter")(x)
        x = jax.lax.cond(
            x.mean() > 0, lambda x: x @ left, lambda x: jnp.tanh(x @ right), x
        )
        return nn.Dense(8, name="leave")(x)


class FixedPoint(nn.Module):
    """Iterates a layer until it stands still: `lax.while_loop`."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(0.1), (16, 16))
        x = nn.Dense(16, name="enter")(x)

        def moving(state):
            step, _, change = state
            return (step < 20) & (change > 1e-3)

        def update(state):
            step, z, _ = state
            new = jnp.tanh(z @ kernel + x)
            return step + 1, new, jnp.abs(new - z).max()

        start = (0, jnp.zeros_like(x), jnp.inf)
        _, z, _ = jax.lax.while_loop(moving, update, start)
        return nn.Dense(8, name="leave")(z)


class Repeated(nn.Module):
    """Iterates a layer four times: `lax.fori_loop`."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(0.1), (16, 16))
        x = nn.Dense(16, name="enter")(x)
        x = jax.lax.fori_loop(0, 4, lambda i, z: jnp.tanh(z @ kernel + x), x)
        return nn.Dense(8, name="leave")(x)


@jax.custom_jvp
def sharp_relu(x, slope):
    """ReLU with a learned slope; its derivative is that of a smooth function."""
    return slope * jnp.maximum(x, 0)


@sharp_relu.defjvp
def _sharp_relu_jvp(primals, tangents):
    x, slope = primals
    x_dot, slope_dot = tangents
    out = sharp_relu(x, slope)
    return out, slope * jax.nn.sigmoid(x) * x_dot + jnp.maximum(x, 0) * slope_dot


class CustomJVP(nn.Module):
    """A learned slope inside a custom JVP rule."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(16)(x)
        x = sharp_relu(x, self.param("slope", nn.initializers.ones, (16,))[None])
        return nn.Dense(8)(x)


@jax.custom_vjp
def clipped_dot(x, kernel):
    """A product whose incoming gradient is clipped."""
    return x @ kernel


def _clipped_dot_fwd(x, kernel):
    return x @ kernel, (x, kernel)


def _clipped_dot_bwd(residuals, g):
    x, kernel = residuals
    g = jnp.clip(g, -1.0, 1.0)
    return g @ kernel.T, x.T @ g


clipped_dot.defvjp(_clipped_dot_fwd, _clipped_dot_bwd)


class CustomVJP(nn.Module):
    """A kernel inside a custom VJP rule."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16)(x))
        x = clipped_dot(x, self.param("kernel", nn.initializers.he_normal(), (16, 16)))
        return nn.Dense(8)(nn.relu(x))


class Sharded(nn.Module):
    """A product under `shard_map`, on a mesh of one device."""

    @nn.compact
    def __call__(self, x):
        mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
        rows, whole = PartitionSpec("data", None), PartitionSpec()
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (16, 16))
        product = jax.shard_map(
            lambda x, kernel: jnp.tanh(x @ kernel),
            mesh=mesh,
            in_specs=(rows, whole),
            out_specs=rows,
        )
        x = nn.Dense(16, name="enter")(x)
        return nn.Dense(8, name="leave")(product(x, kernel))
