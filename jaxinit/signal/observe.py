"""``observe``: the statistics of a real training step, from inside it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinit.models.functional import Functional
from jaxinit.models.library import is_module, is_module_class
from jaxinit.models.split import split
from jaxinit.signal.inside import params as step_params
from jaxinit.signal.inside.forward import empty_probes, forward
from jaxinit.signal.inside.program import read
from jaxinit.signal.inside.rows import gradient_rms
from jaxinit.signal.inside.statistics import StepStatistics
from jaxinit.signal.metrics import METRICS

Array = jax.Array

FORWARD = ("rms", "absmax", "dead")
BACKWARD = (*FORWARD, "grad_rms", *step_params.WEIGHTS)


def observe(
    model: Any,
    *,
    rows: str | Sequence[str] | None = None,
    metrics: Sequence[str] = FORWARD,
    every: int | None = None,
) -> Callable[..., tuple[Any, StepStatistics]]:
    """A model's forward pass that also returns statistics of its layers.

    Its layers are found in its program, as ``analyze`` finds them, and are called the
    same. What it computes besides is the statistics asked for, and nothing of the
    gradient passes through them: a loss and its gradients stay what they are.

    Args:
      model: a linen module, an nnx module or its class, a ``Functional``, or any
        function ``f(variables, *args, **kwargs)``, like ``model.apply`` or a loss.
      rows: names of the rows to watch, or patterns: ``"Dense_0"``,
        ``["blocks/attn/*", "head"]``; by default all.
      metrics: what to measure; a row costs what its metrics need.
      every: measures in every so many steps alone. The function then takes the number
        of the step as ``step=``, which may be traced, and the statistics are NaN in
        the steps between, which take hardly longer.

    Returns:
      The function ``f(variables, *args, **kwargs) -> (output, StepStatistics)``. It
      takes what the model's own ``apply`` takes (``rngs=``, ``mutable=``) or, for
      nnx, the module, whose state (statistics of BatchNorm, random streams) it
      writes as a call does. Call it inside ``jax.jit``; it can be differentiated,
      vectorized and sharded as the model can.

    Raises:
      TypeError: if an argument is of another type.
      ValueError: if a metric is unknown or ``every`` is below 1; when it is called,
        if no row has one of the names.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])
      >>> x = jax.numpy.ones((32, 20))
      >>> variables = model.init(jax.random.key(0), x)
      >>> observed = jax.jit(jaxinit.observe(model, metrics=["rms"]))
      >>> logits, statistics = observed(variables, x)
      >>> sorted(statistics.scalars("train"))
      ['train/rms/layers_0', 'train/rms/layers_2']
    """
    allowed = tuple(METRICS)
    function, trained, name = _function(model)
    patterns, wanted = _checked(rows, metrics, every, allowed)

    def run(variables: Any, *args: Any, **kwargs: Any) -> tuple[Any, StepStatistics]:
        on = _is_on(every, kwargs)
        parts = split(function, variables, args, kwargs, trained)
        program = read(parts, args, kwargs, name, patterns, wanted)
        watched = program.watched
        outputs, found = forward(watched, program.values(parts.params), on, {})
        output, state = program.output(outputs)
        parts.update(state)
        rows = tuple(cell.name for cell in watched.cells)
        return output, StepStatistics(found, {}, {}, rows, ())

    return run


def observe_grad(
    loss: Callable[..., Any],
    *,
    has_aux: bool = False,
    rows: str | Sequence[str] | None = None,
    metrics: Sequence[str] = BACKWARD,
    every: int | None = None,
) -> Callable[..., tuple[Any, Any, StepStatistics]]:
    """``jax.value_and_grad`` that also returns statistics, gradients' among them.

    Value, gradients and all statistics come from one pass forward and one back.

    Args:
      loss: a function ``loss(variables, *args, **kwargs)`` that runs the model and
        returns a scalar, or ``(scalar, auxiliary)`` with ``has_aux``; ``variables``
        are parameters, linen's whole variables, an nnx module, or any pytree.
      has_aux: as in ``jax.value_and_grad``.
      rows: as for ``observe``; parameters are those of the rows.
      metrics: what to measure, ``grad_rms`` (of the gradient at each row) and those
        of parameters among it: ``weight_norm``, ``wgrad_norm``, ``wgrad_rms`` and
        ``wgrad_rel``.
      every: as for ``observe``.

    Returns:
      The function ``f(variables, *args, **kwargs) -> (value, gradients, statistics)``
      where value and gradients are those of ``jax.value_and_grad(loss)`` (for an nnx
      module, of ``nnx.value_and_grad``), with ``None`` in place of the gradients of
      leaves that are not trained.

    Raises:
      TypeError: if an argument is of another type, or the loss is no scalar.
      ValueError: as for ``observe``.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model, x = nn.Dense(4), jax.numpy.ones((8, 3))
      >>> loss = lambda params, x: (model.apply({"params": params}, x) ** 2).mean()
      >>> params = model.init(jax.random.key(0), x)["params"]
      >>> step = jax.jit(jaxinit.observe_grad(loss))
      >>> value, gradients, statistics = step(params, x)
      >>> statistics.params
      ('kernel', 'bias')
    """
    if not callable(loss):
        raise TypeError(
            "`loss` must be a function from variables (and more) to a scalar, got "
            f"{loss!r:.80}. Write lambda params, x, y: ((apply(params, x) - y) ** 2)"
            ".mean()."
        )
    allowed = (*METRICS, "grad_rms", *step_params.WEIGHTS)
    patterns, wanted = _checked(rows, metrics, every, allowed)
    of_rows = [m for m in wanted if m in METRICS]
    of_weights = [m for m in wanted if m in step_params.WEIGHTS]
    watches = "grad_rms" in wanted
    name = getattr(loss, "__name__", "loss")

    def run(
        variables: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any, StepStatistics]:
        on = _is_on(every, kwargs)
        parts = split(loss, variables, args, kwargs)
        program = read(parts, args, kwargs, name, patterns, of_rows)
        watched = program.watched

        def objective(params: Any, probes: Any) -> Any:
            outputs, found = forward(watched, program.values(params), on, probes)
            output, state = program.output(outputs)
            value, aux = output if has_aux else (output, None)
            _check_scalar(value)
            return value, (aux, state, found)

        probes = empty_probes(watched, program.values(parts.params)) if watches else {}
        pull = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
        (value, (aux, state, found)), (slopes, records) = pull(parts.params, probes)
        parts.update(state)
        backward = {"grad_rms": gradient_rms(watched, records)} if watches else {}
        leaves = step_params.watched_params(program, patterns is None)
        params: tuple[str, ...] = ()
        weights: dict[str, Array] = {}
        if of_weights and leaves:
            params = step_params.param_names(program, leaves)
            take = functools.partial(
                step_params.weights, program, leaves, slopes, of_weights
            )
            weights = take() if on is None else _where(on, take)
        rows = tuple(cell.name for cell in watched.cells)
        statistics = StepStatistics(found, backward, weights, rows, params)
        result = (value, aux) if has_aux else value
        return result, parts.gradients(slopes), statistics

    return run


def _function(model: Any) -> tuple[Callable[..., Any], Any, str]:
    """What to call with variables and arguments."""
    if isinstance(model, Functional):
        return model.apply, model.trained, model.name
    if is_module(model, "linen"):
        return model.apply, None, type(model).__name__
    if is_module(model, "nnx"):
        return _call, None, type(model).__name__
    if is_module_class(model, "nnx"):
        return _call, None, model.__name__
    if callable(model) and not isinstance(model, type):
        return model, None, getattr(model, "__name__", "the function")
    raise TypeError(
        "`model` must be a flax.linen module, an nnx module or its class, a "
        "jaxinit.Functional, or a function of variables and inputs like model.apply; "
        f"got {model!r:.80}."
    )


def _call(module: Any, *args: Any, **kwargs: Any) -> Any:
    return module(*args, **kwargs)


def _checked(
    rows: str | Sequence[str] | None,
    metrics: Sequence[str],
    every: int | None,
    allowed: Sequence[str],
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    if isinstance(rows, str):
        rows = (rows,)
    for name, given, example in (
        ("rows", rows, "names of rows or patterns, as in ['Dense_0', 'blocks/*']"),
        ("metrics", metrics, "names of metrics, as in ['rms', 'dead']"),
    ):
        if given is None and name == "rows":
            continue
        if isinstance(given, str) or not isinstance(given, Sequence | set | frozenset):
            raise TypeError(f"`{name}` must hold {example}, got {given!r:.80}.")
        if not all(isinstance(item, str) for item in given):
            raise TypeError(f"`{name}` must hold {example}, got {given!r:.80}.")
    for metric in metrics:
        if metric not in allowed:
            raise ValueError(
                f"`metrics` holds {metric!r}, which cannot be measured here. Allowed "
                f"are {', '.join(allowed)}."
            )
    if every is not None:
        if isinstance(every, bool) or not isinstance(every, int):
            raise TypeError(f"`every` must be an integer or None, got {every!r:.80}.")
        if every < 1:
            raise ValueError(
                f"`every` must be 1 or more, got {every}. It counts steps from one "
                "measurement to the next."
            )
    return None if rows is None else tuple(rows), tuple(dict.fromkeys(metrics))


def _is_on(every: int | None, kwargs: dict[str, Any]) -> Array | None:
    """Whether this step is measured, as a number; ``None`` if all are."""
    if every is None:
        return None
    if "step" not in kwargs:
        raise TypeError(
            "`step` must be given to a function that measures every so many steps: "
            "observed(variables, x, step=state.step)."
        )
    on: Array = (jnp.asarray(kwargs.pop("step")) % every == 0).astype(jnp.float32)
    return on


def _where(on: Array, take: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What ``take`` gives where ``on``, else NaN, and then at no cost."""
    shapes = jax.eval_shape(take)
    found: dict[str, Array] = jax.lax.cond(
        on > 0,
        take,
        lambda: {n: jnp.full(s.shape, jnp.nan, s.dtype) for n, s in shapes.items()},
    )
    return found


def _check_scalar(value: Any) -> None:
    if jnp.shape(value) != () or not jnp.issubdtype(
        jnp.result_type(value), jnp.floating
    ):
        raise TypeError(
            "`loss` must return a floating-point scalar, got "
            f"{getattr(value, 'dtype', type(value).__name__)}{list(jnp.shape(value))}. "
            "Take a mean, and say has_aux=True if it returns more."
        )
