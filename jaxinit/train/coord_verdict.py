"""What grows or shrinks with the width, whether it may, and the likeliest causes."""

import math
from typing import NamedTuple

import numpy as np

from jaxinit import _intervals as intervals
from jaxinit._intervals import Interval
from jaxinit.train.coord_laws import Move, strays
from jaxinit.train.coord_sizes import CoordSizes

# With Adam at one rate for all widths a hidden layer's change grows as the width; with
# multipliers the wrong way round, as its square.
_WRONG_WAY = 1.5
# What passes through weights with a factor of one over the width is a sum of
# independent terms: it falls with this slope, beside what was learned, which stays.
_INDEPENDENT = -0.5


class Trend(NamedTuple):
    """How one layer depends on the width.

    Attributes:
      layer: its name.
      initial: the slope of log2 rms on log2 width before training.
      final: that after the last step.
      update: that of the change since.
      word: ``"flat"``, ``"grows"``, ``"shrinks"`` or ``"unclear"``.
      is_bug: whether it should not.
    """

    layer: str
    initial: Interval
    final: Interval
    update: Interval
    word: str
    is_bug: bool


class Finding(NamedTuple):
    """A likely cause.

    Attributes:
      kind: its name.
      message: what was seen, and what to do.
    """

    kind: str
    message: str


def trends(check: CoordSizes) -> tuple[Trend, ...]:
    """The trend of each layer.

    A change must be flat: one that grows blows up, one that shrinks means that the
    layer does not learn at great width. Activations before training must be flat; what
    they are afterwards is the sum of both, and shows nothing of its own: where it grows
    faster, small networks unlearn what they began with. At the output and at attention
    scores, independent terms with a factor of one over the width add up to less, before
    training and of what hidden layers change in front of them: that may shrink so fast.
    """
    found = []
    initial = _slopes(check, check.activations[:, :, 0, :, 1])
    final = _slopes(check, check.activations[:, :, -1, :, 1])
    update = _slopes(check, check.updates[:, :, -1, :, 1])
    for i, layer in enumerate(check.layers):
        changes, begins = (word(s[i], check.tolerance) for s in (update, initial))
        if i == len(check.layers) - 1 or {"scores", "readout"} & set(check.roles[i]):
            begins = "" if begins == "shrinks" else begins
            if update[i].value >= _INDEPENDENT - check.tolerance:
                changes = "unclear" if changes == "shrinks" else changes
        bad = [w for w in (changes, begins) if w in ("grows", "shrinks")]
        said = bad[0] if bad else changes or "flat"
        found.append(Trend(layer, initial[i], final[i], update[i], said, bool(bad)))
    return tuple(found)


def word(slope: Interval, tolerance: float) -> str:
    """A slope in a word; empty where nothing ever changes.

    What grows is off 0 by more than chance, and more than the tolerance; what shrinks
    is so with its whole interval, as parts that pass with the width do shrink.
    """
    if math.isnan(slope.value):
        return ""
    low, high = slope.low, slope.high
    if math.isnan(low):
        low = high = slope.value
    if abs(slope.value) <= tolerance:
        return "unclear" if high - low > 4 * tolerance else "flat"
    if slope.value > 0:
        return "grows" if low > 0 else "unclear"
    return "shrinks" if high < -tolerance else "unclear"


def stands_still(check: CoordSizes) -> bool:
    """Whether a layer changes, or a parameter moves, too little at great width."""
    return any(
        word(t.update, check.tolerance) == "shrinks" for t in trends(check)
    ) or any(move.slope.value < move.law for move in _strays(check))


def diagnose(check: CoordSizes) -> tuple[Finding, ...]:
    """The usual bugs that the slopes tell of: of layers, and of parameters alone.

    A layer changes by what those before it pass on even where its own parameters stand
    still, and each of its parameters may hide another's.
    """
    seen = {t.layer: t for t in trends(check)}
    loud = _loud(check, seen)
    if loud is not None:
        return (loud,)  # whose gradients make all else grow
    rows = list(zip(check.layers, check.roles, strict=True))
    found = [_tied(check, seen)]
    hidden = [
        seen[name]
        for name, roles in rows[:-1]
        if not {"scores", "join", "readout", "embedding"} & set(roles)
    ]
    grown = [
        t.update.value for t in hidden if word(t.update, check.tolerance) == "grows"
    ]
    fallen = [t for t in hidden if word(t.update, check.tolerance) == "shrinks"]
    moves = _strays(check)
    fast = [move for move in moves if move.slope.value > move.law]
    slow = [move for move in moves if move.slope.value < move.law]
    if grown and max(grown) > _WRONG_WAY:
        found.append(_wrong_way(max(grown)))
    elif grown or fast:
        found.append(_rates(grown, fast))
    else:
        found.append(_readout(check, seen))
        found.append(_scores(check, seen))
    if check.unscaled:
        if not grown:
            found.append(_epsilon(fallen, slow))
    else:
        found += _slow(slow, [] if grown else fallen)
    usual = tuple(f for f in found if f is not None)
    off = [t for t in seen.values() if t.is_bug]
    return usual if usual or not off else (_unexplained(check, off),)


def _tied(check: CoordSizes, seen: dict[str, Trend]) -> Finding | None:
    tied = any({"embedding", "readout"} <= set(roles) for roles in check.param_roles)
    initial = seen[check.layers[-1]].initial
    if not tied or word(initial, check.tolerance) != "grows":
        return None
    return Finding(
        "tied embedding",
        f"logits grow with slope {initial.value:.2f} before training, and the readout "
        "is the embedding table. Multiply the logits by the base width over the width "
        "(readout='multiplier').",
    )


def _readout(check: CoordSizes, seen: dict[str, Trend]) -> Finding | None:
    end = seen[check.layers[-1]]
    if word(end.update, check.tolerance) != "grows":
        return None
    tied = any({"embedding", "readout"} <= set(roles) for roles in check.param_roles)
    if tied and word(end.initial, check.tolerance) == "grows":
        return None
    return Finding(
        "missing readout multiplier",
        f"the change of the output grows with slope {end.update.value:.2f} while "
        "hidden layers do not. Divide the readout's learning rate (and its weights' "
        "deviation) by the width ratio, or multiply the logits by its inverse.",
    )


def _loud(check: CoordSizes, seen: dict[str, Trend]) -> Finding | None:
    """An output that grows before training, where nothing in front of it does."""
    *rows, (end, _) = zip(check.layers, check.roles, strict=True)
    before = [seen[n].initial for n, roles in rows if "readout" not in roles]
    tied = any({"embedding", "readout"} <= set(roles) for roles in check.param_roles)
    grows = word(seen[end].initial, check.tolerance) == "grows"
    if tied or not grows or "grows" in {word(t, check.tolerance) for t in before}:
        return None
    return Finding(
        "missing readout multiplier",
        f"the output grows with slope {seen[end].initial.value:.2f} before training "
        "while hidden layers do not. Divide the readout's weights (and its learning "
        "rate) by the width ratio, or multiply the logits by its inverse.",
    )


def _scores(check: CoordSizes, seen: dict[str, Trend]) -> Finding | None:
    for name, roles in zip(check.layers, check.roles, strict=True):
        trend = seen[name]
        if "scores" in roles and _outgrows(trend, check.tolerance):
            return Finding(
                "attention scale",
                f"{name} change with slope {trend.update.value:.2f}. Queries and keys "
                "become alike in training, so that scores need the factor 1/d with the "
                "head dimension d, not 1/sqrt(d).",
            )
    return None


def _outgrows(trend: Trend, tolerance: float) -> bool:
    """Whether scores become larger than the head dimension allows.

    Divided by its root they are flat before training, and what is learned grows as the
    root, at first beside a part that does not: half of the tolerance tells then.
    """
    if word(trend.update, tolerance) == "grows":
        return True
    flat = word(trend.initial, tolerance) == "flat"
    return flat and trend.update.low > 0 and trend.update.value > tolerance / 2


def _wrong_way(slope: float) -> Finding:
    return Finding(
        "base shapes mixed up",
        f"changes grow with slope {slope:.2f}, faster than without multipliers: they "
        "are multiplied where they should be divided. Pass the base model and the "
        "target in their order: mup_multipliers(model, base, x).",
    )


def _rates(grown: list[float], fast: list[Move]) -> Finding:
    seen = [f"hidden layers change with slope {max(grown):.2f}"] if grown else []
    return Finding(
        "rates not scaled",
        f"{_and(seen, fast)}: a learning rate is not divided by the width. Use "
        "mup_multipliers.",
    )


def _epsilon(fallen: list[Trend], slow: list[Move]) -> Finding:
    return Finding(
        "epsilon not scaled",
        f"{_and(_changes(fallen), slow)}, but not once the loss is multiplied: the "
        "optimizer's epsilon outweighs gradients, which shrink with the width. Divide "
        "epsilon by the width ratio.",
    )


_SLOW = {
    "forgotten biases": ". Biases and gains keep the base model's rate in Adam, and "
    "get it times the width ratio in SGD.",
    "readout divided twice": ": at great width it does not learn. Divide its learning "
    "rate by the width ratio once, or not at all if the logits are multiplied by the "
    "ratio's inverse.",
    "does not learn": ": it stands still at great width. Its learning rate is divided "
    "too often.",
}


def _slow(slow: list[Move], fallen: list[Trend]) -> list[Finding]:
    """What stands still: biases and gains, readouts, and all else with its layers."""
    found = []
    for kind, advice in _SLOW.items():
        moves = [move for move in slow if _kind(move) == kind]
        layers = _changes(fallen) if kind == "does not learn" else []
        if moves or layers:
            found.append(Finding(kind, _and(layers, moves) + advice))
    return found


def _kind(move: Move) -> str:
    if "readout" in move.roles:
        return "readout divided twice"
    along = {"bias", "norm_scale", "norm_bias", "gain"} & set(move.roles)
    return "forgotten biases" if along else "does not learn"


def _changes(fallen: list[Trend]) -> list[str]:
    if not fallen:
        return []
    slope = min(t.update.value for t in fallen)
    return [f"{fallen[0].layer} changes with slope {slope:.2f}"]


def _and(seen: list[str], moves: list[Move]) -> str:
    """What was seen of layers, and of the parameter that is furthest off its law."""
    if not moves:
        return "; ".join(seen)
    worst = max(moves, key=lambda move: abs(move.slope.value - move.law))
    more = f" (and {len(moves) - 1} more)" if len(moves) > 1 else ""
    return "; ".join([*seen, f"{worst}{more}"])


def _unexplained(check: CoordSizes, off: list[Trend]) -> Finding:
    names = ", ".join(t.layer for t in off[:3]) + (", ..." if off[3:] else "")
    return Finding(
        "unexplained",
        f"none of the usual bugs shows, yet the {check.axis} moves {names}. "
        f"Between small sizes such slopes pass: begin at {4 * check.sizes[0]}. One "
        "that stays is a factor in the model that a scheme does not see.",
    )


def _strays(check: CoordSizes) -> list[Move]:
    return strays(check, _slopes(check, check.moved[:, :, -1, :]))


def _slopes(check: CoordSizes, values: np.ndarray) -> list[Interval]:
    """Of ``(sizes, seeds, columns)``, the interval of each column's slope."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log2(values.astype(np.float64))
    each = intervals.slopes(logs, np.log2(check.sizes.astype(np.float64)))
    return [
        intervals.of_mean(each[:, i], check.confidence) for i in range(each.shape[1])
    ]
