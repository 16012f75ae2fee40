"""The report's arrays with names on their axes, as xarray has them."""

from typing import TYPE_CHECKING, Any

from jaxinit.report.measured import Measured

if TYPE_CHECKING:
    import xarray as xr


def dataset(report: Measured) -> "xr.Dataset":
    """All metrics of a report; the return value is ``Report.to_xarray``'s."""
    try:
        import xarray as xr
    except ImportError as error:
        raise ImportError(
            "`to_xarray` needs xarray: pip install 'jaxinit[data]'. `to_records` gives "
            "the same without it."
        ) from error
    variables: dict[str, Any] = {
        name: (("seed", "row"), values)
        for name, values in (report.forward | report.backward).items()
    }
    variables |= {
        name: (("seed", "param"), values) for name, values in report.weights.items()
    }
    variables |= {name: ("seed", values) for name, values in report.model.items()}
    if report.loss is not None:
        variables["loss"] = ("seed", report.loss)
    coordinates: dict[str, Any] = {
        "seed": report.seeds,
        "row": list(report.layers),
        "param": list(report.params),
    }
    for field in ("kind", "operation", "dtype"):
        values = [getattr(row, field) for row in report.rows]
        coordinates[field] = ("row", values)
    attributes = {"verdict": report.verdict, "mode": report.mode}
    return xr.Dataset(variables, coordinates, attributes)
