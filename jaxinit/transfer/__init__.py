"""Weights from elsewhere: loaded, grown, adapted at low rank."""

from jaxinit._lazy import lazy as _lazy

_lazy(__name__)
