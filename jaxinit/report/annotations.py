"""Findings as annotations of a GitHub workflow."""

from collections.abc import Iterator

from jaxinit.report.measured import Measured
from jaxinit.report.text import visible


def annotations(report: Measured) -> Iterator[str]:
    """One workflow command for each problem: an error that shows beside the change.

    Args:
      report: whose findings to tell.

    Yields:
      Lines to print in a step of a workflow.

    References:
      "Workflow commands for GitHub Actions", GitHub Docs, section "Setting an error
      message".
    """
    for finding in report.findings:
        if not finding.is_problem:
            continue
        place = f" at {finding.row}" if finding.row is not None else ""
        remedy = f" Remedy: {finding.remedy}" if finding.remedy is not None else ""
        title = _property(f"jaxinit: {finding.kind}{place}")
        yield f"::error title={title}::{_data(finding.message + remedy)}"


def _data(text: str) -> str:
    return visible(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
