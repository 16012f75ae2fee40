"""What is done about findings: nothing, what they name, or what trying shows."""

from typing import Any, Literal

from jaxinit._progress import Bar
from jaxinit.report.report import Report
from jaxinit.signal.prepare import Prepared
from jaxinit.signal.remedies.as_scheme import speaking

How = Literal["tried", "named", "none"]
HOWS: tuple[How, ...] = ("tried", "named", "none")


def check_remedies(remedies: Any) -> None:
    """Raises a ValueError unless it says how remedies are to be found."""
    if remedies not in HOWS:
        raise ValueError(
            f"`remedies` must be one of {', '.join(map(repr, HOWS))}, got "
            f"{remedies!r:.80}."
        )


def with_remedies(
    prepared: Prepared, report: Report, scheme: Any, how: How, bar: Bar
) -> Report:
    """The report with remedies for its findings.

    Args:
      prepared: what was measured.
      report: what was found.
      scheme: the user's scheme.
      how: whether they are tried.
      bar: is told of them.

    Returns:
      A copy with ``remedies``, the best first. A remedy that mends takes the place
      of what the findings named without trying.
    """
    if how == "none" or report.verdict == "ok" or report.interrupted:
        return speaking(report)
    # A healthy model needs none of what finds them.
    from jaxinit.signal.remedies.trying import sought

    return sought(prepared, report, scheme, how, bar)
