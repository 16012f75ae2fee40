"""The digits are scikit-learn's, whether it is imported for them or not."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from jaxinit.train.datasets import digits


def test_digits_are_those_of_scikit_learn(monkeypatch):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    found = digits()
    monkeypatch.setattr(pathlib.Path, "exists", lambda path: False)
    imported = digits()

    np.testing.assert_array_equal(found[1], labels)
    scale = np.std(images, dtype=np.float64)
    np.testing.assert_allclose(
        found[0], (images - images.mean()) / scale, rtol=1e-5, atol=1e-6
    )
    for one, other in zip(found, imported, strict=True):
        np.testing.assert_array_equal(one, other)


def test_scikit_learn_is_not_imported_for_them():
    code = (
        "import sys; from jaxinit.train.datasets import digits; digits(); "
        "sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install"):
        digits()
