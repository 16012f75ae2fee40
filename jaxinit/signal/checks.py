"""What ``analyze`` refuses, and what it says then."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxinit.models.trace import Traced
from jaxinit.signal.seeds import STRATEGIES


def check_options(
    seeds: int | Sequence[int] | None,
    strategy: str,
    chunk: int | None,
    memory_budget: int | None,
    time_budget: float | None,
) -> None:
    """Raises for options out of range, before any work is done."""
    if isinstance(seeds, bool) or not isinstance(
        seeds, int | np.integer | Sequence | np.ndarray | None
    ):
        raise TypeError(
            f"`seeds` must be a number of seeds or a sequence of seed indices, got "
            f"{seeds!r}."
        )
    if isinstance(seeds, int | np.integer):
        if seeds < 1:
            raise ValueError(
                f"`seeds` must be at least 1, got {seeds}. It is the number of random "
                "initializations; 8 give a first idea."
            )
    elif seeds is not None and (len(seeds) == 0 or min(seeds) < 0):
        raise ValueError(
            f"`seeds` must hold at least one index, all of them 0 or more, got "
            f"{list(seeds)}."
        )
    if strategy not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {', '.join(map(repr, STRATEGIES))}, got "
            f"{strategy!r}."
        )
    positive = {
        "chunk": chunk,
        "memory_budget": memory_budget,
        "time_budget": time_budget,
    }
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise ValueError(
                f"`{name}` must be above 0 or None for the default, got {value!r}."
            )


def check_model(traced: Traced) -> None:
    """Raises for a model in which there is nothing to measure."""
    if not traced.params:
        raise ValueError(
            f"`model` must have parameters, got {traced.name} without any. jaxinit "
            "looks at what initialization does; there is nothing to initialize."
        )
    if not traced.num_inputs:
        raise ValueError(
            "`analyze` needs the model's array inputs after the model, got none. "
            "Write, for an image model, jaxinit.analyze(model, "
            "jax.ShapeDtypeStruct((32, 32, 32, 3), jnp.float32)), or pass a batch."
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


def check_draws(traced: Traced, ignores_key: bool, depends: Sequence[bool]) -> None:
    """Raises if every seed would get the same random weights."""
    if ignores_key and not any(depends[: len(traced.params)]):
        raise ValueError(
            f"`model` must draw its weights from the random key that it is given; "
            f"{traced.name} draws them from a key of its own, so that all seeds are "
            "the same. Use that key: in nnx pass rngs on, lambda rngs: Net(rngs=rngs); "
            "in linen draw from self.make_rng."
        )
