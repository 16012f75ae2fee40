"""Fans of the kernels of real layers."""

import pytest

from jaxinit.initializers import fans
from jaxinit.initializers.fans import einsum_roles


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        pytest.param((20, 30), {}, (20, 30), id="dense"),
        pytest.param((3, 5, 16, 32), {}, (240, 480), id="conv"),
        pytest.param((3, 3, 4, 32), {"groups": 8}, (36, 36), id="grouped conv"),
        pytest.param((3, 3, 1, 64), {"groups": 64}, (9, 9), id="depthwise conv"),
        pytest.param(
            (3, 3, 1, 128), {"groups": 64}, (9, 18), id="depthwise, two outputs each"
        ),
        pytest.param((4, 4, 16, 8), {"stride": 2}, (64, 128), id="transposed conv"),
        pytest.param(
            (4, 2, 16, 8), {"stride": (2, 1)}, (64, 64), id="transposed, two strides"
        ),
        pytest.param(
            (4, 4, 8, 16),
            {"transpose": True, "stride": 2},
            (64, 128),
            id="transposed conv, transpose_kernel",
        ),
        pytest.param(
            (512, 8, 64),
            {"in_axis": 0, "out_axis": (1, 2)},
            (512, 512),
            id="query",
        ),
        pytest.param(
            (8, 64, 256), {"in_axis": (0, 1), "out_axis": 2}, (512, 256), id="out"
        ),
        pytest.param(
            (16, 20, 30), {"batch_axis": 0}, (20, 30), id="DenseGeneral batch"
        ),
        pytest.param((12, 3, 3, 8, 16), {"batch_axis": 0}, (72, 144), id="stacked"),
        # One axis in two roles: only the fan-in of this recipe is meant.
        pytest.param((1000, 64), {"out_axis": 0}, (64, 64), id="embedding"),
        pytest.param(
            (512, 8, 64), {"einsum": "BTD,DNH->BTNH"}, (512, 512), id="einsum query"
        ),
        pytest.param(
            (8, 64, 512), {"einsum": "...NH,NHD->...D"}, (512, 512), id="einsum out"
        ),
        pytest.param(
            (4, 20, 30), {"einsum": "ebd,edf->ebf"}, (20, 30), id="einsum experts"
        ),
        pytest.param((7,), {"in_axis": 0, "out_axis": ()}, (7, 1), id="vector"),
        pytest.param((0, 3), {}, (0, 0), id="empty"),
    ],
)
def test_table(shape, options, expected):
    assert fans(shape, **options) == expected


def test_default_axes_are_wrong_for_a_query_kernel():
    """The table notices: 4096 in place of 512."""
    assert fans((512, 8, 64)).fan_in == 4096


def test_roles():
    assert einsum_roles("BTD, DNH -> BTNH") == ((0,), (1, 2), ())
    assert einsum_roles("bld,hdk->hblk") == ((1,), (0, 2), ())


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5,), {}, r"shape \(5,\) are not defined"),
        ((), {}, r"shape \(\) are not defined"),
        ((4, 5), {"in_axis": 2}, "`in_axis` is 2, but .* has 2 axes"),
        ((4, 5), {"out_axis": (0, -2)}, "names an axis of the shape .* twice"),
        ((3, 3, 2, 10), {"groups": 4}, "divide the 10 outputs .* got 4"),
        ((3, 3, 2, 10), {"groups": 0}, "`groups` must be .* at least 1, got 0"),
        ((3, 3, 2, 10), {"stride": 0}, "`stride` must be .* got 0"),
        ((3, 3, 2, 10), {"stride": (2,)}, r"each of the 2 spatial axes, got \(2,\)"),
        ((4, 5), {"einsum": "ab,bc"}, "must read 'lhs,kernel->out'"),
        ((4, 5), {"einsum": "ab,bb->a"}, "must read"),
        ((4, 5), {"einsum": "ab,bcd->acd"}, "3 axes, but the shape has 2"),
        ((4, 5), {"einsum": "ab,bc->a"}, "letter 'c' in its kernel alone"),
    ],
)
def test_errors(shape, options, message):
    with pytest.raises(ValueError, match=message):
        fans(shape, **options)
