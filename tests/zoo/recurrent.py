"""Models over time and over graphs, in linen."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class LSTM(nn.Module):
    """An LSTM over time, then a dense head."""

    @nn.compact
    def __call__(self, x):
        x = nn.RNN(nn.OptimizedLSTMCell(16), name="rnn")(x)
        return nn.Dense(8, name="head")(x)


class StateSpace(nn.Module):
    """A diagonal linear state-space layer with complex states, scanned in parallel."""

    states: int = 8

    @nn.compact
    def __call__(self, x):
        width, n = x.shape[-1], self.states
        log_decay = self.param("log_decay", nn.initializers.constant(-0.7), (n,))
        frequency = self.param(
            "frequency", lambda key, shape: jnp.pi * jnp.arange(1.0, n + 1), (n,)
        )
        log_step = self.param("log_step", nn.initializers.constant(-2.0), (n,))
        init = nn.initializers.lecun_normal()
        b = self.param("b", init, (width, 2 * n))
        c = self.param("c", init, (2 * n, width))
        d = self.param("d", nn.initializers.ones, (width,))
        rate = -jnp.exp(log_decay) + 1j * frequency
        step = jnp.exp(log_step)
        decay = jnp.exp(rate * step)
        drive = x @ b
        drive = (drive[..., :n] + 1j * drive[..., n:]) * step

        def combine(first, second):
            return first[0] * second[0], second[0] * first[1] + second[1]

        decays = jnp.broadcast_to(decay, drive.shape)
        _, h = jax.lax.associative_scan(combine, (decays, drive), axis=1)
        return jnp.concatenate([h.real, h.imag], axis=-1) @ c + d * x


class StateSpaceModel(nn.Module):
    """Two residual blocks around a state-space layer."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(16, name="encoder")(x)
        for i in range(2):
            h = nn.LayerNorm(name=f"ln_{i}")(x)
            h = nn.gelu(StateSpace(name=f"ssm_{i}")(h))
            x = x + nn.Dense(16, name=f"mix_{i}")(h)
        return nn.Dense(8, name="decoder")(x.mean(axis=1))


class GraphNetwork(nn.Module):
    """Two rounds of messages along edges, summed at the nodes."""

    @nn.compact
    def __call__(self, nodes, edges, senders, receivers):
        for i in range(2):
            pairs = jnp.concatenate([edges, nodes[senders], nodes[receivers]], axis=-1)
            edges = nn.relu(nn.Dense(16, name=f"edge_{i}")(pairs))
            sums = jax.ops.segment_sum(edges, receivers, num_segments=nodes.shape[0])
            both = jnp.concatenate([nodes, sums], axis=-1)
            nodes = nodes + nn.relu(nn.Dense(16, name=f"node_{i}")(both))
        return nn.Dense(8, name="readout")(nodes.mean(axis=0))
