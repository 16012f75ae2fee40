"""What every initializer promises, for every row of the table."""

import json
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit.initializers as ji
from tests.initializers.checks import (
    assert_moments,
    assert_rounded_inside,
    assert_same,
    widened,
)
from tests.initializers.member import Member
from tests.initializers.table import MEMBERS, OTHER_NAMES
from tests.processes import printed

KEY = jax.random.key(7)
LOW_PRECISION = [
    "bfloat16",
    "float16",
    "float8_e4m3fn",
    "float8_e5m2",
]


def each(chosen: Callable[[Member], bool]) -> pytest.MarkDecorator:
    """A test for each row that has what the test is about."""
    members = [member for member in MEMBERS if chosen(member)]
    assert members
    return pytest.mark.parametrize("member", members, ids=[m.name for m in members])


each_member = each(lambda member: True)


def draw(member: Member, dtype: object = None) -> jax.Array:
    return member.init(KEY, member.shape, dtype)


def test_every_public_initializer_is_in_the_table():
    names = {member.public_name for member in MEMBERS}

    assert names == set(ji.__all__) - OTHER_NAMES


def test_the_contents_page_lists_every_name():
    modules = {name for name in dir(ji) if isinstance(getattr(ji, name), type(sys))}
    public = {name for name in dir(ji) if not name.startswith("_")} - modules

    assert sorted(ji.__all__) == sorted(public)


def test_row_names_are_distinct():
    names = [member.name for member in MEMBERS]

    assert len(set(names)) == len(names)


@each_member
def test_it_is_an_initializer(member):
    assert isinstance(member.init, jax.nn.initializers.Initializer)


@each_member
def test_float32_is_the_default_and_it_is_finite(member):
    x = member.init(KEY, member.shape)

    assert x.shape == member.shape
    assert x.dtype == jnp.float32
    assert np.isfinite(x).all()


@each_member
def test_low_precision_is_the_float32_draw_rounded(member):
    full = draw(member, jnp.float32)

    for dtype in LOW_PRECISION:
        assert_rounded_inside(draw(member, dtype), full)


@pytest.mark.parametrize(
    "dtype",
    [
        "float4_e2m1fn",
        "float8_e3m4",
        "float8_e4m3",
        "float8_e4m3b11fnuz",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
    ],
)
@pytest.mark.parametrize("name", ["constant", "normal", "orthogonal", "sparse"])
def test_rare_dtypes_work_too(name, dtype):
    (member,) = (member for member in MEMBERS if member.name == name)
    full = draw(member, jnp.float32)

    assert_same(draw(member, dtype), full.astype(dtype))


@each_member
def test_float64_is_drawn_in_float64(member):
    with jax.enable_x64(True):
        x = draw(member, jnp.float64)
        default = member.init(KEY, member.shape)

    assert_same(default, x)
    assert x.dtype == np.float64
    assert np.isfinite(x).all()
    if member.random:
        # At least one value needs more than the 24 bits of a float32.
        assert (np.asarray(x) != np.asarray(x).astype(np.float32)).any()


@each_member
def test_complex_dtypes_work_or_are_refused(member):
    if member.is_complex:
        x = draw(member, jnp.complex64)

        assert x.dtype == np.complex64
        assert np.isfinite(x).all()
    else:
        with pytest.raises(ValueError, match="complex64"):
            draw(member, jnp.complex64)


@each_member
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_integers_are_refused_unless_the_values_are_whole(member, dtype):
    if member.integers:
        x = draw(member, dtype)

        assert_same(x, draw(member).astype(dtype))
    else:
        with pytest.raises(ValueError, match=dtype):
            draw(member, dtype)


@each_member
def test_it_runs_under_shard_map(member):
    """The types of loops say over which axes of the mesh values vary."""
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((1,), ("x",), axis_types=auto)
    spec = jax.sharding.PartitionSpec("x")
    sharded = jax.shard_map(
        lambda keys: member.init(keys[0], member.shape),
        mesh=mesh,
        in_specs=spec,
        out_specs=spec,
    )

    out = jax.eval_shape(sharded, jax.random.split(KEY, 1))

    assert out.shape == member.shape


@each_member
def test_jit_equals_eager(member):
    compiled = jax.jit(lambda key: member.init(key, member.shape))(KEY)

    if member.elementwise:
        assert_same(compiled, draw(member))
    else:
        # Fusion may round sums otherwise.
        np.testing.assert_allclose(compiled, draw(member), rtol=1e-4, atol=1e-5)


@each_member
def test_the_key_alone_decides(member):
    other = member.init(jax.random.key(8), member.shape)

    assert_same(draw(member), draw(member))
    assert (other == draw(member)).all() == (not member.random)


@each_member
def test_raw_keys_give_the_same_values(member):
    raw = member.init(jax.random.key_data(KEY), member.shape)

    assert_same(raw, draw(member))


@each_member
def test_vmap_over_keys_draws_each(member):
    keys = jax.random.split(KEY, 3)

    xs = jax.vmap(lambda key: member.init(key, member.shape))(keys)

    expected = jnp.stack([member.init(key, member.shape) for key in keys])
    np.testing.assert_allclose(xs, expected, rtol=1e-4, atol=1e-5)


@each_member
def test_eval_shape(member):
    out = jax.eval_shape(lambda key: member.init(key, member.shape, jnp.bfloat16), KEY)

    assert (out.shape, out.dtype) == (member.shape, jnp.bfloat16)


@each(lambda member: member.empty is not None)
def test_arrays_without_elements(member):
    x = member.init(KEY, member.empty, jnp.bfloat16)

    assert (x.shape, x.dtype) == (member.empty, jnp.bfloat16)


@each(lambda member: member.std is not None)
def test_moments(member):
    x = member.init(KEY, member.std_shape)

    assert_moments(x, mean=member.mean, std=member.std, kurtosis=member.kurtosis)


@each(lambda member: member.std is not None and member.is_complex)
def test_moments_of_complex_samples(member):
    x = member.init(KEY, member.std_shape, jnp.complex64)
    std = member.complex_std or member.std

    # |w|^2 spreads at most as that of a complex normal, whose kurtosis is 2.
    assert_moments(x, mean=0.0, std=std, kurtosis=2.0)
    assert_moments(jnp.real(x), mean=0.0, std=std / np.sqrt(2), kurtosis=3.0)


@pytest.fixture(scope="module")
def sharded(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, dict[str, object]]]:
    """What a process with eight devices found: mesh kind -> row -> facts."""
    file = str(tmp_path_factory.mktemp("eight") / "drawn.npz")
    facts: dict[str, dict[str, dict[str, object]]] = json.loads(
        printed(8, "-m", "tests.initializers.eight_devices", file)
    )
    with np.load(file) as drawn:
        for place, x in drawn.items():
            kind, name = place.split(" ", 1)
            facts[kind][name]["drawn"] = x
    return facts


def away(x: np.ndarray, expected: jax.Array) -> float:
    """The largest difference, relative to the largest value."""
    expected = widened(expected)
    size = np.abs(expected).max(initial=1e-30)
    return float(np.abs(x - expected).max() / size)


@each_member
@pytest.mark.parametrize("mesh", ["auto", "explicit"])
def test_sharding_as_asked_with_the_same_values(member, mesh, sharded):
    facts = sharded[mesh][member.name]

    assert facts["sharding_is_as_asked"]
    error = away(facts["drawn"], draw(member))
    assert error == 0 if member.elementwise else error <= 1e-4


def test_every_way_to_ask_for_a_sharding(sharded):
    assert len(sharded["ways"]) == 2 * 5
    for way, facts in sharded["ways"].items():
        assert facts["sharding_is_as_asked"], way
        assert away(facts["drawn"], ji.normal(0.7)(KEY, (24, 16))) == 0, way


@each(lambda member: member.elementwise)
def test_no_device_holds_the_whole_of_an_elementwise_array(member, sharded):
    facts = sharded["auto"][member.name]

    assert facts["largest_buffer"] <= facts["size"] // 8


def test_devices_share_an_orthogonal_matrix_by_rows(sharded):
    facts = sharded["auto"]["orthogonal"]

    # The largest is the product of all columns with all columns, (16, 16).
    assert facts["largest_buffer"] == 16 * 16 < facts["size"]


def test_the_largest_buffer_is_seen(sharded):
    """The number above would notice an array that is drawn whole, then cut."""
    facts = sharded["control"]["drawn whole"]

    assert facts["largest_buffer"] == facts["size"]


def test_widened_keeps_complex_values():
    assert widened(jnp.asarray(1j, jnp.complex64)) == 1j
