"""Shim during the move."""

from jaxinit.initializers._value import law_of as law_of
from jaxinit.initializers._value import with_fans as with_fans
