"""What ``coord-check``, ``race`` and ``theory`` do."""

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from jaxinit.cli import load
from jaxinit.cli.commands import called, deliver_result, outputs_of, working
from jaxinit.cli.load import Failure, story
from jaxinit.cli.output import Output, clean_stdout, deliver, say
from jaxinit.cli.status import FINDINGS, HEALTHY, INTERRUPTED, Doing

if TYPE_CHECKING:
    from jaxinit.report.sheet import Sheet
    from jaxinit.train.coord_result import CoordCheck
    from jaxinit.train.race_result import Race

# A network trains to about this many depth scales of its correlations (Schoenholz et
# al., "Deep Information Propagation", 2017, figure 5).
_TRAINABLE = 6.0


def coord_check(options: argparse.Namespace, doing: Doing) -> int:
    """Trains at several widths and says which sizes depend on the width."""
    made: list[CoordCheck] = []
    outputs = outputs_of(options, made)
    with clean_stdout(outputs):
        doing.what = f"while importing {options.model.module}"
        make_model = load.named(options.model)
        if not callable(make_model):
            raise Failure(
                f"{options.model} must be a function from a width to a model, got "
                f"{type(make_model).__name__}"
            )
        if options.mup is not None and options.scheme is not None:
            raise Failure("--mup is a scheme of its own: leave --scheme out")
        args, kwargs = called(options)
        if not args:
            raise Failure("--input is missing: say what the model is called with")
        scheme = None if options.scheme is None else load.scheme(options.scheme)
        import jaxinit

        with working(doing, "checking", options, "a width"):
            of_rate = load.optimizer(options.optimizer)
            optimizer: Any = of_rate(options.learning_rate)
            if options.mup is not None:
                scheme, optimizer = _mup(make_model, options, optimizer, args, kwargs)
            found = jaxinit.coord_check(
                make_model,
                widths=options.widths,
                x=args,
                optimizer=optimizer,
                loss=None if options.loss is None else load.named(options.loss),
                scheme=scheme,
                steps=options.steps,
                seeds=options.seeds or 4,
                axis=options.axis,
                progress=True,
                model_kwargs=kwargs,
            )
    made.append(found)
    deliver_result(outputs, found, doing)
    return HEALTHY if found.ok else FINDINGS


def race(options: argparse.Namespace, doing: Doing) -> int:
    """Trains a model from several initializations."""
    made: list[Race] = []
    outputs = outputs_of(options, made)
    with clean_stdout(outputs):
        doing.what = f"while importing {options.model.module}"
        model = load.model(options.model)
        kwargs = {name: load.value(given) for name, given in options.kwarg}
        schemes = {str(spec): load.scheme(spec) for spec in options.scheme}
        import jaxinit

        with working(doing, "racing", options, "a run"):
            found = jaxinit.race(
                model,
                load.data(options.data),
                schemes=schemes,
                optimizer=load.optimizer(options.optimizer),
                learning_rates=options.learning_rates,
                steps=options.steps,
                seeds=options.seeds or 8,
                loss=None if options.loss is None else load.named(options.loss),
                batch_size=options.batch_size,
                target=options.target,
                checkpoint=options.checkpoint,
                progress=True,
                model_kwargs=kwargs,
            )
    made.append(found)
    deliver_result(outputs, found, doing)
    if found.interrupted:
        say("jaxinit: interrupted: the table holds the runs that were done")
        return INTERRUPTED
    trains = found.share("trains").max(axis=1, initial=0.0)
    return HEALTHY if bool((trains >= 0.5).all()) else FINDINGS


def theory(options: argparse.Namespace, doing: Doing) -> int:
    """Says what mean-field theory expects of an activation and variances."""
    doing.what = f"while computing what {options.activation} does"
    activation = load.activation(options.activation)
    try:
        records = _expected(activation, options.var_w, options.var_b)
    except Exception as error:  # the activation may be the user's code
        raise Failure(f"{options.activation}: {story(error)}") from error
    text = json.dumps(_plain(records), allow_nan=False)
    path = options.json
    outputs = [] if path is None else [Output(path, text.encode)]
    sheet = _sheet(str(options.activation), records, options.depth)
    deliver(outputs, lambda: print(sheet.text()))
    if options.depth is None:
        return HEALTHY
    deep = all(_reaches(record, options.depth) for record in records)
    return HEALTHY if deep else FINDINGS


def _mup(
    make_model: Any,
    options: argparse.Namespace,
    optimizer: Any,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Any, Any]:
    """muP's scheme, and its optimizer for each width."""
    import optax

    import jaxinit
    from jaxinit.schemes.width.mup_optimizer import OPTIMIZERS

    base = make_model(options.mup)
    name = getattr(options.optimizer, "name", "")
    family: Any = name if name in OPTIMIZERS else "adam"
    scheme = jaxinit.mup(base)

    def of_width(width: int) -> Any:
        factors = jaxinit.schemes.mup_multipliers(
            make_model(width),
            base,
            *inputs,
            optimizer=family,
            model_kwargs=kwargs,
        )
        return optax.chain(optimizer, jaxinit.schemes.scale_by_mup(factors))

    return scheme, of_width


def _expected(activation: Any, var_w: Any, var_b: Any) -> list[dict[str, Any]]:
    from jaxinit import theory as mean_field

    pairs = [(w, b) for w in var_w or () for b in var_b or (0.0,)]
    if not pairs:
        if var_b is not None:
            raise ValueError("--var-b goes with --var-w")
        for q in (0.1, 0.5, 1.0, 2.0):
            w, b = mean_field.edge_of_chaos(activation, q)
            if math.isfinite(float(w)) and float(b) >= 0:
                pairs.append((float(w), float(b)))
    if not pairs:
        raise ValueError("no variances of weights and biases are at the edge of chaos")
    records = []
    for w, b in pairs:
        point = mean_field.fixed_point(activation, w, b)
        records.append(
            {
                "var_w": w,
                "var_b": b,
                "phase": str(mean_field.phase(activation, w, b)),
                **{name: float(value) for name, value in point._asdict().items()},
                "trainable_depth": _TRAINABLE * float(point.xi_c),
            }
        )
    return records


def _reaches(record: dict[str, Any], depth: int) -> bool:
    return bool(record["trainable_depth"] >= depth and math.isfinite(record["q"]))


def _sheet(name: str, records: list[dict[str, Any]], depth: int | None) -> "Sheet":
    from jaxinit.report.numbers import compact
    from jaxinit.report.sheet import Sheet

    head = (
        *("var_w", "var_b", "phase", "q", "gradient² per layer", "correlation"),
        *("depth scale of q", "of correlation", "trains to depth"),
    )
    fields = ("q", "chi_1", "c", "xi_q", "xi_c", "trainable_depth")
    rows = tuple(
        (
            f"{record['var_w']:.6g}",
            f"{record['var_b']:.6g}",
            record["phase"],
            *(compact(record[field]) for field in fields),
        )
        for record in records
    )
    below = [
        "q is the second moment that signals reach, correlation that of two inputs; a "
        "network trains to about six depth scales of correlations. A weight's variance "
        "is var_w / fan_in: variance_scaling(var_w, 'fan_in', 'normal').",
    ]
    for record in records if depth is not None else ():
        if not _reaches(record, depth or 0):
            below.append(
                f"var_w {record['var_w']:.6g}, var_b {record['var_b']:.6g}: {depth} "
                f"layers are too deep."
            )
    return Sheet(
        f"{name}: wide networks in mean-field theory", head, rows, tuple(below)
    )


def _plain(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON has no word for what is not finite."""
    return [
        {
            name: str(value)
            if isinstance(value, float) and not math.isfinite(value)
            else value
            for name, value in record.items()
        }
        for record in records
    ]
