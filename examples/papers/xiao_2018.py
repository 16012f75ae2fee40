"""Xiao et al. 2018: convolutions that keep all directions, at any depth.

python -m examples.papers.xiao_2018 [--quick]
"""

import jax
import jax.numpy as jnp
import numpy as np

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study

Array = jax.Array
Init = jaxinit.initializers.Initializer


def singular_values(init: Init, depth: int, features: int, size: int) -> np.ndarray:
    """Of the Jacobian of a deep tanh network of 3x3 convolutions, at a small input."""
    shape = (3, 3, features, features)
    keys = jax.random.split(jax.random.key(0), depth)
    kernels = jnp.stack([init(key, shape, jnp.float32) for key in keys])

    def network(flat: Array) -> Array:
        def layer(h: Array, kernel: Array) -> tuple[Array, None]:
            numbers = ("NHWC", "HWIO", "NHWC")
            h = jax.lax.conv_general_dilated(
                h, kernel, (1, 1), "SAME", dimension_numbers=numbers
            )
            return jnp.tanh(h), None

        h = flat.reshape(1, size, size, features)
        return jax.lax.scan(layer, h, kernels)[0].ravel()

    x = 0.01 * jax.random.normal(jax.random.key(1), (size * size * features,))
    jacobian = np.asarray(jax.jit(jax.jacfwd(network))(x))
    return np.linalg.svd(jacobian, compute_uv=False)


def measure(depths: tuple[int, ...], features: int, size: int) -> Found:
    inits = {
        "delta-orthogonal": jaxinit.delta_orthogonal(),
        "Gaussian": jaxinit.lecun_normal(),
    }
    spectra = {
        name: [singular_values(init, depth, features, size) for depth in depths]
        for name, init in inits.items()
    }
    ends = {
        name: [(s.min(), s.max()) for s in found] for name, found in spectra.items()
    }
    said = {
        name: "; ".join(
            f"{depth} layers: {low:.2g} to {high:.2g}"
            for depth, (low, high) in zip(depths, found, strict=True)
        )
        for name, found in ends.items()
    }
    low, high = ends["delta-orthogonal"][-1]
    spreads = [high / max(low, 1e-30) for low, high in ends["Gaussian"]]
    claims = [
        Claim(
            "Singular values of the Jacobian, delta-orthogonal, small inputs",
            "near 1 at any depth; 10,000 layers train",
            said["delta-orthogonal"],
            bool(low > 0.8 and high < 1.2),
        ),
        Claim(
            "The same, Gaussian kernels of the same variance",
            "spread out with depth",
            said["Gaussian"],
            bool(spreads[-1] > 100 and spreads == sorted(spreads)),
        ),
    ]

    def draw(axes: study.Axes) -> None:
        for color, (name, found) in zip(COLORS, spectra.items(), strict=False):
            values = np.maximum(found[-1], 1e-12)
            share = np.arange(1, len(values) + 1) / len(values)
            axes.plot(share, values, color=color, label=f"{name}, {depths[-1]} layers")
        axes.set(xlabel="share of singular values", ylabel="singular value")
        axes.set_yscale("log")

    return Found(claims, draw)


STUDY = Study(
    "xiao_2018",
    "Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington, Dynamical Isometry and a "
    "Mean Field Theory of CNNs: How to Train 10,000-Layer Vanilla Convolutional Neural "
    "Networks, 2018",
    "one draw of small images and few channels, at one input; nothing is trained.",
    {
        "full": {"depths": (4, 16, 64), "features": 16, "size": 8},
        "quick": {"depths": (4, 16, 64), "features": 8, "size": 4},
        "smoke": {"depths": (2, 8), "features": 4, "size": 4},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
