"""Small real data: handwritten digits, and the bytes of a text."""

import importlib.util
import os
import pathlib

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1797 handwritten digits of 8 by 8 pixels, standardized by one mean and std.

    Returns:
      ``(images, labels)`` of shapes ``(1797, 64)`` float32 and ``(1797,)`` int32.

    Raises:
      ImportError: if scikit-learn is not installed.

    References:
      Alpaydin and Kaynak, "Cascading classifiers", 1998; the UCI test set, as
      scikit-learn ships it.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ImportError("digits need scikit-learn: pip install 'jaxinit[examples]'.")
    folder = pathlib.Path(found.submodule_search_locations[0])
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if file.exists():  # importing scikit-learn takes seconds, reading this a tenth
        table = np.loadtxt(file, delimiter=",")
        images, labels = table[:, :-1], table[:, -1]
    else:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
    images = (images - images.mean()) / images.std()
    return images.astype(np.float32), labels.astype(np.int32)


def text_bytes(
    path: str | os.PathLike[str], length: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of a file's bytes, and for each byte the next one.

    Args:
      path: any file; a plain text.
      length: bytes in a piece.

    Returns:
      ``(tokens, targets)``, both ``(pieces, length)`` int32, below 256.

    Raises:
      ValueError: if the file is shorter than one piece.
    """
    data = np.frombuffer(pathlib.Path(path).read_bytes(), np.uint8).astype(np.int32)
    pieces = (len(data) - 1) // length
    if length < 1 or pieces < 1:
        raise ValueError(
            f"`length` must be between 1 and {max(len(data) - 1, 0)}, one less than "
            f"the bytes of {os.fspath(path)!r}, got {length}."
        )
    used = pieces * length
    return data[:used].reshape(pieces, length), data[1 : used + 1].reshape(
        pieces, length
    )
