"""What ``analyze`` and ``compare`` refuse, and what they say then."""

import math
import numbers
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxinit._warnings import warn
from jaxinit.draw.repeats import Repeats
from jaxinit.models.trace import Traced
from jaxinit.report.findings import Finding
from jaxinit.report.measured import Measured
from jaxinit.signal.seeds import STRATEGIES


def check_options(
    seeds: int | Sequence[int] | None,
    strategy: str,
    chunk: int | None,
    memory_budget: int | None,
    time_budget: float | None,
    loss: Callable[[Any], Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> None:
    """Raises for options out of range, before any work is done."""
    if seeds is not None:
        check_seeds(seeds)
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        raise _error(strategy, str)(
            f"`strategy` must be one of {', '.join(map(repr, STRATEGIES))}, got "
            f"{strategy!r}."
        )
    _check_positive("chunk", chunk, numbers.Integral, "an integer, seeds at once,")
    _check_positive("memory_budget", memory_budget, numbers.Real, "a number of bytes")
    _check_positive("time_budget", time_budget, numbers.Real, "a number of seconds")
    if loss is not None and not callable(loss):
        raise TypeError(
            "`loss` must be a function from the model's output to a scalar, or None "
            f"for a random probe, got {loss!r:.80}. Write loss=lambda y: "
            "((y - labels) ** 2).mean()."
        )
    check_folder(checkpoint)


def check_folder(checkpoint: Any) -> None:
    """Raises unless ``checkpoint`` may name a folder, or is None.

    Raises:
      TypeError: if it is no path.
      ValueError: if it is empty or holds a NUL.
    """
    if checkpoint is None:
        return
    advice = "Write checkpoint='seeds_of_my_model'."
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(
            "`checkpoint` must be the path of a folder or None, got "
            f"{checkpoint!r:.80}. {advice}"
        )
    if not os.fspath(checkpoint) or "\0" in str(checkpoint):
        raise ValueError(
            "`checkpoint` must be the path of a folder, not empty and without NUL, "
            f"got {checkpoint!r:.80}. {advice}"
        )


def check_switch(
    name: str, value: Any, *, none: bool = False, auto: bool = False
) -> None:
    """Raises unless ``value`` is True or False, or None where that is allowed.

    Where ``"auto"`` is allowed too, ``auto`` is for the message alone.
    """
    if not isinstance(value, bool | np.bool_) and not (none and value is None):
        allowed = "True, False or None" if none else "True or False"
        allowed = f"'auto', {allowed}" if auto else allowed
        raise TypeError(f"`{name}` must be {allowed}, got {value!r:.80}.")


def check_model(traced: Traced) -> None:
    """Raises for a model in which there is nothing to measure."""
    if not traced.params:
        raise ValueError(
            f"`model` must have parameters, got {traced.name} without any. jaxinit "
            "looks at what initialization does; there is nothing to initialize."
        )


def check_loss(loss: Callable[[Any], Any] | None, traced: Traced) -> None:
    """Raises unless the loss of the model's output is one floating-point number."""
    if loss is None:
        return
    spec: Any = jax.ShapeDtypeStruct  # whose constructor has no types
    avals: list[Any] = [v.aval for v in traced.apply.jaxpr.outvars]
    outputs = [spec(aval.shape, aval.dtype) for aval in avals]
    try:
        result: Any = jax.eval_shape(loss, traced.output(outputs))
    except Exception as error:
        error.add_note("jaxinit called `loss` with the model's output.")
        raise
    is_array = isinstance(result, jax.ShapeDtypeStruct)
    got = f"{result.dtype}{list(result.shape)}" if is_array else type(result).__name__
    if got not in ("float16[]", "bfloat16[]", "float32[]", "float64[]"):
        raise ValueError(
            "`loss` must return a floating-point scalar, from which gradients start; "
            f"got {got}. Take a mean: loss=lambda y: per_sample(y).mean()."
        )


def check_draws(traced: Traced, repeats: Repeats, num_seeds: int) -> None:
    """Raises if every seed gets the same random weights; warns where that may be."""
    if repeats == "drawn":
        raise ValueError(
            f"`model` must draw its weights from the random key that it is given; "
            f"{traced.name} draws them from a key of its own, so that all seeds are "
            "the same. Use that key: in nnx pass rngs on, lambda rngs: Net(rngs=rngs); "
            "in linen draw from self.make_rng."
        )
    if repeats == "fixed" and num_seeds > 1:
        warn(
            f"all {num_seeds} seeds have the same weights: the init of {traced.name} "
            "gives them whatever its key is, as if they came from NumPy or from a key "
            "of its own. Draw them from that key: in nnx from the rngs, in linen from "
            "self.make_rng. If they are meant to be fixed, ask for seeds=1."
        )


def nonfinite_loss(report: Measured) -> Finding | None:
    """The finding that the loss is NaN or infinite, where it is in some seeds."""
    if report.loss is None or np.isfinite(report.loss).all():
        return None
    share = float((~np.isfinite(report.loss)).mean())
    return Finding(
        kind="non-finite",
        metric="loss",
        row=None,
        seed_share=share,
        value=math.nan,
        stderr=math.nan,
        message=f"The loss is NaN or infinite in {share:.0%} of the seeds.",
        remedy=(
            "loss_fn(model_output)  # the layers' rows tell whether the output was "
            "finite; if it was, look for log(0), 0/0 or an overflow in `loss`"
        ),
    )


def check_seeds(seeds: Any) -> None:
    """Raises unless it is a number of seeds, or different indices of seeds."""
    if _is_integer(seeds):
        if seeds < 1:
            raise ValueError(
                f"`seeds` must be at least 1, got {seeds}. It is the number of random "
                "initializations; 8 give a first idea."
            )
        return
    listed = isinstance(seeds, Sequence | np.ndarray | jax.Array)
    if not listed or isinstance(seeds, str | bytes) or np.ndim(seeds) != 1:
        raise TypeError(
            "`seeds` must be a number of seeds or a sequence of seed indices, got "
            f"{seeds!r:.80}. Write seeds=16, or seeds=[0, 5] for those two."
        )
    items = list(seeds) if isinstance(seeds, Sequence) else list(np.asarray(seeds))
    strange = [item for item in items if not _is_integer(item)]
    if strange:
        raise TypeError(
            f"`seeds` must be a number of seeds or a sequence of seed indices, which "
            f"are integers, got {strange[0]!r:.80} among them."
        )
    if not items or min(items) < 0 or max(items) >= 2**32:
        raise ValueError(
            f"`seeds` must hold at least one index, all of them 0 or more and below "
            f"2**32, got {items!r:.80}."
        )
    if len(set(items)) < len(items):
        twice = next(item for item in items if items.count(item) > 1)
        raise ValueError(
            f"`seeds` must hold each index once, got {twice} several times: the same "
            "weights would count as independent ones."
        )


def _check_positive(name: str, value: Any, kind: type, what: str) -> None:
    if value is None:
        return
    if isinstance(value, bool | np.bool_) or not isinstance(value, kind):
        raise TypeError(
            f"`{name}` must be {what} above 0 or None for the default, got "
            f"{value!r:.80}."
        )
    if not value > 0:  # type: ignore[operator]
        raise ValueError(
            f"`{name}` must be above 0 or None for the default, got {value!r}."
        )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _error(value: Any, kind: type) -> type[Exception]:
    """A wrong type, or a wrong value of the right one."""
    return ValueError if isinstance(value, kind) else TypeError
