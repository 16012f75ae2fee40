"""What others published comes out: isometry and residual streams."""

import numpy as np

from examples import published


def test_singular_values_spread_as_pennington_found():
    lines = published.isometry(depth=6, width=128, seeds=4)

    theory, measured = np.array([(x.published, x.measured) for x in lines]).T
    assert theory.tolist() == [6, 0, 12, 6]
    # The next order in depth / width is a few percent, as are four seeds' errors.
    np.testing.assert_allclose(measured, theory, rtol=0.2, atol=1e-6)


def test_streams_grow_as_brock_and_de_found():
    lines = published.streams(blocks=2, width=256, seeds=4)

    assert [x.published for x in lines[:2]] == [2, 4]
    for line in lines:
        # Width 256 and 4 seeds: sqrt(5 / 256 / 4) = 7% of a second moment.
        np.testing.assert_allclose(line.measured, line.published, rtol=0.1)
