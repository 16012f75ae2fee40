"""Models that are not Flax: pairs of an init and an apply function."""

import jax
import jax.numpy as jnp


def plain():
    """An MLP whose parameters are a flat dictionary."""

    def init(key, x):
        k1, k2 = jax.random.split(key)
        return {
            "w1": jax.random.normal(k1, (x.shape[-1], 16)) / x.shape[-1] ** 0.5,
            "b1": jnp.zeros(16),
            "w2": jax.random.normal(k2, (16, 8)) / 4,
            "b2": jnp.zeros(8),
        }

    def apply(p, x):
        return jnp.tanh(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]

    return init, apply


def equinox():
    """An Equinox MLP, mapped over the batch."""
    import equinox as eqx

    def make(key):
        return eqx.nn.MLP(16, 8, width_size=16, depth=2, key=key)

    # The part without arrays: activations and sizes.
    _, static = eqx.partition(make(jax.random.key(0)), eqx.is_array)

    def init(key, x):
        del x
        return eqx.filter(make(key), eqx.is_array)

    def apply(variables, x):
        return jax.vmap(eqx.combine(variables, static))(x)

    return init, apply
