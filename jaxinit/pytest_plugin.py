"""For pytest: the fixture that makes "my model is healthy" a test of three lines."""

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jaxinit.report.report import Report


@pytest.fixture
def assert_healthy() -> "Callable[..., Report]":
    """Analyzes a model, and fails the test if the verdict is not ``ok``.

    The fixture's value is called like ``jaxinit.analyze``; ``allow`` and ``ignore`` go
    to ``Report.assert_healthy``. On GitHub the findings become annotations as well.

    Examples:
      >>> def test_my_model_is_healthy(assert_healthy):
      ...     x = jax.ShapeDtypeStruct((32, 32, 32, 3), "float32")
      ...     assert_healthy(MyModel(), x, seeds=8)
    """

    def check(
        model: Any,
        *args: Any,
        allow: Collection[Any] = (),
        ignore: Collection[str] = (),
        **options: Any,
    ) -> "Report":
        from jaxinit.report.annotations import annotations
        from jaxinit.signal.analyze import analyze

        report: Report = analyze(model, *args, **options)
        try:
            report.assert_healthy(allow=allow, ignore=ignore)
        except AssertionError:
            if os.environ.get("GITHUB_ACTIONS") == "true":
                print("\n".join(annotations(report)))
            raise
        return report

    return check
