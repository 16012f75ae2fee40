"""TensorBoard and W&B: a report and each step's statistics are flat dicts of numbers.

    python -m examples.recipes.loggers

MLflow and Aim take the same dict: ``mlflow.log_metrics(scalars, step)``.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax
from flax import linen as nn

import jaxinit

Log = Callable[[Mapping[str, float], int], object]


@contextmanager
def tensorboard(folder: str | Path) -> Iterator[Log]:
    """Writes event files; ``flax.metrics.tensorboard`` has the same method."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def log(scalars: Mapping[str, float], step: int) -> None:
            for name, value in scalars.items():
                writer.add_scalar(name, value, step)

        yield log


@contextmanager
def wandb(folder: str | Path) -> Iterator[Log]:
    """Logs to W&B without a network; leave ``mode`` out to send it."""
    import wandb

    with wandb.init(project="jaxinit", dir=str(folder), mode="offline") as run:
        yield lambda scalars, step: run.log(dict(scalars), step=step)


def main(log: Log, steps: int = 2) -> dict[str, float]:
    """Logs the report on the initialization, then each step's statistics."""
    model = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(2)])
    x = jax.random.normal(jax.random.key(0), (16, 4))
    report = jaxinit.analyze(model, x, seeds=2, judge=False)
    log(report.scalars("init"), 0)
    variables = model.init(report.key(0), x)
    observed = jax.jit(jaxinit.observe(model))
    for step in range(steps):
        _, statistics = observed(variables, (1 + step) * x)
        scalars = statistics.scalars("train")
        log(scalars, step)
    return scalars


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        with tensorboard(folder) as log:
            main(log)
        print("written:", *(path.name for path in Path(folder).iterdir()))
