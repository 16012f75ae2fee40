"""Reports that hold the same statistics."""

from collections.abc import Iterable

import numpy as np

from jaxinit.report.report import Report

GROUPS = ("forward", "backward", "weights")


def assert_same_statistics(
    found: Report,
    expected: Report,
    *,
    rtol: float,
    atol: float = 0.0,
    groups: Iterable[str] = GROUPS,
) -> None:
    """Metric by metric; of ``expected`` only as many seeds as were found."""
    for group in groups:
        ours, theirs = getattr(found, group), getattr(expected, group)
        assert ours.keys() == theirs.keys()
        assert ours, f"no {group} statistics"
        for name, values in ours.items():
            wanted = theirs[name][: len(values)]
            np.testing.assert_allclose(
                values, wanted, rtol=rtol, atol=atol, err_msg=name
            )
