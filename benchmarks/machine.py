"""What the first lines of results say of the machine."""

import os

import jax


def machine() -> str:
    """Backend, device, cores, load and jax's version, in a line."""
    return (
        f"{jax.default_backend()}: {jax.devices()[0].device_kind}, {os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}, jax {jax.__version__}"
    )
