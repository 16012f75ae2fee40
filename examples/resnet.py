"""A ResNet-18 for images of CIFAR's size, and a batch of handwritten digits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a skip connection."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv = partial(nn.Conv, self.features, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        strides = (self.stride, self.stride)

        y = conv(kernel_size=(3, 3), strides=strides)(x)
        y = nn.relu(norm()(y))
        y = conv(kernel_size=(3, 3))(y)
        y = norm()(y)
        if x.shape != y.shape:
            x = conv(kernel_size=(1, 1), strides=strides, name="conv_proj")(x)
            x = norm(name="norm_proj")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A residual network with a 3x3 stem and no pooling before the last stage."""

    stages: tuple[int, ...] = (2, 2, 2, 2)
    features: int = 64
    num_classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.features, (3, 3), use_bias=False, name="conv_init")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm_init")(x)
        x = nn.relu(x)
        for stage, num_blocks in enumerate(self.stages):
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = ResidualBlock(self.features * 2**stage, stride)(x, train)
        x = x.mean(axis=(1, 2))
        return nn.Dense(self.num_classes)(x)


model = ResNet()


def inputs(batch_size: int = 32) -> jax.Array:
    """Scikit-learn's 8x8 digits, enlarged and standardized, `(batch, 32, 32, 3)`."""
    from sklearn.datasets import load_digits

    digits = load_digits().images[:batch_size].astype(np.float32)
    digits = (digits - digits.mean()) / digits.std()
    gray = digits.repeat(4, axis=1).repeat(4, axis=2)
    return jnp.asarray(np.stack([gray] * 3, axis=-1))
