"""Sharded draws. What eight devices see is in `test_promises.py`."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxinit.initializers import normal, orthogonal
from jaxinit.initializers._sharding import merge_axes

KEY = jax.random.key(0)
MESH = AbstractMesh((4, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2)


@pytest.mark.parametrize(
    ("shape", "spec", "merged", "merged_spec"),
    [
        ((3, 3, 64, 128), P(), (73728,), P(None)),
        ((3, 3, 64, 128), P(None, None, None, "x"), (576, 128), P(None, "x")),
        ((3, 3, 64, 128), P(None, None, "x", "y"), (9, 64, 128), P(None, "x", "y")),
        ((64, 128), P("x"), (8192,), P("x")),
        ((64, 128), P(("x", "y"), None), (8192,), P(("x", "y"))),
        ((), P(), (), P()),
        # One axis is counted in 32 bits.
        ((2**20, 2**20), P("x"), (2**20, 2**20), P("x", None)),
    ],
)
def test_merged_axes(shape, spec, merged, merged_spec):
    sizes, sharding = merge_axes(shape, NamedSharding(MESH, spec))

    assert sizes == merged
    assert sharding.spec == merged_spec


def test_unsharded_axes_all_merge():
    assert merge_axes((3, 3, 64), None) == ((576,), None)
    assert merge_axes((), None) == ((1,), None)


def test_one_device_is_a_mesh_too():
    mesh = Mesh(np.array(jax.devices()[:1]), ("x",))
    sharding = NamedSharding(mesh, P("x"))

    for init in (normal(), orthogonal()):
        x = init(KEY, (8, 4), None, sharding)

        assert sharding.is_equivalent_to(x.sharding, 2)
        np.testing.assert_allclose(x, init(KEY, (8, 4)), atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match="no mesh is set"):
        normal()(KEY, (8,), None, P("x"))
    with pytest.raises(TypeError, match="got 'x' of type str"):
        normal()(KEY, (8,), None, "x")
    with pytest.raises(ValueError, match=r"2 axes, .* shape \(8,\) has only 1"):
        normal()(KEY, (8,), None, NamedSharding(MESH, P(None, "x")))
    explicit = AbstractMesh((4,), ("x",), axis_types=(AxisType.Explicit,))
    with pytest.raises(ValueError, match="abstract mesh"):
        normal()(KEY, (8,), None, NamedSharding(explicit, P("x")))
