"""Times PyTorch's initializers in a process of its own, for `benchmarks.initializers`.

Reads one request a line, ``{"name": "normal", "shape": [4, 4], "calls": 100}``, and
answers with the seconds of that many draws into new tensors, by wall clock and on all
cores. It imports PyTorch alone, so that any Python that has it can run this file.
"""

import json
import sys
import time

import torch

FILL = {
    "zeros": torch.nn.init.zeros_,
    "ones": torch.nn.init.ones_,
    "constant": lambda w: torch.nn.init.constant_(w, 0.3),
    "normal": torch.nn.init.normal_,
    "uniform": torch.nn.init.uniform_,
    "truncated_normal": torch.nn.init.trunc_normal_,
    "glorot_normal": torch.nn.init.xavier_normal_,
    "glorot_uniform": torch.nn.init.xavier_uniform_,
    "he_normal": torch.nn.init.kaiming_normal_,
    "he_uniform": torch.nn.init.kaiming_uniform_,
    "orthogonal": torch.nn.init.orthogonal_,
}


def timed(name: str, shape: list[int], dtype: str, calls: int) -> dict[str, float]:
    fill, kind = FILL[name], getattr(torch, dtype)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        fill(torch.empty(shape, dtype=kind))
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
    }


def main() -> None:
    print(json.dumps({"version": torch.__version__, "names": sorted(FILL)}), flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
