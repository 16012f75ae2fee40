"""Zhang et al. 2019, Fixup: residual networks without normalization, at any depth.

python -m examples.papers.zhang_2019_fixup [--quick]
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import Claim, Found, Study
from jaxinit.train.datasets import digits


class Block(nn.Module):
    """Two layers with scalar biases and a multiplier, beside a skip."""

    @nn.compact
    def __call__(self, x: jax.Array, _: jax.Array) -> tuple[jax.Array, None]:
        def scalar(name: str, init: jaxinit.initializers.Initializer) -> jax.Array:
            return self.param(name, init, ())

        width = x.shape[-1]
        y = nn.Dense(width, use_bias=False, name="up")(
            x + scalar("bias_1", jaxinit.zeros)
        )
        y = nn.relu(y + scalar("bias_2", jaxinit.zeros))
        y = nn.Dense(width, use_bias=False, name="down")(
            y + scalar("bias_3", jaxinit.zeros)
        )
        y = y * scalar("scale", jaxinit.ones) + scalar("bias_4", jaxinit.zeros)
        return x + y, None


class Residual(nn.Module):
    """A stem, blocks, a head; no normalization."""

    blocks: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(self.width, name="stem")(x)
        stack = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True})
        x, _ = stack(name="blocks")(x, jnp.arange(self.blocks))
        return nn.Dense(10, name="head")(x)


def measure(
    blocks: int, depths: tuple[int, ...], width: int, steps: int, seeds: int
) -> Found:
    schemes = {"He": jaxinit.he_normal(), "Fixup": jaxinit.fixup()}
    result = jaxinit.race(
        Residual(blocks, width),
        digits(),
        schemes=schemes,
        optimizer=lambda rate: optax.sgd(rate, momentum=0.9),
        learning_rates=[0.01, 0.03, 0.1],
        steps=steps,
        seeds=seeds,
        solutions=0,
        diagnose=False,
    )
    he, fixup = (study.share(result, name) for name in schemes)
    losses = [study.final(result, name) for name in schemes]
    images, labels = digits()
    check = jaxinit.coord_check(
        lambda depth: Residual(depth, width),
        widths=depths,
        axis="depth",
        x=images[:64],
        y=labels[:64],
        optimizer=optax.sgd(0.01),
        scheme=jaxinit.fixup(),
        steps=2,
        seeds=seeds,
    )
    slope = check.trends()[-1].update
    claims = [
        Claim(
            f"{blocks} blocks without normalization, under Fixup",
            "trains as well as with normalization, at up to 10,000 layers",
            f"{fixup:.0%} of runs train at their best rate, loss {losses[1]:.3f}",
            fixup > 0.5,
        ),
        Claim(
            "The same under He's kernels",
            "explodes",
            f"{he:.0%} of runs train at their best rate, loss {losses[0]:.3g}",
            he < 0.5,
        ),
        Claim(
            f"The change of the output over two steps, {depths[0]} to {depths[-1]} "
            "blocks, under Fixup",
            "of one size, whatever the depth: slope 0 of its logarithm",
            f"slope {slope.value:.2f}, from {slope.low:.2f} to {slope.high:.2f}",
            bool(abs(slope.value) < 0.25),
        ),
    ]
    return Found(claims, lambda axes: study.draw_losses(axes, result))


STUDY = Study(
    "zhang_2019_fixup",
    "Zhang, Dauphin and Ma, Fixup Initialization: Residual Learning Without "
    "Normalization, 2019",
    "dense blocks on 8x8 digits in place of ResNets on CIFAR and ImageNet; a few "
    "hundred steps.",
    {
        "full": {
            "blocks": 100,
            "depths": (4, 16, 64),
            "width": 64,
            "steps": 300,
            "seeds": 4,
        },
        "quick": {
            "blocks": 64,
            "depths": (4, 16, 64),
            "width": 32,
            "steps": 100,
            "seeds": 3,
        },
        "smoke": {
            "blocks": 8,
            "depths": (2, 4),
            "width": 16,
            "steps": 10,
            "seeds": 2,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
