"""jax's persistent compilation cache, switched on for a command."""

import os
import sys
from pathlib import Path


def keep_programs() -> Path | None:
    """Lets jax keep what it compiles in the user's cache folder, from run to run.

    It is switched on by the environment, before jax is imported: where jax runs
    already, or the user has said something about its cache, nothing is changed.

    Returns:
      The folder, or ``None`` if nothing was changed.
    """
    told = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
    if "jax" in sys.modules or any(name in os.environ for name in told):
        return None
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(caches) / "jaxinit" / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # A model has many programs that take half a second; jax keeps those of a second.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    return folder
