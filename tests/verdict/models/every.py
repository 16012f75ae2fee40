"""All models of the planted set: faulty ones with their cured twins, healthy ones."""

from tests.verdict import planted
from tests.verdict.models import (
    faults,
    functional_models,
    healthy,
    linen_models,
    newcomers,
    nnx_models,
    rare,
    strangers,
)
from tests.verdict.models.case import Faulty, Healthy

_PAGES = (
    linen_models,
    nnx_models,
    functional_models,
    faults,
    healthy,
    rare,
    strangers,
    newcomers,
)


def _faulty(case: planted.Planted) -> Faulty:
    cured_inputs = None if case.cured_x is None else (case.cured_x,)
    return Faulty(
        case.name,
        case.body,
        (case.x,),
        case.kind,
        case.place,
        case.cured,
        cured_inputs,
        case.loss,
    )


FAULTY: list[Faulty] = [
    *map(_faulty, planted.FAULTY),
    *(case for page in _PAGES for case in page.FAULTY),
]
HEALTHY: list[Healthy] = [
    *(
        Healthy(name, model, (x,))
        for name, (model, x) in (planted.HEALTHY | planted.OTHERS).items()
    ),
    *(case for page in _PAGES for case in page.HEALTHY),
]
