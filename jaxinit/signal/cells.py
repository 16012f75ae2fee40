"""The rows of a report: one for each event, and for each layer of a scan."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxinit.layers.event import Event
from jaxinit.layers.names import param_name, row_names
from jaxinit.report.measured import Row
from jaxinit.signal.statistics import Analysis


class Cell(NamedTuple):
    """One row: an event, and which of the scanned layers if it is in a scan."""

    number: int
    event: Event
    name: str
    layer: tuple[int, ...]


def find_cells(analysis: Analysis) -> list[Cell]:
    """The rows in the order of data: within a scan, layer by layer."""
    sites = analysis.sites
    names = row_names(sites, analysis.traced.params)
    keyed = []
    for number, event, name in zip(sites.numbers, sites.events, names, strict=True):
        layers = [loop for loop in event.loops if loop.kind == "layers"]
        for index in itertools.product(*(range(loop.length) for loop in layers)):
            cell = Cell(number, event, name + suffix(index), index)
            keyed.append((_order(event, index), cell))
    keyed.sort(key=lambda pair: pair[0])
    return [cell for _, cell in keyed]


def _order(event: Event, index: tuple[int, ...]) -> tuple[int, ...]:
    """The event's place in the program, with a loop's step behind the loop's."""
    position = {
        loop.path: loop.length - 1 - i if loop.reverse else i
        for loop, i in zip(
            (loop for loop in event.loops if loop.kind == "layers"), index, strict=True
        )
    }
    key: list[int] = []
    for depth in range(len(event.at.path)):
        key += event.at.path[depth]
        key.append(position.get(event.at.path[: depth + 1], 0))
    return (*key, event.at.equation, event.at.result)


def rows_of(
    analysis: Analysis, cells: Sequence[Cell], counts: Sequence[int]
) -> tuple[Row, ...]:
    names = [param_name(parts) for parts in analysis.traced.params]
    by_number: dict[int, list[Cell]] = {}
    for cell in cells:
        by_number.setdefault(cell.number, []).append(cell)

    def nearest(numbers: frozenset[int], index: tuple[int, ...]) -> tuple[str, ...]:
        found = []
        for number in sorted(numbers):
            for other in by_number.get(number, []):
                shared = min(len(other.layer), len(index))
                if other.layer[:shared] == index[:shared]:
                    found.append(other.name)
        return tuple(found)

    def param_of(leaf: int, index: tuple[int, ...]) -> str:
        depth = len(analysis.sites.scanned.get(leaf, ()))
        return names[leaf] + suffix(index[:depth])

    rows = []
    for cell, count in zip(cells, counts, strict=True):
        event = cell.event
        size = math.prod(event.shape)
        channels = math.prod(event.shape[axis] for axis in event.channels)
        rows.append(
            Row(
                name=cell.name,
                kind=event.kind,
                operation=event.operation,
                shape=event.shape,
                dtype=event.dtype,
                params=tuple(param_of(leaf, cell.layer) for leaf in event.params),
                activation=_activation_name(event),
                fan_in=event.uses[0].fan_in if event.uses else None,
                fan_out=event.uses[0].fan_out if event.uses else None,
                steps=count,
                samples=size // max(channels, 1) * count,
                skip=nearest(event.skip, cell.layer),
                branch=nearest(event.branch, cell.layer),
            )
        )
    return tuple(rows)


def suffix(index: tuple[int, ...]) -> str:
    """Which layer of a scan: ``[3]``."""
    return f"[{','.join(map(str, index))}]" if index else ""


_KNOWN = (
    ({"erf", "mul_self"}, "gelu"),
    ({"erfc", "mul_self"}, "gelu"),
    ({"tanh", "integer_pow"}, "gelu"),
    ({"logistic", "mul_self"}, "silu"),
)


def _activation_name(event: Event) -> str | None:
    """A common name where the steps tell one, else the nonlinear steps themselves."""
    if event.activation is None:
        return None
    steps = event.activation.steps
    for some, name in _KNOWN:
        if some <= set(steps):
            return name
    linear = {"mul", "div", "add", "sub", "neg", "convert_element_type", "copy"}
    telling = [step for step in steps if step not in linear and step != "dropout"]
    renamed = {"logistic": "sigmoid", "max": "relu"}
    return "+".join(renamed.get(step, step) for step in telling[:3]) or None
