"""The line of code that a finding names, as something that can be tried."""

import ast
import math
from collections.abc import Iterator

from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.signal.remedies import laws
from jaxinit.signal.remedies.candidate import Candidate, evaluated
from jaxinit.verdict.evidence import curves

Found = Iterator[Candidate | None]

_BIASES = ("bias", "norm_bias", "gate_bias", "forget_gate_bias")
_ROLES_OF = {
    "scale_init": ("gain",),
    "recurrent_kernel_init": ("recurrent",),
    "embedding_init": ("embedding",),
}


def as_named(report: Measured, finding: Finding) -> Found:
    """The line of the finding itself, where it is initializers: there, everywhere."""
    code, _, where = (finding.remedy or "").partition("  # ")
    whole: Candidate | None = None
    for number, (word, what) in enumerate(_arguments(code)):
        each = [c for c in _placed(report, finding, word, what, where) if c]
        if not number:
            yield from each
            whole = each[0] if each else None
        else:
            whole = whole.and_also(each[0]) if whole and each else whole
            yield whole


def _arguments(code: str) -> list[tuple[str, str]]:
    """Keyword arguments, ``kernel_init=...`` and so on, whose values are known."""
    try:
        call = ast.parse(f"f({code})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return []
        found = [(str(k.arg), ast.unparse(k.value)) for k in call.keywords]
        for _, what in found:
            evaluated(what)
    except (SyntaxError, NameError, AttributeError, TypeError, ValueError):
        return []  # it is no such code, or holds a name of the user's
    return [(word, what) for word, what in found if word.endswith("_init")]


def _placed(
    report: Measured, finding: Finding, word: str, what: str, where: str
) -> Found:
    """One argument for the parameters that it may be meant for."""
    if word == "kernel_init" and "branch" in where:
        places = [laws.having(report, "branch_end")]
    elif word == "kernel_init":
        places = [laws.kernels_of(report, finding.row), laws.hidden(report)]
    elif word == "bias_init":
        gates = [c["row"] for c in curves(report, "logistic") if c.get("gate")]
        at_gates = [n for row in gates for n in laws.params_of(report, row, *_BIASES)]
        here = laws.params_of(report, finding.row, *_BIASES)
        places = [list(dict.fromkeys(at_gates)), here, laws.having(report, *_BIASES)]
    else:
        places = [laws.having(report, *_ROLES_OF.get(word, ()))]
    if math.isfinite(finding.stderr):  # found by a slope, which no single layer makes
        places.reverse()
    law = laws.named(what)
    for names in places:
        if names and word == "kernel_init" and law is not None:
            yield laws.kernels(report, names, law)
        elif names and word != "kernel_init":
            yield laws.drawn(report, names, what)
