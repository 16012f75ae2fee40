"""What the runs of a race say of each scheme, and how surely."""

import math
from typing import NamedTuple

import numpy as np

from jaxinit import _intervals as intervals
from jaxinit._intervals import Interval
from jaxinit.train.outcomes import FAILED, NOT_RUN, last
from jaxinit.train.race_runs import RaceRuns


class Standing(NamedTuple):
    """What one scheme came to.

    Attributes:
      scheme: its name.
      trains, stalls, diverges: shares of its runs at all rates.
      best_rate: the rate of the lowest median final loss; NaN if no run ended.
      working: the lowest and the highest rate at which half of the seeds train; NaN
        if there is none.
      decades: the width of that range, its logarithm to base 10.
      final: the mean final loss at the best rate over seeds, with its interval. A run
        that ended above the reference counts as the reference: it may as well not
        have been trained.
      accuracy: the mean accuracy over the last tenth of the steps there.
      steps_to_target: the median over seeds there; infinite if half never reach it.
      verdict: what was said at initialization.
      predicted: whether "ok" meant that half of the seeds train at the best rate, and
        anything else that they do not; ``None`` if nothing was said.
    """

    scheme: str
    trains: Interval
    stalls: Interval
    diverges: Interval
    best_rate: float
    working: tuple[float, float]
    decades: float
    final: Interval
    accuracy: float
    steps_to_target: float
    verdict: str
    predicted: bool | None


class Duel(NamedTuple):
    """The leader against another scheme, each at its best rate.

    Attributes:
      leader: the scheme of the lowest mean final loss.
      other: the other one.
      difference: the mean over seeds of the other's final loss minus the leader's,
        paired by seed, with an interval widened for the number of duels (Bonferroni).
      decided: whether the interval lies above zero.
    """

    leader: str
    other: str
    difference: Interval
    decided: bool


def finals(race: RaceRuns) -> np.ndarray:
    """Final losses ``(schemes, rates, seeds)``, infinite where they are not finite."""
    found = last(race.losses)
    return np.where(race.outcomes == NOT_RUN, np.nan, found)


def steps_to_target(race: RaceRuns) -> np.ndarray:
    """The first step whose loss is at most the target, ``(schemes, rates, seeds)``.

    The loss is smoothed over the last tenth of the steps before it. Infinite where it
    is never reached, NaN without a target.
    """
    if math.isnan(race.target):
        return np.full(race.outcomes.shape, np.nan)
    window = max(1, race.losses.shape[-1] // 10)
    padded = np.cumsum(np.nan_to_num(race.losses, nan=np.inf, posinf=1e30), -1)
    before = np.concatenate(
        [np.zeros((*padded.shape[:-1], window)), padded[..., :-window]], -1
    )
    count = np.minimum(np.arange(1, padded.shape[-1] + 1), window)
    with np.errstate(invalid="ignore"):
        reached = (padded - before) / count <= race.target
    return np.where(reached.any(-1), reached.argmax(-1), np.inf)


def best_rate(race: RaceRuns, scheme: int) -> int | None:
    """The index of the rate of the lowest median final loss."""
    medians = []
    for row, outcome in zip(finals(race)[scheme], race.outcomes[scheme], strict=True):
        known = row[outcome < FAILED]
        medians.append(np.median(np.minimum(known, 1e300)) if len(known) else np.inf)
    return int(np.argmin(medians)) if np.isfinite(medians).any() else None


def of(race: RaceRuns, scheme: int) -> Standing:
    """The standing of one scheme."""
    outcomes = race.outcomes[scheme]
    ran = int((outcomes < NOT_RUN).sum())
    shares = [
        intervals.of_share(int((outcomes == i).sum()), ran, race.confidence)
        for i in range(3)
    ]
    best = best_rate(race, scheme)
    verdict = race.verdicts.get(race.schemes[scheme], "")
    name, nan = race.schemes[scheme], math.nan
    trains, stalls, diverges = shares
    if best is None:
        nothing = Interval(nan, nan, nan)
        return Standing(
            scheme=name,
            trains=trains,
            stalls=stalls,
            diverges=diverges,
            best_rate=nan,
            working=(nan, nan),
            decades=0.0,
            final=nothing,
            accuracy=nan,
            steps_to_target=nan,
            verdict=verdict,
            predicted=None,
        )
    works = race.share("trains")[scheme] >= 0.5
    rates = race.learning_rates[works]
    low, high = (float(rates[0]), float(rates[-1])) if len(rates) else (math.nan,) * 2
    tail = max(1, race.losses.shape[-1] // 10)
    right = race.accuracies[scheme, best, :, -tail:]
    steps = steps_to_target(race)[scheme, best]
    return Standing(
        name,
        trains,
        stalls,
        diverges,
        float(race.learning_rates[best]),
        (low, high),
        math.log10(high / low) if len(rates) else 0.0,
        intervals.of_mean(_scores(race, scheme, best), race.confidence),
        float(np.nanmean(right)) if np.isfinite(right).any() else math.nan,
        float(np.median(steps)),
        verdict,
        (verdict == "ok") == bool(works[best]) if verdict else None,
    )


def duels(race: RaceRuns) -> tuple[Duel, ...]:
    """The leader against each other scheme that was run."""
    best = {i: best_rate(race, i) for i in range(len(race.schemes))}
    scores = {i: _scores(race, i, b) for i, b in best.items() if b is not None}
    if len(scores) < 2:
        return ()
    leader = min(scores, key=lambda i: np.nanmean(scores[i]))
    others = [i for i in scores if i != leader]
    confidence = 1 - (1 - race.confidence) / len(others)
    found = []
    for other in others:
        difference = intervals.of_mean(scores[other] - scores[leader], confidence)
        names = race.schemes[leader], race.schemes[other]
        found.append(Duel(*names, difference, difference.low > 0))
    return tuple(found)


def winner(race: RaceRuns) -> str | None:
    """The leader, if every duel is decided."""
    found = duels(race)
    return found[0].leader if found and all(duel.decided for duel in found) else None


def row(standing: Standing) -> tuple[str, ...]:
    """A line of the table."""
    low, high = standing.working
    return (
        standing.scheme,
        *("" if math.isnan(s.value) else f"{s.value:.0%}" for s in standing[1:4]),
        _number(standing.best_rate),
        f"{low:.2g} to {high:.2g}" if low == low else "none",
        _interval(standing.final),
        "" if math.isnan(standing.accuracy) else f"{standing.accuracy:.1%}",
        _number(standing.steps_to_target),
        standing.verdict,
    )


def remarks(race: RaceRuns) -> list[str]:
    """What is said below the table."""
    lines = [
        f"A run trains if its final loss (mean of the last tenth of the steps) is "
        f"{race.improvement:.0%} or more below {race.reference:.4g}, the lowest median "
        "loss before training; it diverges if it is not finite or half above its "
        "first; else it stalls.",
        *_who_won(race),
    ]
    told = [s for s in race_standings(race) if s.predicted is not None]
    if told:
        right = sum(bool(s.predicted) for s in told)
        wrong = ", ".join(s.scheme for s in told if not s.predicted)
        lines.append(
            f"The verdict at initialization predicted whether half of the seeds train "
            f"at the best rate for {right} of {len(told)} schemes"
            + (f" (not for {wrong})." if wrong else ".")
        )
    lines += _of_optima(race)
    for reason in dict.fromkeys(race.reasons.values()):
        names = [name for name, why in race.reasons.items() if why == reason]
        lines.append(f"{len(names)} runs failed ({names[0]}, ...): {reason}")
    lines += [f"{what}: {why}" for what, why in race.notes.items()]
    if race.interrupted:
        missing = int((race.outcomes == NOT_RUN).sum())
        lines.append(f"Interrupted: {missing} runs were not done.")
    return lines


def race_standings(race: RaceRuns) -> list[Standing]:
    """All standings."""
    return [of(race, i) for i in range(len(race.schemes))]


def _who_won(race: RaceRuns) -> list[str]:
    found = duels(race)
    if not found:
        return []
    percent = f"{race.confidence:.0%}"
    if all(duel.decided for duel in found):
        return [
            f"Winner: {found[0].leader}; its final loss is the lowest at {percent} "
            "confidence, paired over seeds, each scheme at its best rate."
        ]
    ties = ", ".join(duel.other for duel in found if not duel.decided)
    return [
        f"No winner: {found[0].leader} leads, but cannot be told from {ties} at "
        f"{percent} confidence with {len(race.seeds)} seeds."
    ]


def _of_optima(race: RaceRuns) -> list[str]:
    lines = []
    for same in (True, False):
        pairs = [p for p in race.pairs if (p["first"][0] == p["second"][0]) == same]
        if not pairs:
            continue
        what = "seeds of one scheme" if same else "schemes of one seed"
        text = (
            f"Solutions of different {what} ({len(pairs)} pairs): median relative "
            f"distance {_median(pairs, 'distance')}, barrier "
            f"{_median(pairs, 'barrier')}"
        )
        if not race.unmatched:
            text += (
                f"; with hidden units matched {_median(pairs, 'matched_distance')} and "
                f"{_median(pairs, 'matched_barrier')}"
            )
        lines.append(text + ".")
    if lines and race.unmatched:
        lines.append(f"Hidden units were not matched: {race.unmatched}.")
    return lines


def _scores(race: RaceRuns, scheme: int, rate: int) -> np.ndarray:
    """Final losses, none above the reference; NaN for runs that failed."""
    found = np.minimum(finals(race)[scheme, rate], race.reference)
    return np.where(race.outcomes[scheme, rate] < FAILED, found, np.nan)


def _median(pairs: list[dict[str, float]], name: str) -> str:
    return f"{np.median([pair[name] for pair in pairs]):.3g}"


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return "never" if math.isinf(value) else f"{value:.3g}"


def _interval(interval: Interval) -> str:
    if math.isnan(interval.value):
        return ""
    if math.isnan(interval.low):
        return f"{interval.value:.4g}"
    return f"{interval.value:.4g} ± {interval.high - interval.value:.2g}"
