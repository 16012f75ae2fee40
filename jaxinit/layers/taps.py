"""Where the values of a program's layers are watched."""

from collections.abc import Sequence

from jaxinit.layers.event import Event
from jaxinit.program.plan import Plan, Tap


def plan_taps(numbers: Sequence[int], events: Sequence[Event]) -> Plan:
    """Taps at the output of each event and behind its activation, if it has one."""
    plan = Plan()
    for number, event in zip(numbers, events, strict=True):
        plan.at(event.at, Tap(number, "output"))
        if event.activation is not None:
            plan.at(event.activation.at, Tap(number, "activation"))
    return plan
