"""Erhan et al. 2010: does unsupervised pre-training help where labels are few?

python -m examples.papers.erhan_2010 [--quick]
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study
from jaxinit.train.datasets import digits


class Stack(nn.Module):
    """Two sigmoid layers and a readout."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.sigmoid(nn.Dense(self.width)(x))
        return nn.Dense(10)(x)


def errors_after(
    model: Stack, variables: list[dict], data: tuple, labels: int, steps: int
) -> np.ndarray:
    """Of each start, after training on the first so many labels, ``(starts,)``."""
    x, y, held_x, held_y = data
    optimizer = optax.adam(3e-3)

    def loss(params: dict) -> jax.Array:
        logits = model.apply(params, x[:labels])
        each = optax.softmax_cross_entropy_with_integer_labels(logits, y[:labels])
        return each.mean()

    def train(params: dict) -> jax.Array:
        def step(carry: tuple, _: None) -> tuple:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        start = (params, optimizer.init(params))
        params = jax.lax.scan(step, start, None, length=steps)[0][0]
        return jnp.mean(model.apply(params, held_x).argmax(-1) != held_y)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variables)
    return np.asarray(jax.jit(jax.vmap(train))(stacked))


def measure(
    width: int, budgets: tuple[int, ...], epochs: int, steps: int, seeds: int
) -> Found:
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    data = (images[:1300], labels[:1300], images[1300:], labels[1300:])
    model = Stack(width)
    method = jaxinit.denoising_autoencoder(epochs=epochs)
    schemes = {
        "random": jaxinit.glorot_uniform(),
        "pre-trained": jaxinit.greedy_pretrain(method),
    }
    errors = {}
    for name, scheme in schemes.items():
        starts = [
            jaxinit.initialize(model, scheme, seed, jnp.asarray(data[0]))
            for seed in range(seeds)
        ]
        errors[name] = np.stack(
            [errors_after(model, starts, data, budget, steps) for budget in budgets]
        )
    gains = errors["random"] - errors["pre-trained"]
    means = {name: values.mean(-1) for name, values in errors.items()}
    stderr = gains.std(-1, ddof=1) / seeds**0.5
    claims = [
        Claim(
            f"Test error, random against pre-trained, {budget} labels",
            published,
            f"{random:.1%} against {pretrained:.1%}; gain {gain:.1%} ± {error:.1%}",
            bool(gain > 2 * error) if few else bool(abs(gain) < gains[0].mean()),
        )
        for budget, random, pretrained, gain, error, few, published in zip(
            (budgets[0], budgets[-1]),
            means["random"][[0, -1]],
            means["pre-trained"][[0, -1]],
            gains.mean(-1)[[0, -1]],
            stderr[[0, -1]],
            (True, False),
            ("pre-training helps", "helps less, the more labels there are"),
            strict=True,
        )
    ]

    def draw(axes: study.Axes) -> None:
        for color, (name, values) in zip(COLORS, errors.items(), strict=False):
            study.band(axes, budgets, values.T, color, name)
        axes.set(xlabel="labels", ylabel="test error", xscale="log")

    return Found(claims, draw)


STUDY = Study(
    "erhan_2010",
    "Erhan, Bengio, Courville, Manzagol, Vincent and Bengio, Why Does Unsupervised "
    "Pre-training Help Deep Learning?, 2010",
    "two sigmoid layers on 8x8 digits, 1300 of them to learn from and 497 to test; one "
    "rate of Adam; denoising autoencoders.",
    {
        "full": {
            "width": 128,
            "budgets": (30, 100, 300, 1300),
            "epochs": 60,
            "steps": 400,
            "seeds": 8,
        },
        "quick": {
            "width": 64,
            "budgets": (30, 100, 1300),
            "epochs": 20,
            "steps": 150,
            "seeds": 4,
        },
        "smoke": {
            "width": 16,
            "budgets": (30, 100),
            "epochs": 1,
            "steps": 3,
            "seeds": 2,
        },
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
