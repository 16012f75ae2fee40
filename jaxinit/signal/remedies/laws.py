"""Initializers as lines of code, for parameters as they are stored."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxinit import _patterns
from jaxinit.report.measured import Measured
from jaxinit.signal.remedies.candidate import Candidate
from jaxinit.verdict.evidence import of_param, params
from jaxinit.verdict.remedies import CALLABLES, TANH_LIKE


class Law(NamedTuple):
    """An initializer of kernels.

    Attributes:
      text: the call that makes it.
      gain: variance times fan-in of what it draws; ``None`` where the fans do not
        tell (orthogonal kernels).
    """

    text: str
    gain: float | None


HE = Law("jaxinit.he_normal()", 2.0)
LECUN = Law("jaxinit.lecun_normal()", 1.0)
ORTHOGONAL = Law("jaxinit.orthogonal(1.0)", None)
SIREN = Law("jaxinit.siren()", None)

_ODD = TANH_LIKE | {None}


def scaled(gain: float) -> Law:
    """Normal kernels of variance ``gain / fan_in``."""
    return Law(f'jaxinit.variance_scaling({gain:.3g}, "fan_in", "normal")', gain)


def named(text: str) -> Law | None:
    """The law of a call; ``None`` if it hangs on the fans in a way not known here."""
    known = {law.text: law for law in (HE, LECUN)}
    fans_matter = "fan" in text or "glorot" in text
    return known.get(text) or (None if fans_matter else Law(text, None))


def for_activation(name: str | None) -> list[Law]:
    """Initializers that suit an activation, the usual one first."""
    if name in _ODD:
        found = [LECUN, ORTHOGONAL, HE]
        return [LECUN, SIREN, ORTHOGONAL] if name == "sin" else found
    if name == "selu":
        return [LECUN, ORTHOGONAL]
    found = [HE] if name == "relu" else [LECUN, HE]
    if name in CALLABLES:
        gain = f"jaxinit.calculate_gain({CALLABLES[name]})"
        found.append(Law(f"jaxinit.orthogonal({gain})", None))
    return [*found, *([LECUN] if name == "relu" else [])]


def kernels(report: Measured, names: Sequence[str], law: Law) -> Candidate | None:
    """A law for some weights; ``None`` if they have it, or there are none.

    The law is printed by its name where it reads the real fans off the shape that is
    stored. Where it would not (other orders of axes, strided transposed
    convolutions), the deviation is printed that the real fans give.
    """
    known = params(report)
    names = [n for n in names if n in known and known[n].get("fan_in")]
    if not names or all(_has(known[n], law) for n in names):
        return None
    what = law.text
    if law.gain is not None and not all(_is_plain(known[n]) for n in names):
        stds = {f"{math.sqrt(law.gain / known[n]['fan_in']):.3g}" for n in names}
        if len(stds) == 1:
            what = f"jaxinit.normal({stds.pop()})"
    fits = all(_is_plain(known[n]) for n in names) or what != law.text
    return drawn(report, names, what, by_keyword=fits)


def drawn(
    report: Measured, names: Sequence[str], what: str, *, by_keyword: bool = True
) -> Candidate:
    """An initializer for some parameters, by the keyword of a layer if they have one.

    Args:
      report: the model's.
      names: the parameters.
      what: the text of the initializer.
      by_keyword: whether it is right for the shape that a layer shows it.
    """
    rules = tuple((where, what) for where in places(report, names))
    word = _keyword(report, names) if by_keyword else None
    if word is not None:
        return Candidate(f"{word}={what}", listed(report, names), rules)
    return Candidate("", "", rules)


def listed(report: Measured, names: Sequence[str]) -> str:
    """Parameters in a few words, in the order in which data meets them."""
    order = {name.split("[")[0]: i for i, name in enumerate(report.params)}
    found = sorted(names, key=lambda name: order.get(name, len(order)))
    if len(found) < 4:
        return f"of {', '.join(found)}"
    return f"of {len(found)} parameters, {found[0]} to {found[-1]}"


def changed(report: Measured, names: Sequence[str], how: str) -> Candidate:
    """Values of the model's own init, changed by an expression of ``w``."""
    what = f"jaxinit.changed(lambda w: {how})"
    rules = tuple((where, what) for where in places(report, names))
    return Candidate("", "", rules)


def places(report: Measured, names: Sequence[str]) -> list[str]:
    """Patterns that match exactly these parameters, as literals."""
    wanted = set(names)
    everything = params(report)
    if len(wanted) > 2 and wanted == set(hidden(report)):
        return [HIDDEN]
    found: dict[str, None] = {}
    for name in names:
        pattern = _loosened(name)
        match = _patterns.compiled(pattern).fullmatch
        exact = {n for n in everything if match(n)} <= wanted
        found.setdefault(repr(pattern if exact else name))
    return list(found)


HIDDEN = (
    'jaxinit.role("weight") & ~jaxinit.role("readout") & ~jaxinit.role("embedding")'
)


def hidden(report: Measured) -> list[str]:
    """Kernels that are neither readout nor table."""
    return having(report, "weight", but=("readout", "embedding"))


def kernels_of(report: Measured, row: str | None) -> list[str]:
    """The kernels that act in a row."""
    return [n for n in params_of(report, row) if of_param(report, n).get("fan_in")]


def params_of(report: Measured, row: str | None, *roles: str) -> list[str]:
    """The parameters that act in a row, and do one of these things if any are named."""
    known = params(report)
    found = [p for r in report.rows if r.name == row for p in r.params]
    names = [n if n in known else n.split("[")[0] for n in found]
    return [
        n
        for n in names
        if n in known and (not roles or set(roles) & set(known[n]["roles"]))
    ]


def having(report: Measured, *roles: str, but: Sequence[str] = ()) -> list[str]:
    """Parameters that do one of these things, and none of those."""
    return [
        name
        for name, entry in params(report).items()
        if set(roles) & set(entry["roles"]) and not set(but) & set(entry["roles"])
    ]


def _loosened(name: str) -> str:
    """A path with a star for the number at the end of each of its parts."""
    parts = []
    for part in name.split("/"):
        bare = part.rstrip("0123456789")
        parts.append(part if bare == part else f"{bare}*")
    return "/".join(parts)


_KEYWORDS = {
    "kernel": "kernel_init",
    "bias": "bias_init",
    "scale": "scale_init",
    "embedding": "embedding_init",
}


def keywords_work(report: Measured) -> bool:
    """Whether the model's layers may take initializers as keyword arguments."""
    return bool(report.settings.get("keywords", True))


def _keyword(report: Measured, names: Sequence[str]) -> str | None:
    """The argument of a layer that initializes these parameters."""
    if not keywords_work(report):
        return None
    known = params(report)
    words = {_KEYWORDS.get(name.rpartition("/")[2]) for name in names}
    recurrent = {"recurrent" in known.get(name, {}).get("roles", ()) for name in names}
    if len(words) != 1 or None in words or len(recurrent) != 1:
        return None
    word = words.pop()
    return "recurrent_kernel_init" if recurrent == {True} and word else word


def _is_plain(entry: dict[str, Any]) -> bool:
    """Whether the fan-in that an initializer reads off the shape is the real one."""
    shape = entry["shape"][len(entry["layers"]) :]
    return len(shape) > 1 and math.prod(shape[:-1]) == entry["fan_in"]


def _has(entry: dict[str, Any], law: Law) -> bool:
    """Whether values have a law's mean square, within 4 errors of so many normals."""
    if law.gain is None or "mean_square" not in entry:
        return False
    size = math.prod(entry["shape"])
    ratio = entry["mean_square"] * entry["fan_in"] / law.gain
    return bool(abs(ratio - 1) < 4 * math.sqrt(1 / max(size, 1)))
