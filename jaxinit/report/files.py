"""Files written where they were asked for."""

import os
import pathlib
import tempfile


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes ``data`` beside ``path`` first, so that no reader sees half a file.

    Args:
      path: the file to write; its folder must exist.
      data: the whole contents.

    Raises:
      FileNotFoundError: if the folder does not exist.
    """
    target = pathlib.Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {target}: the folder {target.parent} does not exist. "
            "Create it first."
        )
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files for the owner's eyes only; give the usual rights.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
