"""Run by `test_processes`: one of two processes, each with four devices of eight.

    python -m tests.signal.two_processes PORT INDEX [die]

Prints the facts as JSON. With ``die`` the second process ends in the middle of its
seeds.
"""

import json
import os
import sys

import jax
import numpy as np
from flax import linen as nn

import jaxinit

X = np.asarray(np.random.default_rng(1).normal(size=(16, 8)), np.float32)


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dropout(0.5, deterministic=False)(nn.relu(nn.Dense(16)(x)))
        return nn.Dense(4)(x)


def main() -> None:
    port, index, *rest = sys.argv[1:]
    jax.distributed.initialize(
        f"localhost:{port}", 2, int(index), heartbeat_timeout_seconds=20
    )
    if rest and index == "1":
        from jaxinit.signal.engine import Engine

        Engine.run_batched = lambda *_: os._exit(9)
    report = jaxinit.analyze(Noisy(), X, seeds=11, judge=False)
    numbers = {
        f"{group}.{metric}": np.asarray(values, np.float64).tobytes().hex()
        for group in ("forward", "backward", "weights")
        for metric, values in getattr(report, group).items()
    }
    facts = {
        "numbers": numbers,
        "seeds": report.seeds.tolist(),
        "settings": {k: report.settings[k] for k in ("devices", "processes")},
        "var": report.forward["var"].tolist(),
    }
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
