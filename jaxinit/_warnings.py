"""Warnings that name the user's own line, however deep in the package they arise."""

import os
import sys
import warnings

import jax

# A frame of jax's between two of ours is no user's line either.
_INSIDE = tuple(os.path.dirname(m) + os.sep for m in (__file__, str(jax.__file__)))


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """``warnings.warn`` for the nearest caller outside this package and jax.

    Args:
      message: what is to be known, and what to do.
      category: of the warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
