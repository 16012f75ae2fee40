"""What others published comes out: isometry, residual streams, places of norms."""

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


def test_last_gradients_change_with_depth_as_xiong_found():
    post, pre = published.norms(short=8, long=32, width=64, seeds=4)

    assert (post.published, pre.published) == (1, 0.5)
    # What the stream begins with, 1 beside 8/2 at least, is 5% of the ratio; so is the
    # error of four seeds.
    for line in (post, pre):
        np.testing.assert_allclose(line.measured, line.published, rtol=0.15)
