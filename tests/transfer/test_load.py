"""What is loaded, what is not, and what is refused."""

import gc
import json
import pickle
import struct
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx
from flax.core import FrozenDict
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from safetensors.numpy import save_file

from jaxinit.transfer.load import load_partial, torch_layout
from tests.processes import printed


def filled(shape, value, dtype=np.float32):
    return np.full(shape, value, dtype)


def layer(value, ins=3, outs=2):
    return {"kernel": filled((ins, outs), value), "bias": filled(outs, value)}


FRESH = {"params": {"body": layer(0.0), "head": layer(0.0, 2, 4)}}
OLD = {"body": layer(1.0), "head": layer(2.0, 2, 5)}


def test_names_without_the_collection_of_parameters():
    new, report = load_partial(FRESH, {"params": OLD}, mismatch="reinit")

    assert (new["params"]["body"]["kernel"] == 1).all()
    assert (new["params"]["head"]["kernel"] == 0).all()
    assert report.loaded == ("body/bias", "body/kernel")
    assert report.reinitialized == ("head/bias", "head/kernel")
    assert report.missing == report.sliced == report.padded == report.unused == ()
    again, _ = load_partial(FRESH, OLD, mismatch="reinit")
    jax.tree.map(np.testing.assert_array_equal, again, new)


def test_other_collections_keep_their_names():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.BatchNorm(use_running_average=True)(nn.Dense(3)(x))

    shapes = jax.eval_shape(Net().init, jax.random.key(0), jnp.ones((2, 4)))
    variables = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes)
    old = jax.tree.map(lambda x: x + 1, variables)

    new, report = load_partial(variables, old, missing="error", unused="error")

    jax.tree.map(np.testing.assert_array_equal, new, old)
    assert "batch_stats/BatchNorm_0/mean" in report.loaded
    assert "Dense_0/kernel" in report.loaded


@pytest.mark.filterwarnings("ignore:.*the source lacks")  # told in its own test
@pytest.mark.parametrize(
    ("mapping", "taken"),
    [
        ({"b0/kernel": "h.0.w"}, {"b0/kernel": 10}),
        ({"b0": "old"}, {"b0/kernel": 20, "b0/bias": 21}),
        ({"b*/kernel": "h.*.w"}, {"b0/kernel": 10, "b1/kernel": 11}),
        ({"b1/bias": None, "b*/*": "x*/*"}, {"b0/bias": 30}),
        ({"b0": None, "*/kernel": "h.1.w*"}, None),
        (lambda name: "h.1.w" if name == "b0/kernel" else None, {"b0/kernel": 11}),
    ],
)
def test_mappings(mapping, taken):
    fresh = {f"b{i}": {"kernel": filled(2, 0), "bias": filled(2, 0)} for i in (0, 1)}
    old = {
        "h.0.w": filled(2, 10),
        "h.1.w": filled(2, 11),
        "old": {"kernel": filled(2, 20), "bias": filled(2, 21)},
        "x0": {"bias": filled(2, 30)},
    }
    if taken is None:
        with pytest.raises(ValueError, match=r"'h\.1\.wb1', which the source does not"):
            load_partial(fresh, old, mapping)
        return

    new, report = load_partial(fresh, old, mapping)

    found = {
        f"{folder}/{name}": int(value[0])
        for folder, arrays in new.items()
        for name, value in arrays.items()
        if value[0] != 0
    }
    assert found == taken
    assert set(report.loaded) == set(taken)


@pytest.mark.parametrize(
    ("mapping", "error", "message"),
    [
        ({"boby": "body"}, ValueError, "'boby', which applies to no leaf.*'body/"),
        ({"body": "a", "body/bias": "b"}, ValueError, "does not have"),
        ({"body": "body", "body/bias": "b"}, ValueError, "'body/bias', which applies"),
        ({"body": "bodi"}, ValueError, "sends 'body' to 'bodi/bias'.*'body/bias'"),
        ({"bo*/*": "body/*"}, ValueError, r"wildcards \* \* and \*:"),
        ({"body": 3}, TypeError, "names to names or None, got 'body': 3"),
        (3, TypeError, "must be a dict of names or a function of a name, got int"),
        (
            lambda name: 3,
            TypeError,
            "must return a name or None, got 3 for 'body/bias'",
        ),
        (lambda name: "no" + name, ValueError, "No array of the given pytree was load"),
    ],
)
def test_mappings_that_are_refused(mapping, error, message):
    with pytest.raises(error, match=message):
        load_partial(FRESH, OLD, mapping, "reinit")


LARGE = np.arange(24.0, dtype=np.float32).reshape(4, 6)
CASES = {
    "slice": ((2, 3), LARGE[:2, :3], ("sliced",)),
    "select": ((2, 4), LARGE[np.ix_([0, 2], [0, 2, 3, 5])], ("selected",)),
    "pad": ((5, 6), np.pad(LARGE, ((0, 1), (0, 0)), constant_values=-1), ("padded",)),
    "fit": (
        (5, 3),
        np.pad(LARGE[:, :3], ((0, 1), (0, 0)), constant_values=-1),
        ("sliced", "padded"),
    ),
}


@pytest.mark.parametrize("policy", CASES)
@pytest.mark.parametrize("from_jax", [False, True])
def test_mismatched_shapes(policy, from_jax):
    shape, expected, outcomes = CASES[policy]
    fresh = {"w": jnp.full(shape, -1.0)}
    source = {"w": jnp.asarray(LARGE) if from_jax else LARGE}

    new, report = load_partial(fresh, source, mismatch=policy)

    np.testing.assert_array_equal(new["w"], expected)
    assert report.leaves[0].outcomes == outcomes
    assert report.sliced == (("w",) if policy != "pad" else ())
    assert report.padded == (("w",) if "padded" in outcomes else ())


@pytest.mark.parametrize(
    ("policy", "shape", "reason"),
    [
        ("error", (4, 5), "the shapes differ"),
        ("slice", (5, 3), "smaller than the leaf along an axis"),
        ("select", (5, 3), "smaller than the leaf along an axis"),
        ("pad", (5, 3), "larger than the leaf along an axis"),
        ("fit", (4, 6, 1), "the number of axes differs"),
    ],
)
def test_shapes_that_a_policy_does_not_allow(policy, shape, reason):
    with pytest.raises(ValueError, match=reason) as info:
        load_partial({"w": filled(shape, 0)}, {"w": LARGE}, mismatch=policy)

    assert "'w'" in str(info.value)
    assert "(4, 6)" in str(info.value)


def test_all_mismatches_are_in_one_error():
    with pytest.raises(ValueError, match=r"2 arrays(.|\n)*'head/bias'(.|\n)*'head/ker"):
        load_partial(FRESH, OLD)


def test_policies():
    source = {"body": layer(1.0), "tail": filled(1, 0)}

    with pytest.raises(ValueError, match="lacks 'head/bias', 'head/kernel'"):
        load_partial(FRESH, source, missing="error")
    with pytest.raises(ValueError, match="has 'tail', which no leaf takes"):
        load_partial(FRESH, source, unused="error")
    with pytest.raises(ValueError, match="`mismatch` must be one of 'error'"):
        load_partial(FRESH, source, mismatch="crop")
    _, report = load_partial(FRESH, source, {"head": None}, missing="error")
    assert report.excluded == ("head/bias", "head/kernel")
    assert report.unused == ("tail",)


def test_report_as_a_table():
    source = {
        "body": {"kernel": filled((3, 2), 1, np.float16)},
        "head": layer(1.0, 2, 5),
        "bad\nname": filled(1, 1),
    }
    _, report = load_partial(FRESH, source, mismatch="slice")

    text = str(report)

    assert "Loaded 3 of 4 arrays from the given pytree: 2 sliced, 1 cast, " in text
    assert "1 missing in the source, 1 unused of the source." in text
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()[4:8]}
    cast = ["float16", "->", "float32"]
    assert lines["body/kernel"] == ["3x2", "loaded", "body/kernel", "3x2", *cast]
    assert lines["head/kernel"] == ["2x4", "sliced", "head/kernel", "2x5"]
    assert text.endswith("Not used of the source (1):\n  bad\\nname")
    assert report.casts == {"body/kernel": (np.float16, np.float32)}


def test_types_of_leaves_stay():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(3, 2, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

    box = nn.Partitioned(jnp.zeros((3, 2), jnp.bfloat16), (None, "model"))
    kernel = {"dense": {"kernel": filled((3, 2), 1.5)}}

    new, _ = load_partial({"params": {"dense": {"kernel": box}}}, kernel)
    state = nnx.state(Net(nnx.Rngs(0)))
    new_state, report = load_partial(state, kernel)
    module, _ = load_partial(Net(nnx.Rngs(0)), kernel)
    frozen, _ = load_partial(FrozenDict({"dense": {"kernel": box}}), kernel)
    mlp = eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    new_mlp, _ = load_partial(mlp, {"layers": [{"bias": filled(4, 1.5)}]})
    host, _ = load_partial({"w": filled(2, 0)}, {"w": jnp.ones(2)})

    assert new["params"]["dense"]["kernel"].names == (None, "model")
    assert new["params"]["dense"]["kernel"].value.dtype == jnp.bfloat16
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    assert (new_state["dense"]["kernel"][...] == 1.5).all()
    assert report.missing == ("dense/bias", "dropout/rngs/count")
    assert isinstance(module, Net)
    assert (module.dense.kernel[...] == 1.5).all()
    assert isinstance(frozen, FrozenDict)
    assert (new_mlp.layers[0].bias == 1.5).all()
    assert new_mlp.activation is mlp.activation
    assert type(host["w"]) is np.ndarray


def test_tied_module_is_refused():
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Linear(2, 2, rngs=rngs)
            self.b = self.a

    module = Tied(nnx.Rngs(0))

    with pytest.raises(ValueError, match=r"'a/bias' and 'b/bias'.*nnx\.state"):
        load_partial(module, {"a": layer(1.0, 2, 2)})
    new, _ = load_partial(nnx.state(module), {"a": layer(1.0, 2, 2)})
    nnx.update(module, new)
    assert (module.b.kernel[...] == 1).all()


def test_inputs_are_not_written_to():
    fresh = {"w": filled((3, 3), 0), "v": filled(2, 0)}
    source = {"w": filled((2, 2), 1), "v": filled(2, np.nan)}

    new, _ = load_partial(fresh, source, {"v": None}, "pad")
    with pytest.raises(ValueError, match=r"'v'.*not finite"):
        load_partial(fresh, source, mismatch="pad")

    assert new["w"].sum() == 4
    assert (fresh["w"] == 0).all()
    assert (fresh["v"] == 0).all()
    assert (source["w"] == 1).all()


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        (filled(2, 1, np.int8), "float32", "int8 for a leaf of float32"),
        (filled(2, 1, np.bool_), "int32", "bool for a leaf of int32"),
        (filled(2, 1, np.complex64), "float32", "complex64 for a leaf of float32"),
        (filled(2, np.inf), "float32", "not finite"),
        (filled(2, np.nan, ml_dtypes.bfloat16), "float32", "not finite"),
        (filled(2, 1e6), "float16", "numbers beyond float16"),
        (filled(2, 300, np.int64), "uint8", "integers beyond uint8"),
        (jnp.full(2, jnp.nan), "float32", "not finite"),
    ],
)
def test_numbers_that_do_not_fit(value, dtype, reason):
    with pytest.raises(ValueError, match=f"'w'.*{reason}"):
        load_partial({"w": jnp.zeros(2, dtype)}, {"w": value})


def test_transform_may_convert():
    fresh = {"w": np.zeros((2, 3), np.float32)}
    source = {"w": filled((3, 2), 4, np.int8)}

    new, _ = load_partial(
        fresh, source, transform=lambda name, x: x.T.astype(np.float32) / 8
    )

    assert (new["w"] == 0.5).all()
    with pytest.raises(ValueError, match=r"`transform` must give an array.*got 'no'"):
        load_partial(fresh, source, transform=lambda name, x: "no")


def test_shapes_without_values():
    abstract = jax.eval_shape(lambda: {"w": jnp.zeros((2, 2)), "v": jnp.zeros(1)})
    source = {"w": filled((2, 2), 1), "v": filled(1, 1)}

    new, _ = load_partial(abstract, source)
    assert isinstance(new["w"], jax.Array)
    with pytest.raises(ValueError, match="no values for 'v'"):
        load_partial(abstract, {"w": source["w"]})
    with pytest.raises(ValueError, match="no values for 'w'"):
        load_partial(abstract, {**source, "w": filled((1, 2), 1)}, mismatch="pad")
    with pytest.raises(ValueError, match="the source must give an array"):
        load_partial(source, abstract)


def test_under_jit():
    fresh = {"w": jnp.zeros((3, 3)), "v": jnp.zeros(2)}

    new = jax.jit(lambda f, s: load_partial(f, s, mismatch="fit")[0])(
        fresh, {"w": jnp.ones((2, 4)), "v": jnp.ones(2)}
    )

    assert new["w"].sum() == 6
    assert new["v"].sum() == 2


def test_shardings_stay():
    """Over four devices, in a process that has them."""
    code = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxinit.transfer.load import load_partial
from jaxinit.transfer.net2wider import net2wider
from jaxinit.transfer.shrink_perturb import shrink_perturb
mesh = Mesh(np.array(jax.devices()).reshape(4), ("x",))
split = NamedSharding(mesh, P(None, "x"))
fresh = {"w": jax.device_put(jnp.zeros((2, 8)), split), "v": jnp.zeros((8, 1))}
for value in (np.ones((2, 8), np.float32), jnp.ones((2, 8))):
    new, _ = load_partial(fresh, {"w": value}, {"v": None})
    assert new["w"].sharding == split and new["w"].sum() == 16
padded, _ = load_partial(fresh, {"w": np.ones((1, 8), np.float32)}, {"v": None}, "pad")
assert padded["w"].sharding == split and padded["w"].sum() == 8
shapes = {"w": jax.ShapeDtypeStruct((2, 8), "float32", sharding=split)}
new, _ = load_partial(shapes, {"w": np.ones((2, 8), np.float32)})
assert new["w"].sharding == split
shaken = shrink_perturb(fresh, jax.random.key(0))
assert shaken["w"].sharding == split
layers = {"a": {"kernel": fresh["w"]}, "b": {"kernel": fresh["v"]}}
wide = net2wider(layers, jax.random.key(0), "a", 12, next="b")
assert wide["a"]["kernel"].sharding == split
assert not wide["b"]["kernel"].committed
"""
    printed(4, "-c", code)


def test_one_device_is_a_mesh_too():
    split = NamedSharding(Mesh(np.array(jax.devices()[:1]), ("x",)), P("x"))

    new, _ = load_partial(
        {"w": jax.device_put(jnp.zeros(4), split)}, {"w": filled(4, 1)}
    )

    assert new["w"].sharding == split


# -- files


TENSORS = {
    "fc0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fc0.bias": filled(2, 1, ml_dtypes.bfloat16),
    "conv.weight": np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3),
    "steps": np.array(7, np.int64),
    "small": filled(2, 1, ml_dtypes.float8_e4m3fn),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    return path


def test_safetensors(file):
    fresh = {
        "Dense_0": layer(0.0),
        "Conv_0": {"kernel": np.zeros((3, 3, 2, 2), np.float32)},
        "count": jnp.zeros((), jnp.int32),
    }
    mapping = {"Dense_*/kernel": "fc*.weight", "Dense_*/bias": "fc*.bias"}
    mapping |= {"Conv_0/kernel": "conv.weight", "count": "steps"}

    new, report = load_partial(fresh, str(file), mapping, transform=torch_layout)

    np.testing.assert_array_equal(new["Dense_0"]["kernel"], TENSORS["fc0.weight"].T)
    np.testing.assert_array_equal(new["Dense_0"]["bias"], [1, 1])
    np.testing.assert_array_equal(
        new["Conv_0"]["kernel"][1, 2], TENSORS["conv.weight"][:, :, 1, 2].T
    )
    assert new["count"] == 7
    assert report.unused == ("small",)
    assert str(file) in str(report)
    assert set(report.casts) == {"Dense_0/bias", "count"}


def test_unreadable_dtype_of_a_file(file):
    with pytest.raises(ValueError, match=r"model.safetensors.*'small' as F8_E4M3"):
        load_partial({"small": jnp.zeros(2)}, file)


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


class Exploit:
    def __reduce__(self):
        return print, ("arbitrary code",)


HOSTILE = {
    "empty": b"",
    "short": b"\x00\x01",
    "cut in the data": raw({"w": entry([2], 0, 8)}, b"\x00" * 7),
    "cut in the header": raw({"w": entry([2], 0, 8)})[:20],
    "header of 4 EiB": struct.pack("<Q", 2**62) + b"{}",
    "no JSON": raw(b"{w: 1}"),
    "not a table": raw(b"[1, 2]"),
    "overlapping": raw({"w": entry([2], 0, 8), "v": entry([2], 4, 12)}, b"\x00" * 12),
    "beyond the end": raw({"w": entry([2], 1000, 1008)}, b"\x00" * 8),
    "negative": raw({"w": entry([-2], 0, 8)}, b"\x00" * 8),
    "shape against size": raw({"w": entry([3], 0, 8)}, b"\x00" * 8),
    "product overflows": raw({"w": entry([2**40, 2**40], 0, 8)}, b"\x00" * 8),
    "unknown dtype": raw({"w": entry([2], 0, 8, "F99")}, b"\x00" * 8),
    "data left over": raw({"w": entry([2], 0, 8)}, b"\x00" * 9),
    "pickle": pickle.dumps({"w": Exploit()}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(kind, tmp_path, capsys):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(HOSTILE[kind])

    with pytest.raises(ValueError, match=r"bad.safetensors' cannot be read: \w+"):
        load_partial({"w": jnp.zeros(2)}, path)

    assert "arbitrary code" not in capsys.readouterr().out


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({}))

    with pytest.raises(ValueError, match=r"model.pt'. Pickled checkpoints .* refused"):
        load_partial(FRESH, path)
    with pytest.raises(FileNotFoundError, match=r"absent.safetensors', which does not"):
        load_partial(FRESH, tmp_path / "absent.safetensors")
    with pytest.raises(ValueError, match=r"is no Orbax checkpoint. Neither it nor"):
        load_partial(FRESH, tmp_path)


def test_without_the_library(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)

    with pytest.raises(ImportError, match=r"pip install 'jaxinit\[transfer\]'"):
        load_partial(FRESH, file)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("orbax") / "old"
    boxed = nn.Partitioned(jnp.full((2, 5), 2.0), (None, None))
    tree = {"params": {"body": layer(1.0), "head": {"kernel": boxed}}}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, jax.tree.map(jnp.asarray, tree))
    return path


def test_orbax(checkpoint):
    new, report = load_partial(FRESH, checkpoint, mismatch="slice")

    assert (new["params"]["body"]["bias"] == 1).all()
    assert (new["params"]["head"]["kernel"] == 2).all()
    assert report.sliced == ("head/kernel",)
    assert report.missing == ("head/bias",)
    assert report.unused == ()


def test_orbax_manager_and_nnx(tmp_path):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    with ocp.CheckpointManager(tmp_path) as manager:
        for step in (1, 2):
            manager.save(step, args=ocp.args.StandardSave(nnx.state(model)))
        manager.wait_until_finished()

    fresh = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(1)))
    new, _ = load_partial(fresh, tmp_path / "2", missing="error", unused="error")

    np.testing.assert_array_equal(new["kernel"][...], model.kernel[...])
    with pytest.raises(ValueError, match=r"It holds several: pass one of .*1/default"):
        load_partial(fresh, tmp_path)


# When a read fails, Orbax closes its event loop under reads that are still going on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", ["cut", "garbage", "gone"])
def test_damaged_orbax_checkpoints(damage, tmp_path):
    path = tmp_path / "old"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, {"w": jnp.ones(2)})
    for file in [*path.glob("d/*"), *path.glob("*/d/*")]:
        data = file.read_bytes()
        file.unlink()
        if damage != "gone":
            file.write_bytes(
                data[: len(data) // 2] if damage == "cut" else b"x" * len(data)
            )

    with pytest.raises(
        ValueError, match=rf"`source` '{path}' cannot be read: \w+"
    ) as e:
        load_partial({"w": jnp.zeros(2)}, path)
    assert "attribute" not in str(e.value)
    del e
    gc.collect()  # what Orbax complains of is complained of here
