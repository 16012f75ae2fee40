"""Reports with known statistics, made without any model."""

import math
from typing import Any

import numpy as np

from jaxinit.report.measured import Row
from jaxinit.report.report import Report


def row(
    name: str,
    operation: str = "dot_general",
    *,
    width: int = 256,
    shape: tuple[int, ...] | None = None,
    kind: str = "layer",
    activation: str | None = "relu",
    params: tuple[str, ...] | None = None,
    samples: int = 4096,
    dtype: str = "float32",
    steps: int = 1,
    skip: tuple[str, ...] = (),
    branch: tuple[str, ...] = (),
) -> Row:
    return Row(
        name=name,
        kind=kind,
        operation=operation,
        shape=(samples, width) if shape is None else shape,
        dtype=dtype,
        params=(f"{name}/kernel",) if params is None else params,
        activation=activation,
        fan_in=width,
        fan_out=width,
        steps=steps,
        samples=samples,
        skip=skip,
        branch=branch,
    )


def dense_rows(count: int, **options: Any) -> tuple[Row, ...]:
    """``count`` dense layers, the last one without an activation."""
    rows = [row(f"Dense_{i}", **options) for i in range(count)]
    return (*rows[:-1], rows[-1]._replace(activation=None))


def walk(
    num_seeds: int, rows: int, *, drift: float, step: float, seed: int = 0
) -> np.ndarray:
    """Log2 curves that gain ``drift`` per row, plus a normal step of its own."""
    rng = np.random.default_rng(seed)
    steps = drift + step * rng.standard_normal((num_seeds, rows))
    steps[:, 0] -= drift
    return steps.cumsum(axis=1)


def make_report(
    rows: tuple[Row, ...],
    *,
    log2_moment: np.ndarray | float = 0.0,
    log2_grad: np.ndarray | float | None = 0.0,
    num_seeds: int = 16,
    forward: dict[str, np.ndarray] | None = None,
    weights: dict[str, np.ndarray] | None = None,
    settings: dict[str, Any] | None = None,
    **fields: Any,
) -> Report:
    """A report whose second moments and gradients have the given logarithms."""
    shape = (num_seeds, len(rows))
    moment = np.exp2(np.broadcast_to(log2_moment, shape).astype(np.float64))
    params = tuple(dict.fromkeys(name for r in rows for name in r.params))
    metrics = {
        "mean": np.zeros(shape),
        "second_moment": moment,
        "rms": np.sqrt(moment),
        "cos": np.full(shape, 0.1),
        "absmax": 4 * np.sqrt(moment),
        "frac_zero": np.zeros(shape),
        "frac_nonfinite": np.zeros(shape),
        "dead": np.zeros(shape),
    }
    backward = {}
    if log2_grad is not None:
        grad = np.broadcast_to(log2_grad, shape).astype(np.float64)
        backward["grad_rms"] = np.exp2(grad)
    norms = np.full((num_seeds, len(params)), math.sqrt(256))
    values: dict[str, Any] = {
        "rows": rows,
        "forward": metrics | (forward or {}),
        "backward": backward,
        "params": params,
        "weights": {"weight_norm": norms, "wgrad_norm": norms} | (weights or {}),
        "profiles": {},
        "seeds": np.arange(num_seeds),
        "key_data": np.array([0, 7], np.uint32),
        "key_impl": "threefry2x32",
        "mode": "probe",
        "loss": None,
        "unreached": (),
        "notes": (),
        "settings": {"batch_size": 64, "model": "MLP"} | (settings or {}),
    }
    return Report(**values | fields)
