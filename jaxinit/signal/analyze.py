"""``analyze``: from a model and its inputs to a report."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, overload

import jax

from jaxinit._configuration import measuring
from jaxinit._progress import Bar
from jaxinit.models.arguments import model_arguments
from jaxinit.report.report import Report
from jaxinit.roles.structure import as_hints
from jaxinit.signal.checks import check_switch
from jaxinit.signal.measure import measure
from jaxinit.signal.plan import RunPlan
from jaxinit.signal.prepare import Options, prepare
from jaxinit.signal.prepare import plan as plan_run
from jaxinit.signal.remedies.remedied import check_remedies, with_remedies
from jaxinit.signal.seeds import Strategy


@overload
def analyze(
    model: Any, *args: Any, plan: Literal[False] = ..., **kwargs: Any
) -> Report: ...


@overload
def analyze(model: Any, *args: Any, plan: Literal[True], **kwargs: Any) -> RunPlan: ...


@measuring
def analyze(
    model: Any,
    *args: Any,
    seeds: int | Sequence[int] | None = None,
    key: int | jax.Array = 0,
    scheme: Any = None,
    variables: Any = None,
    loss: Callable[[Any], jax.Array] | None = None,
    strategy: Strategy = "auto",
    chunk: int | None = None,
    memory_budget: int | None = None,
    time_budget: float | None = None,
    devices: int | Sequence[jax.Device] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    roll: bool | Literal["auto"] = "auto",
    plan: bool = False,
    judge: bool = True,
    metrics: Sequence[str] = (),
    predict: bool = False,
    remedies: Literal["tried", "named", "none"] = "tried",
    **kwargs: Any,
) -> Report | RunPlan:
    r"""Measures how the signal travels through a model at initialization.

    For each of many random initializations it takes the moments of every layer's
    output, of the gradient there, and of the gradient of every parameter. The model
    is not edited: its layers are found where parameters meet data.

    Args:
      model: a ``flax.linen`` module; an nnx module class or a callable from
        ``nnx.Rngs`` to an nnx module; an nnx module, whose present weights are then
        the one "seed"; or a ``jaxinit.Functional`` for anything else.
      *args: the model's inputs, as in ``model.init(key, *args)``. In place of an
        array a ``jax.ShapeDtypeStruct`` may stand: floats are then drawn standard
        normal, integers uniformly below the vocabulary. An nnx model's inputs may be
        left out where its first layer tells them.
      seeds: how many seeds, or which ones. By default as many as bring the geometric
        mean of the last layer's second moment to within 10%, which for a network of
        L layers of width n is about :math:`100 \cdot 5L/n`, but 8 to 64.
      key: the root key, or an integer that makes one. Seed i has the key
        ``fold_in(key, i)`` (``report.key(i)``), whatever the strategy.
      scheme: measures the model as ``initialize`` would initialize it by this scheme,
        or by an initializer for every weight; by default by its own init. Schemes
        that look at data see the inputs.
      variables: weights to measure in place of drawn ones, trained or loaded, of a
        linen module or a ``Functional``: what its init returns, or many such as
        "seeds", in a list or with one more axis in front of every leaf. They are cast
        to the dtypes of the model's own. What only draws can show (a spread over
        seeds, a loss at initialization) is not judged of them, and no remedy draws
        them anew.
      loss: takes the model's output, returns a scalar. Without it gradients start
        from a random probe: a standard normal cotangent at the output, which needs
        no labels and is what mean-field theory speaks of.
      strategy: ``"vmap"``, ``"loop"``, or ``"auto"`` to choose by backend and model.
      chunk: seeds at once; by default what fits.
      memory_budget: bytes that the seeds in flight may take; by default a share of
        the device's memory.
      time_budget: seconds after which no further seed is started.
      devices: over which seeds are spread: devices, or how many of the local ones; by
        default all of them, unless the model or an input has a place of its own, which
        is kept. The numbers are those of one device. Of the processes of
        ``jax.distributed`` each runs a share of the seeds on its own devices, and all
        return the report of all seeds.
      checkpoint: a folder in which finished seeds are kept as they finish. The same
        call, even after the process was killed, goes on from there; folders of several
        runs may be copied together.
      roll: whether blocks of the model that repeat are run as a loop, which a compiler
        sees once however deep the model is; the report is the same, row by row.
        ``"auto"`` does so where it saves more time than it costs, and never with
        convolutions on CPU, which are slow in loops there.
      plan: returns what the call would take, rows, parameters, bytes and time, and
        allocates nothing.
      progress: whether to show progress; by default on a terminal.
      output: as in ``initialize``: the main output, where there are several.
      roles: as in ``initialize``: roles that the program does not show.
      branches: as in ``initialize``: which sums add residual branches.
      rngs: names of random streams that a linen module uses beyond ``params`` and
        ``dropout``.
      model_kwargs: keyword arguments of the model whose names are taken here.
      judge: whether to gather the evidence that the verdict rests on besides the
        statistics: slopes of activations, the inputs, and where a gradient is exactly
        zero or units are equal a few simulated gradient steps. Without it the verdict
        knows sizes alone.
      metrics: what to measure besides, each for a pass or more over the seeds; the
        numbers come as further metrics of ``forward`` unless said otherwise.
        Of rows: ``"kurtosis"``, ``"dormant"`` (share of units a tenth as large as the
        layer or less), ``"eff_rank"`` and ``"token_cos"``, ``"token_rank"`` (rank of
        samples, cosine and rank of the positions of a sample), ``"frac_subnormal"``
        (below float16's normal numbers). Of joins of a skip and a branch:
        ``"branch_ratio"``, ``"branch_cos"``, ``"branch_share"`` (of the variance of
        the sum), ``"skip_attribution"`` (of the model's output, lost if the branch is
        cut). Of attentions, at the row of the query: ``"attn_logit_max"``,
        ``"attn_logit_std"``, ``"attn_entropy"`` (1: all keys alike),
        ``"attn_one_hot"`` (share of rows with a weight above 0.99). Of routers:
        ``"router_load"`` (the largest over the mean), ``"router_entropy"``,
        ``"router_unused"``. ``"isometry"``: mean, relative variance and extremes of
        the squared singular values of the Jacobian from inputs to outputs, in
        ``report.model``. ``"exponents"``: shares of values by sign and exponent, in
        ``report.histograms``.
      predict: whether to set what mean-field theory expects beside what is measured:
        second moments and cosines between samples of dense layers, convolutions,
        elementwise functions, norms, sums, dropout and lookups, growth of gradients
        from row to row through these and through gates, pooling, slices and
        concatenations, for the realized variances of the weights. Where no law is
        known nothing is said; behind the next layer of random weights theory goes on
        from the moments that were measured there, and a note names it.
      remedies: what is done about findings. ``"tried"`` analyzes the model again with
        changes that may mend it, on few seeds and with the compiled programs, until
        one does; a healthy model costs nothing, any other at most 8 trials, of which
        none begins after as much of the processors' time as the analysis took, or 20
        seconds. ``"named"`` lists what theory and practice name,
        and ``"none"`` nothing beyond the findings' own lines.
      **kwargs: further keyword arguments of the model: ``train=True``, a mask,
        ``method=`` for another method than ``__call__``.

    Returns:
      The report. ``print`` it. With ``plan=True`` a ``RunPlan``.

    Raises:
      TypeError: if ``model`` is no model.
      RuntimeError: if one seed does not fit the memory, before it is drawn.
      ValueError: if an argument is out of range, the model has no parameters or no
        inputs, tokens lie outside the vocabulary, or the factory ignores its rngs.
      Exception: whatever the model raises on its inputs, with a note.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((32, 20), "float32")
      >>> report = jaxinit.analyze(model, x, seeds=4)
      >>> report.layers
      ('layers_0', 'layers_2')

    References:
      Poole et al., "Exponential expressivity in deep neural networks through
      transient chaos", 2016; Schoenholz et al., "Deep Information Propagation", 2017.
    """
    options = Options(
        seeds,
        key,
        loss,
        strategy,
        chunk,
        memory_budget,
        time_budget,
        rngs,
        devices,
        checkpoint,
        roll,
        judge,
        variables,
        metrics=_further(metrics),
        predict=predict,
        hints=as_hints(output, roles, branches),
    )
    if scheme is not None and variables is not None:
        raise ValueError(
            "`scheme` draws weights and `variables` gives them, got both. Leave out "
            "one."
        )
    check_switch("progress", progress, none=True)
    check_switch("plan", plan)
    check_switch("judge", judge)
    if not isinstance(roll, str) or roll != "auto":
        check_switch("roll", roll, auto=True)
    check_switch("predict", predict)
    check_remedies(remedies)
    given = model_arguments(kwargs, model_kwargs)
    with Bar(progress) as bar:
        bar.phase("tracing")
        if plan:
            return plan_run(model, args, given, options)
        prepared = prepare(model, args, given, options)
        report = measure(prepared, scheme, bar)
        return with_remedies(prepared, report, scheme, remedies, bar)


def _further(metrics: Any) -> tuple[str, ...]:
    """The names of metrics that were asked for, checked where there are any."""
    if isinstance(metrics, tuple) and not metrics:
        return ()
    from jaxinit.signal.extra.measure import check_metrics

    return check_metrics(metrics)
