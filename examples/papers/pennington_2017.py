"""Pennington et al. 2017: the singular values of a deep network's Jacobian.

python -m examples.papers.pennington_2017 [--quick]
"""

import jax
import jax.numpy as jnp
import numpy as np

import jaxinit
from examples.papers import study
from examples.papers.study import COLORS, Claim, Found, Study

Array = jax.Array


def singular_values(
    init: jaxinit.initializers.Initializer, activation: str, depth: int, width: int
) -> np.ndarray:
    """Of the Jacobian of the last layer's output with respect to the input."""
    function = {"linear": lambda h: h, "relu": jax.nn.relu, "tanh": jnp.tanh}[
        activation
    ]
    keys = jax.random.split(jax.random.key(0), depth)
    kernels = jax.vmap(lambda key: init(key, (width, width), jnp.float32))(keys)

    def network(x: Array) -> Array:
        return jax.lax.scan(lambda h, w: (function(h @ w), None), x, kernels)[0]

    # Small inputs keep tanh where the theory has its fixed point.
    x = jax.random.normal(jax.random.key(1), (width,)) * 0.1
    return np.linalg.svd(np.asarray(jax.jit(jax.jacfwd(network))(x)), compute_uv=False)


def measure(depth: int, width: int) -> Found:
    gaussian = jaxinit.lecun_normal()
    relu_gaussian = jaxinit.he_normal()
    spectra = {
        "linear, Gaussian": singular_values(gaussian, "linear", depth, width),
        "linear, orthogonal": singular_values(
            jaxinit.orthogonal(), "linear", depth, width
        ),
        "tanh, orthogonal": singular_values(jaxinit.orthogonal(), "tanh", depth, width),
        "relu, Gaussian": singular_values(relu_gaussian, "relu", depth, width),
        "relu, orthogonal": singular_values(
            jaxinit.orthogonal(2**0.5), "relu", depth, width
        ),
    }
    largest = float(spectra["linear, Gaussian"].max() ** 2)
    # The edge of the product of L Gaussian matrices.
    predicted = (depth + 1) ** (depth + 1) / depth**depth
    isometry = np.ptp(spectra["linear, orthogonal"])
    tanh = spectra["tanh, orthogonal"]
    zeros = {
        name: float((spectra[name] < 1e-3).mean())
        for name in ("relu, Gaussian", "relu, orthogonal")
    }
    claims = [
        Claim(
            f"Largest squared singular value, {depth} linear layers, Gaussian",
            f"(L+1)^(L+1)/L^L = {predicted:.1f}, growing as eL",
            f"{largest:.1f} at width {width}",
            abs(largest / predicted - 1) < 0.25,
        ),
        Claim(
            "All singular values, linear layers, orthogonal",
            "exactly 1: dynamical isometry",
            f"from {1 - isometry:.5f} to 1, up to rounding",
            isometry < 1e-3,
        ),
        Claim(
            "Singular values, tanh, orthogonal, near its critical point",
            "concentrated near 1",
            f"from {tanh.min():.3f} to {tanh.max():.3f}",
            tanh.min() > 0.1 and tanh.max() < 1.1,
        ),
        Claim(
            "relu, whatever the kernels",
            "cannot reach dynamical isometry",
            " and ".join(f"{v:.0%} below 0.001 ({k})" for k, v in zeros.items()),
            min(zeros.values()) > 0.3,
        ),
    ]

    def draw(axes: study.Axes) -> None:
        share = np.arange(1, width + 1) / width
        for color, (name, values) in zip(COLORS, spectra.items(), strict=False):
            axes.plot(share, np.maximum(values, 1e-8), color=color, label=name)
        axes.set(xlabel="share of singular values", ylabel="singular value")
        axes.set_yscale("log")

    return Found(claims, draw)


STUDY = Study(
    "pennington_2017",
    "Pennington, Schoenholz and Ganguli, Resurrecting the sigmoid in deep learning "
    "through dynamical isometry: theory and practice, 2017",
    "one draw of each network, at one input; nothing is trained.",
    {
        "full": {"depth": 32, "width": 1000},
        "quick": {"depth": 16, "width": 300},
        "smoke": {"depth": 8, "width": 64},
    },
    measure,
)

if __name__ == "__main__":
    study.main(STUDY)
