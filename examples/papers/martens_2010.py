"""Martens 2010: sparse kernels let units differ without saturating them.

python -m examples.papers.martens_2010 [--quick]
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Autoencoder, Claim, Found, Study

Array = jax.Array

# A sigmoid's slope is below 0.018 there, a fourteenth of its largest.
SATURATED = 4.0
# The parts of a step that are tried; the best is taken.
PARTS = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


def equally_large(key: Array, shape: tuple[int, int], dtype: Any = None) -> Array:
    """Dense normal kernels whose outputs have the variance that sparse ones give."""
    fan_in = shape[0]
    return jaxinit.normal((min(15, fan_in) / fan_in) ** 0.5)(key, shape, dtype)


def hessian_free(model: nn.Module, params: Any, x: Array, steps: int) -> Array:
    """The losses before steps of Hessian-free optimization, ``(steps,)``.

    Each step solves for the minimum of the damped Gauss-Newton model by at most 30 of
    conjugate gradients, begun at the last step's solution.
    """
    start, restore = ravel_pytree(params)

    def output(theta: Array) -> Array:
        return model.apply(restore(theta), x)

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple, Array]:
        theta, last, damping = carry
        y, push = jax.linearize(output, theta)
        pull = jax.linear_transpose(push, theta)
        (gradient,) = pull(2 * (y - x) / len(x))

        def curvature(v: Array) -> Array:
            return pull(2 * push(v) / len(x))[0]

        move, _ = cg(
            lambda v: curvature(v) + damping * v,
            -gradient,
            x0=0.95 * last,
            tol=1e-3,
            maxiter=30,
        )
        loss = study.squared_error(y, x)
        tried = jax.lax.map(
            lambda part: study.squared_error(output(theta + part * move), x),
            jnp.asarray(PARTS),
        )
        foreseen = gradient @ move + move @ curvature(move) / 2
        # Levenberg and Marquardt: less damping where the model foretells the fall.
        ratio = (tried[-1] - loss) / foreseen
        damping *= jnp.where(ratio > 0.75, 2 / 3, jnp.where(ratio < 0.25, 3 / 2, 1.0))
        theta += jnp.asarray(PARTS)[jnp.nanargmin(tried)] * move
        return (theta, move, damping), loss

    first = start, jnp.zeros_like(start), jnp.float32(1.0)
    return jax.lax.scan(step, first, None, length=steps)[1]


def hidden(model: Autoencoder, variables: Any, x: np.ndarray) -> list[np.ndarray]:
    """What enters the sigmoids of the hidden layers, ``(samples, units)`` each."""
    _, seen = model.apply(
        variables, x, capture_intermediates=True, mutable=["intermediates"]
    )
    code = len(model.widths) - 1
    return [
        np.asarray(seen["intermediates"][f"Dense_{i}"]["__call__"][0])
        for i in range(2 * code)
        if i != code
    ]


def measure(widths: tuple[int, ...], samples: int, steps: int, seeds: int) -> Found:
    x = study.pixels()[:samples]
    model = Autoencoder(widths)
    schemes = {
        "sparse": jaxinit.sparse(),
        "dense, deviation 1": jaxinit.normal(1.0),
        "dense, deviation 0.01": jaxinit.normal(0.01),
        "dense, of the sparse variance": equally_large,
    }
    full, spread, losses = {}, {}, {}
    train = jax.jit(jax.vmap(lambda params: hessian_free(model, params, x, steps)))
    for name, scheme in schemes.items():
        starts = [jaxinit.initialize(model, scheme, k, x) for k in range(seeds)]
        layers = [h for start in starts for h in hidden(model, start, x)]
        full[name] = float(np.mean([(abs(h) > SATURATED).mean() for h in layers]))
        spread[name] = float(
            np.mean([np.std(1 / (1 + np.exp(-h)), axis=-1).mean() for h in layers])
        )
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
        losses[name] = np.asarray(train(stacked))
    ends = {name: float(np.median(values[:, -1])) for name, values in losses.items()}
    mean = float(x.var(0).sum())
    sparse, large, small, equal = schemes
    claims = [
        Claim(
            "Inputs of sigmoids beyond 4, and the spread of a layer's outputs over its "
            "units, before training",
            "sparse: units differ and are not saturated; dense: saturated, or so small "
            "that they are alike (section 5)",
            "; ".join(
                f"{name}: {full[name]:.0%}, {spread[name]:.3f}"
                for name in (sparse, large, small)
            ),
            full[sparse] < 0.5 * full[large] and spread[sparse] > 5 * spread[small],
        ),
        Claim(
            f"Squared error after {steps} Hessian-free steps from sparse kernels",
            "trains a deep autoencoder without pre-training",
            f"{ends[sparse]:.2f} (the mean image: {mean:.2f})",
            ends[sparse] < 0.5 * mean,
        ),
        Claim(
            "The same from dense kernels, deviations 1 and 0.01",
            "worse than from sparse ones (the reasoning of section 5, not a table)",
            f"{ends[large]:.2f} and {ends[small]:.2f}; at the variance of sparse ones, "
            f"which the paper does not try: "
            f"{ends[equal]:.2f}, with {full[equal]:.0%} beyond 4, spread "
            f"{spread[equal]:.3f}",
            ends[sparse] < min(ends[large], ends[small]),
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for color, (name, values) in zip(COLORS, losses.items(), strict=False):
            study.band(axes, np.arange(steps), values, color, name)
        axes.axhline(mean, color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel="Hessian-free step", ylabel="squared error")
        axes.set_yscale("log")

    return Found(claims, draw)


STUDY = Study(
    "martens_2010",
    "Martens, Deep learning via Hessian-free optimization, 2010",
    "an autoencoder of some hundred 8x8 digits in place of curves, MNIST and faces; "
    "few steps of at most 30 of conjugate gradients, without preconditioner or "
    "mini-batches; training error alone; nothing pre-trained to compare with.",
    {
        "full": {
            "widths": (128, 64, 32, 6),
            "samples": 1000,
            "steps": 100,
            "seeds": 3,
        },
        "quick": {
            "widths": (96, 48, 24, 6),
            "samples": 300,
            "steps": 25,
            "seeds": 2,
        },
        "smoke": {"widths": (20, 4), "samples": 20, "steps": 2, "seeds": 2},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
