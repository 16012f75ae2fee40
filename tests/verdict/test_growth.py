"""What it costs to judge sizes grows with the layers, and no faster."""

import numpy as np

from jaxinit.report.measured import Measured, Row
from jaxinit.verdict.steps_of_size import judge_sizes
from tests.growth import is_linear


def chain(count: int, jump: int | None = None) -> Measured:
    """Layers one behind another, with ordinary sizes up to the one that jumps."""
    names = [f"Dense_{i}" for i in range(count)]
    leaving = [1000.0 if jump is not None and i >= jump else 1.0 for i in range(count)]
    row = Row(
        "", "layer", "dot_general", (2, 4), "float32", (), None, 4, 4, 1, 2, (), ()
    )
    param = {"fan_in": 4, "mean_square": 0.25, "roles": ["weight"], "shape": [4, 4]}
    params = {f"{name}/kernel": param for name in names}
    if jump is not None:
        params[f"{names[jump]}/kernel"] = param | {"mean_square": 250.0}
    return Measured(
        rows=tuple(row._replace(name=n, params=(f"{n}/kernel",)) for n in names),
        forward={"second_moment": np.tile(leaving, (3, 1))},
        backward={},
        params=tuple(params),
        weights={},
        profiles={},
        seeds=np.arange(3),
        key_data=np.zeros(2, np.uint32),
        key_impl="threefry2x32",
        mode="probe",
        loss=None,
        unreached=(),
        notes=(),
        settings={},
        evidence={
            "fronts": {
                name: {"after": names[max(i - 1, 0) : i], "by": [], "inputs": []}
                for i, name in enumerate(names)
            },
            "params": params,
            "curves": [
                {"what": "input", "row": name, "mean_square": entering}
                for name, entering in zip(names, [1.0, *leaving], strict=False)
            ],
        },
    )


def test_the_cost_of_judging_sizes_is_linear():
    def judge(count: int):
        report = chain(count)
        return lambda: judge_sizes(report)

    assert judge_sizes(chain(3)) == []
    assert is_linear(judge, (20, 40, 80))


def test_a_layer_of_another_size_is_found_among_many():
    (found,) = judge_sizes(chain(40, jump=20))

    assert (found.kind, found.row) == ("exploding", "Dense_20")
