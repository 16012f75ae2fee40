"""Whole networks: every parameter of a model by a published scheme."""

from jaxinit._lazy import lazy as _lazy

_lazy(__name__)
