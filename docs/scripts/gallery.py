"""Writes the reports of the gallery.

    python docs/scripts/gallery.py

Small networks, 16 seeds each: a minute on two cores.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import jaxinit

GALLERY = Path(__file__).parents[1] / "gallery"
SEEDS = 16


class MLP(nn.Module):
    """Twelve hidden layers."""

    activation: Any = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(12):
            x = self.activation(nn.Dense(128)(x))
        return nn.Dense(10)(x)


class Residual(nn.Module):
    """Sixteen branches of two layers, without normalization."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(64, name="stem")(x)
        for i in range(16):
            branch = nn.relu(nn.Dense(64, name=f"up_{i}")(nn.relu(x)))
            x = x + nn.Dense(64, name=f"down_{i}")(branch)
        return nn.Dense(10, name="head")(x)


def main() -> None:
    GALLERY.mkdir(exist_ok=True)
    x = jax.random.normal(jax.random.key(0), (64, 32))
    schemes = {
        "lecun": jaxinit.lecun_normal(),
        "he": jaxinit.he_normal(),
        "lsuv": jaxinit.lsuv(),
    }
    comparison = jaxinit.compare(MLP(), x, schemes=schemes, seeds=SEEDS)
    comparison.to_html(GALLERY / "mlp-compared.html")
    comparison["lecun"].to_html(GALLERY / "mlp-lecun.html")
    comparison["he"].to_html(GALLERY / "mlp-he.html")
    for name, model, scheme in (
        ("tanh-saturated", MLP(jnp.tanh), jaxinit.normal(1.0)),
        ("residual", Residual(), jaxinit.he_normal()),
        ("residual-fixup", Residual(), jaxinit.fixup()),
    ):
        report = jaxinit.analyze(model, x, seeds=SEEDS, scheme=scheme)
        print(name, report.verdict)
        report.to_html(GALLERY / f"{name}.html")


if __name__ == "__main__":
    main()
