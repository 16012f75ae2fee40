"""SmallInit and Wang's law, to all digits."""

import numpy as np
import pytest

from jaxinit import normal
from jaxinit.schemes.transformer.small_init import small_init, wang_init
from tests.schemes.transformers import single, stds

RTOL = 1e-6


@pytest.mark.parametrize(
    ("width", "std"),
    [(512, 0.02795085), (768, 0.02282177), (1024, 0.01976424), (4096, 0.00988212)],
)
def test_every_weight_has_the_law_of_the_stream(width, std):
    for ratio in stds(single(1, width), small_init(), normal(1.0)).values():
        # 7 digits are given
        np.testing.assert_allclose(ratio, std, rtol=3e-7 + RTOL)


def test_wang_is_for_the_ends_of_branches():
    found = stds(single(12, 768), wang_init(), normal(1.0))

    for name in ("stack/a4", "stack/m2"):
        np.testing.assert_allclose(found[name], 0.00601407, rtol=1e-6 + RTOL)
    for name in ("stack/a1", "stack/a2", "stack/a3", "stack/m1", "e", "r"):
        np.testing.assert_allclose(found[name], 0.02282177, rtol=3e-7 + RTOL)
