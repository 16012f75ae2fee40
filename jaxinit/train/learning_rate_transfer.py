"""``learning_rate_transfer``: does the best learning rate stay as the width grows?"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from jaxinit.initializers._check import check_integer, shown
from jaxinit.schemes.width.mup import mup
from jaxinit.schemes.width.mup_optimizer import Optimizer as Family
from jaxinit.schemes.width.mup_optimizer import mup_multipliers, scale_by_mup
from jaxinit.train.batches import as_source
from jaxinit.train.checks import (
    Axis,
    as_rates,
    as_seeds,
    as_sizes,
    check_maker,
    first_batch,
)
from jaxinit.train.losses import Loss
from jaxinit.train.race import race
from jaxinit.train.standing import finals
from jaxinit.train.training import Optimizer, as_optimizer
from jaxinit.train.transfer_result import RateTransfer

Parametrization = Callable[[int], tuple[Any, Optimizer]]
"""From a width to a scheme and a function from the learning rate to an optimizer."""


def learning_rate_transfer(
    make_model: Callable[[int], Any],
    widths: Sequence[int],
    data: Any,
    *,
    optimizer: Any,
    learning_rates: Sequence[float],
    family: Family = "adam",
    base_width: int | None = None,
    parametrizations: Mapping[str, Parametrization] | None = None,
    steps: int = 100,
    seeds: int | Sequence[int] = 4,
    loss: Loss | None = None,
    batch_size: int = 64,
    axis: Axis = "width",
    confidence: float = 0.95,
    **options: Any,
) -> RateTransfer:
    """The best learning rate against the width, as it is usual and under muP.

    Each width and parametrization is a ``race`` over learning rates and seeds.

    Args:
      make_model: from a width to a model, as in ``race``.
      widths: two or more, in rising order.
      data: as in ``race``; an iterator is used up by the first race, so pass a list.
      optimizer: as in ``race``: a function from the learning rate to a transformation,
        or a transformation.
      learning_rates: those that are tried.
      family: which of ``mup_multipliers``' tables the optimizer goes by.
      base_width: muP's base model; by default half of the lowest of ``widths``, as the
        base must be narrower than all.
      parametrizations: in place of the two, by name, a function from the width to a
        scheme (or ``None``) and a function from the learning rate to an optimizer.
      steps: as in ``race``.
      seeds: as in ``race``.
      loss: as in ``race``.
      batch_size: as in ``race``.
      axis: what ``widths`` are, for the report.
      confidence: of the intervals.
      **options: further ones of ``race`` (``checkpoint``, ``strategy``, ``key``, ...).

    Returns:
      The result; ``print`` it, ``plot()`` it.

    Raises:
      TypeError: if an argument is of the wrong kind.
      ValueError: if it is out of range.

    References:
      Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
      Hyperparameter Transfer", 2022, figure 1.
    """
    check_maker(make_model, axis)
    start, sizes = time.perf_counter(), as_sizes(widths)
    rates, numbers = as_rates(learning_rates), as_seeds(seeds)
    if parametrizations is None:
        first = first_batch(as_source(data, batch_size, 0))
        base = sizes[0] // 2 if base_width is None else base_width
        _check_base(base, sizes)
        of_model = {name: options[name] for name in _OF_MODEL if name in options}
        parametrizations = _usual(
            make_model, base, optimizer, family, first[0], of_model
        )
    elif not isinstance(parametrizations, Mapping) or not parametrizations:
        raise TypeError(
            "`parametrizations` must map names to functions from a width to a scheme "
            f"and an optimizer, got {shown(parametrizations)}."
        )
    found = np.full(
        (len(parametrizations), len(sizes), len(rates), len(numbers)), np.inf
    )
    reasons: dict[str, str] = {}
    for i, (name, parametrization) in enumerate(parametrizations.items()):
        for j, size in enumerate(sizes):
            scheme, of_rate = parametrization(size)
            result = race(
                make_model(size),
                data,
                schemes={name: scheme},
                optimizer=of_rate,
                learning_rates=rates,
                steps=steps,
                seeds=numbers,
                loss=loss,
                batch_size=batch_size,
                confidence=confidence,
                **{"diagnose": False, "solutions": 0, **options},
            )
            found[i, j] = finals(result)[0]
            reasons |= {f"{k} {axis} {size}": v for k, v in result.reasons.items()}
    return RateTransfer(
        axis=axis,
        parametrizations=tuple(parametrizations),
        sizes=np.asarray(sizes),
        learning_rates=np.asarray(rates),
        seeds=np.asarray(numbers),
        finals=found,
        reasons=reasons,
        confidence=confidence,
        settings={
            "backend": jax.default_backend(),
            "jax": jax.__version__,
            "seconds": round(time.perf_counter() - start, 3),
        },
    )


def _usual(
    make_model: Callable[[int], Any],
    base_width: int,
    optimizer: Any,
    family: Family,
    inputs: tuple[Any, ...],
    of_model: dict[str, Any],
) -> dict[str, Parametrization]:
    of_rate, base = as_optimizer(optimizer), make_model(base_width)

    def standard(size: int) -> tuple[Any, Optimizer]:
        del size
        return None, of_rate

    def maximal(size: int) -> tuple[Any, Optimizer]:
        model = make_model(size)
        factors = mup_multipliers(model, base, *inputs, optimizer=family, **of_model)
        scheme = mup(base, rngs=of_model.get("rngs", ()))
        return scheme, lambda rate: optax.chain(of_rate(rate), scale_by_mup(factors))

    return {"standard": standard, "muP": maximal}


# What ``race`` and muP's multipliers are both told of a model.
_OF_MODEL = ("output", "roles", "branches", "rngs", "model_kwargs")
_BASE = "It is the width that learning rates are good for."


def _check_base(base_width: int, sizes: Sequence[int]) -> None:
    if not 1 <= check_integer("base_width", base_width, _BASE) < sizes[0]:
        raise ValueError(
            f"`base_width` must be at least 1 and below all widths, got {base_width} "
            f"with the lowest of {sizes[0]}: at its own width nothing tells what grows."
        )
