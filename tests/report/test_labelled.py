"""`to_xarray`: the report's arrays under the names of rows, parameters and seeds."""

import sys

import numpy as np
import pytest

from tests.report.synthetic import dense_rows, make_report, walk

REPORT = make_report(dense_rows(4), log2_moment=walk(16, 4, drift=-1, step=0.1))


def test_every_number_is_where_its_names_say():
    data = REPORT.to_xarray()

    for axis, metrics, names in (
        ("row", REPORT.forward | REPORT.backward, REPORT.layers),
        ("param", REPORT.weights, REPORT.params),
    ):
        for metric, values in metrics.items():
            for i, name in enumerate(names):
                for j, seed in enumerate(REPORT.seeds):
                    found = data[metric].sel({axis: name, "seed": seed})
                    np.testing.assert_equal(float(found), values[j, i])
    assert list(data["kind"].values) == list(REPORT.kinds)
    assert data.attrs["verdict"] == REPORT.verdict


def test_without_xarray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)

    with pytest.raises(ImportError, match=r"pip install 'jaxinit\[data\]'"):
        REPORT.to_xarray()
