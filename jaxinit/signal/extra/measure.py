"""``analyze(metrics=...)``: measures what was asked for besides, seed by seed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._caches import cached
from jaxinit.draw.own_init import Draw
from jaxinit.layers.event import Event
from jaxinit.program.plan import Hooks, Plan, Tap
from jaxinit.program.run import replay
from jaxinit.roles.network import Network
from jaxinit.roles.structure import Hints
from jaxinit.signal.cells import find_cells
from jaxinit.signal.engine import seed_keys
from jaxinit.signal.extra.attribution import skip_attribution
from jaxinit.signal.extra.exponents import exponents
from jaxinit.signal.extra.jacobian import NAMES, isometry
from jaxinit.signal.extra.places import FAMILIES, Place
from jaxinit.signal.given import drawn
from jaxinit.signal.inside.forward import forward
from jaxinit.signal.inside.program import Watched
from jaxinit.signal.inside.rows import by_layer, in_order, rows_of
from jaxinit.signal.metrics import METRICS
from jaxinit.signal.statistics import Analysis

Array = jax.Array
Arrays = dict[str, np.ndarray]

OF_ARRAYS = tuple(METRICS)[11:]
"""Metrics of one array that not every report has."""
OF_PLACES = tuple(name for names in FAMILIES for name in names)
ALLOWED = (*OF_ARRAYS, *OF_PLACES, "skip_attribution", "isometry", "exponents")


class Extra(NamedTuple):
    """What was measured besides, with an axis over seeds in front.

    Attributes:
      forward: metric -> `(seeds, rows)`.
      model: metric -> `(seeds,)`.
      histograms: row -> `(seeds, bins)`.
    """

    forward: Arrays
    model: Arrays
    histograms: Arrays


def check_metrics(metrics: Any) -> tuple[str, ...]:
    """The names, each once.

    Raises:
      TypeError: if they are no names.
      ValueError: if one is unknown.
    """
    listed = isinstance(metrics, Sequence | set | frozenset)
    if isinstance(metrics, str) or not listed:
        raise TypeError(
            "`metrics` must hold names of metrics, as in ['isometry', 'kurtosis'], got "
            f"{metrics!r:.80}."
        )
    for name in metrics:
        if name not in ALLOWED:
            raise ValueError(
                f"`metrics` holds {name!r:.80}, which is no metric to ask for. Allowed "
                f"are {', '.join(ALLOWED)}."
            )
    return tuple(dict.fromkeys(metrics))


def measure_extra(
    network: Network,
    analysis: Analysis,
    metrics: Sequence[str],
    draw: Draw,
    root: Array,
    inputs: Sequence[Array],
    seeds: Sequence[int],
) -> Extra:
    """Measures ``metrics`` for each of ``seeds``.

    Args:
      network: the model, read.
      analysis: what is measured of it in every report.
      metrics: the names of what to measure besides, one or more.
      draw: how its weights are drawn.
      root: the root key.
      inputs: what it is fed.
      seeds: the seeds.
    """
    run = _compiled(analysis.traced, network.hints, tuple(metrics))(network, analysis)
    found = []
    for seed in seeds:
        key, noise = seed_keys(root, np.uint32(seed))
        variables = drawn(draw, int(seed), key, inputs)
        found.append(jax.device_get(run(list(variables), noise, list(inputs))))
    forward, model, histograms = jax.tree.map(
        lambda *x: np.stack(x).astype(np.float64), *found
    )
    names = [cell.name for cell in find_cells(analysis)]
    by_row = {
        name: histograms["exponents"][:, i]
        for i, name in enumerate(names if histograms else ())
    }
    return Extra(forward, model, by_row)


@cached(16)
def _compiled(
    traced: Any, hints: Hints, metrics: tuple[str, ...]
) -> Callable[..., Any]:
    """Compiles once for a traced model, what is said of it, and some metrics."""
    del traced, hints
    made: list[Callable[..., Any]] = []

    def of(network: Network, analysis: Analysis) -> Callable[..., Any]:
        if not made:
            made.append(jax.jit(_one_seed(network, analysis, metrics)))
        return made[0]

    return of


def _one_seed(
    network: Network, analysis: Analysis, metrics: tuple[str, ...]
) -> Callable[..., Any]:
    """The function ``(variables, keys, inputs) -> rows, model, histograms``."""
    cells = tuple(find_cells(analysis))
    watched = Watched(analysis, cells, tuple(m for m in metrics if m in OF_ARRAYS))

    def run(
        variables: list[Array], keys: tuple[Array, Array], inputs: list[Array]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        model_key, probe_key = keys
        values = [*variables, model_key, *inputs]
        rows: dict[str, Array] = {}
        if watched.metrics:
            rows |= forward(watched, values, None, {})[1]
        for names, find in FAMILIES.items():
            if set(names) & set(metrics):
                columns = _at_places(watched, find(network), len(names), values)
                rows |= dict(zip(names, columns, strict=True))
        if "skip_attribution" in metrics:
            rows["skip_attribution"] = skip_attribution(network, cells, values)
        model = {}
        if "isometry" in metrics:
            found = isometry(analysis.traced, values, probe_key)
            model = dict(zip(NAMES, found, strict=True))
        bins = {}
        if "exponents" in metrics:
            bins["exponents"] = _histograms(watched, values)
        return {name: rows[name] for name in metrics if name in rows}, model, bins

    return run


def _at_places(
    watched: Watched, places: Sequence[Place], fields: int, values: Sequence[Any]
) -> list[Array]:
    """For each field of what the places compute an array `(rows,)`."""
    plan = Plan()
    for number, place in enumerate(places):
        plan.at(place.at, Tap(number, "operands"))

    def record(tap: Tap, value: Any) -> Array:
        found = places[tap.number].compute(value)
        return jnp.stack([jnp.ones(()), *found])

    records = _replayed(watched, plan, record, values)
    by_event = {places[tap.number].number: r for tap, r in records.items()}
    return rows_of(watched, by_event, ["mean"] * fields)


def _histograms(watched: Watched, values: Sequence[Any]) -> Array:
    """`(rows, bins)`, the mean over the steps of a loop."""
    plan = Plan()
    events: dict[int, Event] = watched.events
    for number, event in events.items():
        plan.at(event.at, Tap(number, "output"))

    def record(tap: Tap, value: Any) -> Array:
        del tap
        real = jnp.real(value) if jnp.iscomplexobj(value) else value
        return jnp.concatenate([jnp.ones(1), exponents(real)])

    records = _replayed(watched, plan, record, values)
    parts = []
    for tap in sorted(records, key=lambda tap: list(events).index(tap.number)):
        steps = by_layer(records[tap], events[tap.number])
        ran = jnp.sum(steps[..., 0], axis=1)[:, None]
        parts.append(jnp.sum(steps[..., 1:], axis=1) / ran)
    return in_order(watched, jnp.concatenate(parts))


def _replayed(
    watched: Watched,
    plan: Plan,
    record: Callable[[Tap, Any], Array],
    values: Sequence[Any],
) -> dict[Any, Array]:
    def passes(tap: Tap, value: Any, probe: Array | None) -> Array:
        del probe
        result: Array = value[-1] if tap.point == "operands" else value
        return result

    hooks = Hooks(record, passes, _merge)
    return replay(watched.analysis.traced.forward, values, plan, hooks, {})[1]


def _merge(earlier: Array, later: Array) -> Array:
    """Two steps of a loop of unknown length: sums weighed by how many ran."""
    count = earlier[0] + later[0]
    mean = (earlier[0] * earlier[1:] + later[0] * later[1:]) / count
    return jnp.concatenate([count[None], mean])
