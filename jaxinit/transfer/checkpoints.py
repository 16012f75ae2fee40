"""Arrays by name from a pytree, an Orbax checkpoint or a safetensors file."""

import contextlib
import importlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxinit.transfer._leaves import some, tree_of

# What the header of a safetensors file may call a dtype that NumPy can hold.
_SAFETENSORS_DTYPES = frozenset(
    {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"}
    | {"F16", "BF16", "F32", "F64", "C64"}
)
_MARKER = "_METADATA"


@dataclass(frozen=True)
class Source:
    """Arrays that can be read by name.

    Attributes:
      origin: where they come from, for messages.
      names: the names, in the order of the source.
      read: the array of a name. It raises ``ValueError`` with the origin and the
        reason where the array cannot be read.
    """

    origin: str
    names: tuple[str, ...]
    read: Callable[[str], Any]


@contextlib.contextmanager
def opened(source: Any) -> Iterator[Source]:
    """The arrays of ``source``; a file stays open for the length of the context.

    Args:
      source: a pytree, or the path of an Orbax checkpoint (a directory) or of a
        ``.safetensors`` file.

    Yields:
      The arrays by name.

    Raises:
      FileNotFoundError: if there is nothing at the path.
      ImportError: if the library that reads the file is not installed.
      ValueError: if the file is neither of the two, or broken.
    """
    if not isinstance(source, str | os.PathLike):
        yield _from_pytree(source)
        return
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"`source` names {str(path)!r}, which does not exist.")
    if path.is_dir():
        yield _from_orbax(path)
    elif path.suffix == ".safetensors":
        with _safetensors(path) as found:
            yield found
    else:
        raise ValueError(
            f"`source` must be a pytree, an Orbax checkpoint (a directory) or a "
            f".safetensors file, got {str(path)!r}. Pickled checkpoints (.pt, .bin, "
            ".ckpt, .pkl) run code when read and are refused: convert them to "
            "safetensors where they come from."
        )


def _from_pytree(tree: Any) -> Source:
    leaves = {leaf.name: leaf.value for leaf in tree_of(tree).leaves}
    return Source("the given pytree", tuple(leaves), leaves.__getitem__)


def _from_orbax(path: Path) -> Source:
    """All arrays of a checkpoint, on the host."""
    try:
        ocp = importlib.import_module("orbax.checkpoint")
    except ImportError as error:
        raise ImportError(
            "Reading an Orbax checkpoint needs orbax-checkpoint, which comes with "
            "flax: pip install orbax-checkpoint"
        ) from error
    item = _orbax_item(path).absolute()
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            metadata = checkpointer.metadata(item).item_metadata
            if metadata is None:
                raise ValueError("its index is damaged, or lacks files")
            as_numpy = jax.tree.map(
                lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata.tree
            )
            tree = checkpointer.restore(item, restore_args=as_numpy)
    # What Orbax and TensorStore raise for files that are missing, cut or altered.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_broken(item, error)) from error
    leaves = {leaf.name: leaf.value for leaf in tree_of(tree).leaves}
    # The boxes of nnx and of partitioned parameters are saved as a folder `value`.
    below = Counter(
        "/".join(parts[:depth])
        for parts in (name.split("/") for name in leaves)
        for depth in range(1, len(parts))
    )
    plain = {}
    for name in leaves:
        folder = name.removesuffix("/value")
        plain[folder if below[folder] == 1 else name] = name
    return Source(str(path), tuple(plain), lambda name: leaves[plain[name]])


def _orbax_item(path: Path) -> Path:
    """The directory of the checkpoint itself, below that of its step."""
    if (path / _MARKER).exists():
        return path
    items = sorted(p for p in path.iterdir() if (p / _MARKER).exists())
    if len(items) == 1:
        return items[0]
    deeper = sorted(p.parent for p in path.glob(f"*/*/{_MARKER}"))
    found = [str(p) for p in items or deeper]
    advice = (
        f"It holds several: pass one of {some(found)}."
        if found
        else f"Neither it nor a folder in it holds a file {_MARKER}."
    )
    raise ValueError(f"`source` {str(path)!r} is no Orbax checkpoint. {advice}")


@contextlib.contextmanager
def _safetensors(path: Path) -> Iterator[Source]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(
            "Reading .safetensors files needs the library safetensors: "
            "pip install 'jaxinit[transfer]'"
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(safe_open(str(path), framework="numpy"))
            names = tuple(file.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(_broken(path, error)) from error

        def read(name: str) -> Any:
            dtype = file.get_slice(name).get_dtype()
            if dtype not in _SAFETENSORS_DTYPES:
                raise ValueError(
                    f"{str(path)!r} holds {name!r} as {dtype}, which is not read here: "
                    "save it in a float format of 16 bits or more."
                )
            try:
                return file.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise ValueError(_broken(path, error)) from error

        yield Source(str(path), names, read)


def _broken(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    return f"`source` {str(path)!r} cannot be read: {reason or type(error).__name__}"
