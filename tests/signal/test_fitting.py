"""What a call takes is said before it is taken: memory, cores, work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinit
from jaxinit import _resources as resources
from jaxinit._caches import Cache
from jaxinit.draw.own_init import OwnDraw
from jaxinit.signal import records
from jaxinit.signal.engine import Engine
from tests.signal.same import assert_same_statistics

pytestmark = pytest.mark.internals

X = jnp.ones((8, 3))


class MLP(nn.Module):
    width: int = 5

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.tanh(nn.Dense(self.width)(x))
        return x


def forbid(monkeypatch, owner, name):
    def refuse(self, *args, **kwargs):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(owner, name, refuse)


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_a_seed_too_large_is_refused_before_it_is_drawn(monkeypatch, strategy):
    forbid(monkeypatch, OwnDraw, "__call__")
    forbid(monkeypatch, OwnDraw, "batched")
    monkeypatch.setattr(resources, "free_memory", lambda: 100)

    with pytest.raises(
        RuntimeError, match=r"does not fit .* needs 4\d\d B .* there are 100 B"
    ):
        jaxinit.analyze(MLP(), X, seeds=2, strategy=strategy)


def test_a_plan_says_what_a_call_takes_and_draws_nothing(monkeypatch):
    model, x = MLP(64), jnp.ones((32, 48))
    report = jaxinit.analyze(model, x, seeds=1)
    forbid(monkeypatch, Engine, "run")
    forbid(monkeypatch, OwnDraw, "__call__")

    plan = jaxinit.analyze(model, x, seeds=7, plan=True)

    parameters = 48 * 64 + 2 * 64 * 64 + 3 * 64
    assert plan.rows == len(report.layers) == 3
    assert plan.parameters == parameters
    assert plan.weight_bytes == 4 * parameters
    # Forward and twice backward; the first layer needs no gradient of its input.
    assert plan.flops_per_seed == 3 * 2 * 32 * (48 * 64 + 2 * 64 * 64)
    assert plan.seeds == 7
    assert plan.chunk <= 7
    assert plan.fits
    assert plan.seconds > 0
    # XLA fuses some of what jax keeps, and needs some room of its own.
    ratio = plan.bytes_per_seed / report.settings["bytes_per_seed"]
    assert 0.6 < ratio < 1.7
    assert "fits" in str(plan)


def test_a_plan_of_what_would_fit_nowhere():
    class Wide(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2**22)(nn.relu(nn.Dense(2**22)(x)))

    plan = jaxinit.analyze(Wide(), jax.ShapeDtypeStruct((1, 8), "float32"), plan=True)

    assert plan.weight_bytes > 4 * 2**44
    assert not plan.fits


def test_a_scan_counts_its_layers_and_its_work():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.tanh(nn.Dense(4)(x)), None

    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x):
            blocks = nn.scan(
                Block,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=9,
            )
            return blocks()(x, None)[0]

    plan = jaxinit.analyze(Scanned(), jnp.ones((2, 4)), plan=True)

    assert plan.rows == 9
    assert plan.flops_per_seed == 9 * 3 * 2 * 2 * 4 * 4


def test_no_more_seeds_are_run_than_asked_for(monkeypatch):
    sizes, original = [], Engine.run_batched

    def run_batched(self, seeds, mesh=None):
        sizes.append(len(seeds))
        return original(self, seeds, mesh)

    monkeypatch.setattr(Engine, "run_batched", run_batched)
    report = jaxinit.analyze(
        MLP(), X, seeds=3, chunk=2000, strategy="vmap", remedies="none"
    )

    assert sizes == [3]
    assert report.settings["chunk"] == 3


def test_a_fault_of_ours_is_not_a_model_without_gradients(monkeypatch):
    def broken(*args):
        raise TypeError("planted")

    monkeypatch.setattr(records, "sum_of_units", broken)

    with pytest.raises(TypeError, match="planted"):
        jaxinit.analyze(MLP(6), jnp.ones((9, 3)), seeds=2)


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_every_kind_give_the_same_under_every_strategy(impl):
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4)(nn.Dropout(0.5, deterministic=False)(nn.Dense(8)(x)))

    key = jax.random.key(3, impl=impl)
    loop = jaxinit.analyze(Noisy(), X, key=key, seeds=3, strategy="loop")
    vmap = jaxinit.analyze(Noisy(), X, key=key, seeds=3, strategy="vmap", judge=False)

    # Up to the order of float32 sums; the same kernels up to rounding.
    assert_same_statistics(vmap, loop, rtol=1e-4, atol=1e-5)
    norms = [report.weights["weight_norm"] for report in (vmap, loop)]
    np.testing.assert_allclose(*norms, rtol=1e-6)
    kernel = Noisy().init(loop.key(2), X)["params"]["Dense_0"]["kernel"]
    drawn = loop.weights["weight_norm"][2, loop.params.index("Dense_0/kernel")]
    np.testing.assert_allclose(drawn, np.linalg.norm(kernel), rtol=1e-5)
    variables = jaxinit.initialize(Noisy(), jaxinit.he_normal(), loop.key(1), X)
    assert variables["params"]["Dense_0"]["kernel"].shape == (8, 4)


def test_an_analysis_under_one_configuration_does_not_poison_another():
    model = MLP(7)
    plain = jaxinit.analyze(model, X, seeds=1)
    with jax.default_matmul_precision("float32"), jax.enable_x64(True):
        jaxinit.analyze(model, np.ones((8, 3), np.float32), seeds=1)
    again = jaxinit.analyze(model, X, seeds=1)

    for name, values in plain.forward.items():
        np.testing.assert_array_equal(values, again.forward[name], name)


def test_caches_are_cleared_and_the_numbers_stay():
    before = jaxinit.analyze(MLP(), X, seeds=1)
    first = jaxinit.analyze(MLP(), X, seeds=1).settings["compile_seconds"]

    jaxinit.clear_caches()
    after = jaxinit.analyze(MLP(), X, seeds=1)

    assert first == 0
    assert after.settings["compile_seconds"] > 0
    for name, values in before.forward.items():
        np.testing.assert_array_equal(values, after.forward[name], name)


def test_a_cache_is_bounded_in_number_and_in_bytes():
    cache = Cache(3, 10, lambda entry: entry)
    for size in (1, 2, 3, 4):
        cache.get(size, lambda size=size: size)
    assert len(cache) == 3  # 2, 3, 4
    cache.get(2, lambda: pytest.fail("it is there"))
    cache.get(8, lambda: 8)
    assert len(cache) == 2  # 2 was used last: with 8 it makes 10
    cache.get(100, lambda: 100)
    assert len(cache) == 1  # the newest stays, whatever it takes


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    folder = tmp_path / "inner"
    folder.mkdir()
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    monkeypatch.setattr(resources, "_cgroup_folders", lambda: [folder, tmp_path])
    return folder


def test_cores_are_those_of_the_affinity_and_of_the_quota(cgroup, monkeypatch):
    monkeypatch.setattr(
        "os.sched_getaffinity", lambda pid: set(range(8)), raising=False
    )
    assert resources.cores() == 8
    (cgroup / "cpu.max").write_text("max 100000")
    assert resources.cores() == 8
    (cgroup.parent / "cpu.max").write_text("300000 100000")
    assert resources.cores() == 3
    (cgroup / "cpu.max").write_text("400000 100000")
    assert resources.cores() == 3
    (cgroup / "cpu.max").write_text("50000 100000")
    assert resources.cores() == 1
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {5}, raising=False)
    assert resources.cores() == 1


def test_memory_is_that_of_the_cgroup(cgroup):
    (cgroup / "memory.max").write_text(str(2**20))
    (cgroup / "memory.current").write_text(str(2**19))
    assert resources.memory() == 2**20
    assert resources.free_memory() == 2**19
    (cgroup / "memory.stat").write_text(f"anon 5\ninactive_file {2**18}\n")
    assert resources.free_memory() == 2**19 + 2**18
