"""Checks of what users pass, each with an error that says what to write."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from jaxinit.initializers._check import (
    as_integer,
    as_number,
    check_choice,
    check_count,
    check_number,
    entries_of,
    shown,
)
from jaxinit.models.library import is_module
from jaxinit.signal.checks import check_seeds
from jaxinit.train.batches import Batch, DataRanOut, Source

Axis = Literal["width", "depth"]
"""What the models of several sizes differ in."""

_COUNTED = {
    "steps": "It counts steps of training.",
    "batch_size": "It counts the samples of a batch.",
    "chunk": "It counts runs that are trained at once.",
}


def as_rates(learning_rates: Sequence[float]) -> list[float]:
    """The learning rates in rising order.

    Raises:
      TypeError: if they are no numbers.
      ValueError: if there are none, or one is not above 0 or there twice.
    """
    advice = "Write [1e-3, 3e-3, 1e-2]."
    found = entries_of(learning_rates)
    if found is None or None in [as_number(rate) for rate in found]:
        raise TypeError(
            f"`learning_rates` must be a list of numbers, got {shown(learning_rates)}. "
            f"{advice}"
        )
    rates = sorted(
        check_number("learning_rates", rate, advice, low=0) for rate in found
    )
    if not rates or len(set(rates)) < len(rates):
        raise ValueError(
            "`learning_rates` must be different numbers above 0, got "
            f"{shown(learning_rates)}. {advice}"
        )
    return rates


def as_seeds(seeds: int | Sequence[int]) -> list[int]:
    """The seeds' numbers.

    Raises:
      TypeError: if they are no integers.
      ValueError: if there are none, or one of them does not fit or is there twice.
    """
    check_seeds(seeds)
    count = as_integer(seeds)
    found = range(count) if count is not None else entries_of(seeds)
    assert found is not None
    return [int(seed) for seed in found]


def as_sizes(widths: Sequence[int]) -> list[int]:
    """The widths, or depths.

    Raises:
      TypeError: if they are no integers.
      ValueError: unless there are two or more, in rising order.
    """
    advice = "Write [64, 128, 256, 512]."
    found = entries_of(widths)
    sizes = [as_integer(width) for width in found or [None]]
    if None in sizes:
        raise TypeError(
            f"`widths` must be a list of whole numbers, got {shown(widths)}. {advice}"
        )
    known = [size for size in sizes if size is not None]
    if len(known) < 2 or known != sorted(set(known)) or known[0] < 1:
        raise ValueError(
            "`widths` must be at least two whole numbers in rising order, got "
            f"{shown(widths)}. {advice}"
        )
    return known


def check_maker(make_model: Any, axis: str) -> None:
    """Raises unless ``make_model`` can be called, and ``axis`` says with what."""
    check_choice("axis", axis, get_args(Axis), "It is what the sizes are.")
    made = is_module(make_model, "linen") or is_module(make_model, "nnx")
    if made or not callable(make_model):
        raise TypeError(
            f"`make_model` must be a function from a {axis} to a model, got "
            f"{shown(make_model)}. Write lambda size: Model(size)."
        )


def first_batch(source: Source) -> Batch:
    """The first batch, which says what the model is called with.

    Raises:
      ValueError: if there is none.
    """
    try:
        return source(0)
    except DataRanOut as error:
        raise ValueError("`data` must hold at least one batch, got none.") from error


def check_counts(**counts: Any) -> None:
    """Raises unless each is a whole number of at least 1."""
    for name, count in counts.items():
        check_count(name, count, _COUNTED[name])


def check_shares(**shares: float) -> None:
    """Raises unless each is a number between 0 and 1."""
    for name, share in shares.items():
        check_number(name, share, "It is a share, such as 0.9.", low=0, high=1)


def check_how(strategy: str, solutions: int) -> None:
    """Raises unless both are among what is allowed."""
    advice = "It says whether runs are trained at once."
    check_choice("strategy", strategy, ("auto", "vmap", "loop"), advice)
    check_count("solutions", solutions, "It counts seeds.", minimum=0)
