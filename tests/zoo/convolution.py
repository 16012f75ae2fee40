"""Convolutional models, in linen."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class ConvNet(nn.Module):
    """Convolutions with BatchNorm, then a dense head."""

    @nn.compact
    def __call__(self, x, train: bool):
        for _ in range(2):
            x = nn.Conv(8, (3, 3), use_bias=False)(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(8)(x.reshape(x.shape[0], -1))


class ResidualBlock(nn.Module):
    """Two convolutions with BatchNorm beside a skip."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool):
        def norm():
            return nn.BatchNorm(use_running_average=not train)

        strides = (self.stride, self.stride)
        y = nn.Conv(self.features, (3, 3), strides, use_bias=False)(x)
        y = nn.relu(norm()(y))
        y = nn.Conv(self.features, (3, 3), use_bias=False)(y)
        y = norm()(y)
        if x.shape != y.shape:
            x = nn.Conv(self.features, (1, 1), strides, use_bias=False, name="proj")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A stem and three residual blocks."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Conv(8, (3, 3), use_bias=False, name="stem")(x)
        x = nn.BatchNorm(use_running_average=not train, name="stem_norm")(x)
        x = nn.relu(x)
        x = ResidualBlock(8)(x, train)
        x = ResidualBlock(16, stride=2)(x, train)
        x = ResidualBlock(16)(x, train)
        return nn.Dense(8, name="head")(x.mean(axis=(1, 2)))


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, and one of three groups."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(12, (3, 3), feature_group_count=3, name="grouped")(x)
        x = nn.relu(x)
        x = nn.Conv(12, (3, 3), feature_group_count=12, name="depthwise")(x)
        x = nn.Conv(8, (1, 1), name="pointwise")(x)
        return nn.relu(x).mean(axis=(1, 2))


class Stage(nn.Module):
    """A convolution, a GroupNorm and the embedded time, of a diffusion U-Net."""

    features: int

    @nn.compact
    def __call__(self, x, time):
        x = nn.Conv(self.features, (3, 3))(x)
        x = nn.GroupNorm(num_groups=4)(x)
        x = x + nn.Dense(self.features)(time)[:, None, None, :]
        return nn.silu(x)


class UNet(nn.Module):
    """Two resolutions, joined by a concatenation, conditioned on a time."""

    @nn.compact
    def __call__(self, x, time):
        channels = x.shape[-1]
        angles = time[:, None] * jnp.exp2(jnp.arange(4.0))
        time = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        time = nn.silu(nn.Dense(16, name="time")(time))
        fine = Stage(8, name="down")(x, time)
        x = nn.avg_pool(fine, (2, 2), strides=(2, 2))
        x = Stage(16, name="middle")(x, time)
        x = nn.ConvTranspose(8, (2, 2), strides=(2, 2), name="rise")(x)
        x = jnp.concatenate([fine, x], axis=-1)
        x = Stage(8, name="up")(x, time)
        return nn.Conv(channels, (1, 1), name="out")(x)


class TwoTowers(nn.Module):
    """An image and a vector, embedded apart and compared."""

    @nn.compact
    def __call__(self, image, vector):
        x = nn.relu(nn.Conv(8, (3, 3), strides=(2, 2), name="image_conv")(image))
        x = nn.Dense(8, name="image_out")(x.mean(axis=(1, 2)))
        y = nn.relu(nn.Dense(16, name="vector_in")(vector))
        y = nn.Dense(8, name="vector_out")(y)
        x = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
        y = y / jnp.linalg.norm(y, axis=-1, keepdims=True)
        scale = self.param("scale", nn.initializers.zeros, ())
        return jnp.exp(scale) * (x @ y.T)


class VAE(nn.Module):
    """A variational autoencoder that draws its latent from the stream "sample"."""

    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(16, name="encoder")(x))
        mean = nn.Dense(8, name="mean")(h)
        log_variance = nn.Dense(8, name="log_variance")(h)
        noise = jax.random.normal(self.make_rng("sample"), mean.shape)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        h = nn.relu(nn.Dense(16, name="decoder")(z))
        return nn.Dense(x.shape[-1], name="out")(h), mean, log_variance
