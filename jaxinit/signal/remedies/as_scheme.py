"""Lines of findings for models whose layers take no initializer: as schemes."""

import ast
from dataclasses import replace

from jaxinit.report.findings import Finding
from jaxinit.report.report import Report
from jaxinit.signal.remedies.laws import HIDDEN, keywords_work

# What Flax calls the parameters of layers that take `kernel_init=` and its like.
_OF_FLAX = {"kernel", "embedding"}
_MEANT = {
    "kernel_init": HIDDEN,
    "recurrent_kernel_init": 'jaxinit.role("recurrent")',
    "bias_init": 'jaxinit.role("bias") | jaxinit.role("gate_bias")',
    "scale_init": 'jaxinit.role("gain") | jaxinit.role("norm_scale")',
    "embedding_init": 'jaxinit.role("embedding")',
}


def speaking(report: Report) -> Report:
    """The report with lines that can be written for its model.

    ``kernel_init=`` and its like are for Flax's layers. Those of Equinox, Haiku or
    functions of one's own are initialized by a scheme for the same parameters.
    """
    last = {name.split("[")[0].split("/")[-1] for name in report.params}
    if keywords_work(report) and last & _OF_FLAX:
        return report
    findings = tuple(f._replace(remedy=_line(report, f)) for f in report.findings)
    return replace(report, findings=findings)


def _line(report: Report, finding: Finding) -> str | None:
    code, joint, where = (finding.remedy or "").partition("  # ")
    pairs = _arguments(code)
    if not pairs:
        return finding.remedy
    from jaxinit.signal.remedies.as_named import as_named

    found = [c for c in as_named(report, finding) if c is not None]
    if found:
        line = found[0 if len(pairs) == 1 else -1].line
    else:
        rules = ", ".join(f"({_MEANT[word]}, {what})" for word, what in pairs)
        line = f"scheme=jaxinit.rules([{rules}])"
    return f"{line}{joint}{where}"


def _arguments(code: str) -> list[tuple[str, str]]:
    """The initializers that a line names; none if it is another line."""
    try:
        call = ast.parse(f"f({code})", mode="eval").body
    except SyntaxError:
        return []
    if not isinstance(call, ast.Call) or call.args:
        return []
    found = [(str(k.arg), ast.unparse(k.value)) for k in call.keywords]
    return found if all(word in _MEANT for word, _ in found) else []
