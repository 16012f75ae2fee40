"""Numbers that others published, beside what jaxinit measures.

``python -m examples.published`` prints a line for each: isometry (Pennington et al.
2017), residual streams (De and Smith 2020; Brock et al. 2021) and where a
transformer's norms are (Xiong et al. 2020). The theory of plain chains is in
``tests/signal/test_theory.py``.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from flax import linen as nn

import jaxinit

Array = jax.Array


class Line(NamedTuple):
    """One number: who published it, what it is, theirs and ours."""

    source: str
    quantity: str
    published: float
    measured: float


def spread_of_squares(
    kernel: Callable[..., Array], relu: bool, depth: int, width: int, seeds: int
) -> float:
    r"""Variance of a Jacobian's squared singular values over their squared mean.

    With :math:`A = J J^\top` it is
    :math:`n \sum_{ij} A_{ij}^2 / (\mathrm{tr} A)^2 - 1`.

    Args:
      kernel: the initializer of the square kernels.
      relu: whether a ReLU follows each, with twice the variance.
      depth: the number of layers.
      width: their width n.
      seeds: how many networks to take the mean of.
    """
    found = []
    for seed in range(seeds):
        x = np.random.default_rng(seed).standard_normal(width)
        jacobian = np.eye(width)
        for i in range(depth):
            key = jax.random.fold_in(jax.random.key(seed), i)
            w = np.asarray(kernel(key, (width, width)), np.float64).T
            w = w * math.sqrt(2.0) if relu else w
            z = w @ x
            slope = (z > 0).astype(float) if relu else np.ones(width)
            x, jacobian = z * slope, slope[:, None] * (w @ jacobian)
        a = jacobian @ jacobian.T
        found.append(width * (a**2).sum() / np.trace(a) ** 2 - 1)
    return float(np.mean(found))


def isometry(depth: int = 8, width: int = 256, seeds: int = 4) -> list[Line]:
    """Gaussian kernels spread singular values with depth, orthogonal ones do not."""
    source = "Pennington et al. 2017"
    gauss, orthogonal = jaxinit.lecun_normal(), jaxinit.orthogonal()
    sizes = depth, width, seeds
    return [
        Line(source, f"{name}, {depth} layers", theory, spread_of_squares(*net, *sizes))
        for name, theory, net in (
            ("linear, Gaussian", depth, (gauss, False)),
            ("linear, orthogonal", 0, (orthogonal, False)),
            ("ReLU, Gaussian", 2 * depth, (gauss, True)),
            ("ReLU, orthogonal", depth, (orthogonal, True)),
        )
    ]


class Stream(nn.Module):
    """Blocks ``x + relu(W norm(x))`` or, without norms, ``x + W relu(x)``; He's W."""

    blocks: int
    width: int
    norm: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for _ in range(self.blocks):
            layer = nn.Dense(self.width, kernel_init=jaxinit.he_normal())
            if self.norm:
                norm = nn.BatchNorm(False, use_scale=False, use_bias=False)
                x = x + nn.relu(layer(norm(x)))
            else:
                x = x + layer(nn.relu(x))
        return x


def streams(blocks: int = 4, width: int = 512, seeds: int = 8) -> list[Line]:
    """Without norms a stream doubles per block, with norms it grows by a constant."""
    x = jax.random.normal(jax.random.key(0), (128, width))
    found = []
    for norm in (False, True):
        model = Stream(blocks, width, norm)
        report = jaxinit.analyze(model, x, seeds=seeds, progress=False, judge=False)
        joins = [i for i, kind in enumerate(report.kinds) if kind == "join"]
        if norm:
            values = report.forward["chan_var"][:, joins].mean(axis=0)
            theory = 1 + (1 - 1 / math.pi) * np.arange(1, blocks + 1)
            source, what = "Brock et al. 2021", "channel variance behind block"
        else:
            values = report.forward["second_moment"][:, joins].mean(axis=0)
            # x and W relu(x) have one second moment and no product in the mean.
            theory = 2.0 ** np.arange(1, blocks + 1)
            source, what = "De and Smith 2020", "second moment behind block"
        found += [
            Line(source, f"{what} {i + 1}", float(t), float(v))
            for i, (t, v) in enumerate(zip(theory, values, strict=True))
        ]
    return found


class Block(nn.Module):
    """A block with norms inside its branches, or behind the sums.

    As the paper assumes: queries and keys start at 0, so that attention is the mean
    over tokens; one head; a feed-forward layer as wide as the stream; Xavier's kernels.
    """

    pre: bool

    @nn.compact
    def __call__(self, x: Array, _: None) -> tuple[Array, None]:
        def dense(name: str) -> nn.Dense:
            kernel = jaxinit.glorot_normal()
            return nn.Dense(x.shape[-1], use_bias=False, kernel_init=kernel, name=name)

        value, first, last = dense("value"), dense("first"), dense("last")
        for branch in (
            lambda h: value(h).mean(axis=1, keepdims=True),
            lambda h: last(nn.relu(first(h))),
        ):
            norm = nn.LayerNorm(use_scale=False, use_bias=False)
            x = x + branch(norm(x)) if self.pre else norm(x + branch(x))
        return x, None


class Transformer(nn.Module):
    """Blocks that a scan runs, and a norm behind them if there is none in the last."""

    blocks: int
    pre: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        rngs, axes = {"params": True}, {"params": 0}
        stack = nn.scan(Block, axes, split_rngs=rngs, length=self.blocks)
        x, _ = stack(self.pre, name="blocks")(x, None)
        return nn.LayerNorm(use_scale=False, use_bias=False)(x) if self.pre else x


def norms(
    short: int = 8, long: int = 32, width: int = 64, seeds: int = 8
) -> list[Line]:
    r"""How the last feed-forward layer's gradient changes with depth.

    By theorem 1 it does not behind post-LN, and falls like :math:`1/\sqrt L` behind
    pre-LN: the last norm divides it by the size of the stream, whose square grows by
    a constant per block.
    """
    x = jax.random.normal(jax.random.key(0), (8, 8, width))
    found = []
    for pre, theory in ((False, 1.0), (True, math.sqrt(short / long))):
        sizes = []
        for blocks in (short, long):
            model = Transformer(blocks, pre)
            report = jaxinit.analyze(model, x, seeds=seeds, progress=False, judge=False)
            i = report.params.index(f"blocks/last/kernel[{blocks - 1}]")
            sizes.append(np.exp(np.log(report.weights["wgrad_norm"][:, i]).mean()))
        name = "pre-LN" if pre else "post-LN"
        what = f"{name}, last gradient at {long} blocks over that at {short}"
        ratio = float(sizes[1] / sizes[0])
        found.append(Line("Xiong et al. 2020", what, theory, ratio))
    return found


def main() -> None:
    """Prints the table."""
    for lines in (isometry, streams, norms):
        for line in lines():
            print(
                f"{line.source:24} {line.quantity:48} "
                f"published {line.published:8.3f}  measured {line.measured:8.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
