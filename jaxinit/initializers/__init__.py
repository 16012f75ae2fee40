"""Initializers: functions ``(key, shape, dtype, out_sharding) -> array``.

``zeros`` and ``ones`` are initializers themselves; all other names make one.
"""

from jaxinit._lazy import lazy as _lazy

_lazy(__name__)
