"""Run by `test_processes`: one of two processes, each with four devices of eight.

    python -m tests.signal.two_processes PORT INDEX FILE [die]

Writes the facts to the file, as JSON: what is printed lands in the middle of what Gloo
says. With ``die`` the second process ends in the middle of its seeds.
"""

import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
from flax import linen as nn

import jaxinit
from jaxinit.signal.engine import Engine

SEEDS = 11
X = np.asarray(np.random.default_rng(1).normal(size=(16, 8)), np.float32)


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dropout(0.5, deterministic=False)(nn.relu(nn.Dense(16)(x)))
        return nn.Dense(4)(x)


def main() -> None:
    port, index, file, *rest = sys.argv[1:]
    # The other process is to notice soon, and who lives not to be taken for dead.
    jax.distributed.initialize(
        f"localhost:{port}", 2, int(index), heartbeat_timeout_seconds=5 if rest else 10
    )
    ran: set[int] = set()
    batched = Engine.run_batched

    def run_batched(self, seeds, *given):
        if rest and index == "1":
            os._exit(9)
        ran.update(map(int, seeds))
        return batched(self, seeds, *given)

    Engine.run_batched = run_batched
    report = jaxinit.analyze(Noisy(), X, seeds=SEEDS, judge=False)
    facts = {
        group: {k: v.tolist() for k, v in getattr(report, group).items()}
        for group in ("forward", "backward", "weights")
    }
    facts |= {k: report.settings[k] for k in ("devices", "processes")}
    Path(file).write_text(json.dumps(facts | {"ran": sorted(ran)}))


if __name__ == "__main__":
    main()
