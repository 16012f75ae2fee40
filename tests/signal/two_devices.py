"""Run by `test_configurations`: shardings on two devices that the CPU plays."""

import jax
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxinit
from jaxinit import Functional
from tests.signal.same import assert_same_statistics

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (64, 8))


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(nn.relu(nn.Dense(8)(x)))


def measured(model, *args, judge=True):
    return jaxinit.analyze(model, *args, seeds=2, progress=False, judge=judge)


def of_one_kernel(apply):
    return Functional(
        lambda key, x: {"w": 0.3 * jax.random.normal(key, (8, 32))}, apply
    )


def same(first, second):
    assert_same_statistics(first, second, rtol=2e-5, groups=("forward", "backward"))


def main() -> None:
    mesh = jax.make_mesh((2,), ("t",), axis_types=(AxisType.Auto,))
    # Split over its inputs: the row is the value after the sum, the fans are global.
    split = jax.shard_map(
        lambda x, w: jax.lax.psum(x @ w, "t"),
        mesh=mesh,
        in_specs=(P(None, "t"), P("t", None)),
        out_specs=P(),
    )
    sharded = of_one_kernel(lambda p, x: split(x, p["w"]))
    plain = of_one_kernel(lambda p, x: x @ p["w"])
    report = measured(sharded, X)
    same(report, measured(plain, X, judge=False))
    assert (report.rows[0].fan_in, report.rows[0].fan_out) == (8, 32)
    drawn = jaxinit.initialize(sharded, jaxinit.lecun_normal(), 0, X)["w"]
    # 256 samples: the deviation is known to 1/sqrt(512).
    assert abs(float(drawn.std()) * 8**0.5 - 1) < 4 / 512**0.5
    scaled = jaxinit.initialize(sharded, jaxinit.lsuv(), 0, X)["w"]
    assert abs(float((X @ scaled).var()) - 1) < 1e-4
    print("shard_map")

    # What the model's own init constrains stays where it is, whoever draws it.
    spread = NamedSharding(mesh, P(None, "t"))
    constrained = Functional(
        lambda key, x: {
            "w": jax.lax.with_sharding_constraint(
                jax.jit(lambda k: jax.random.normal(k, (8, 32)))(key), spread
            )
        },
        lambda p, x: x @ p["w"],
    )
    for scheme in (jaxinit.he_normal(), jaxinit.lsuv()):
        assert jaxinit.initialize(constrained, scheme, 0, X)["w"].sharding == spread
    print("constrained")

    spec = NamedSharding(mesh, P(None, "t"))

    def committed(key, x):
        w = 8**-0.5 * jax.random.normal(key, (8, 4))
        return {"w": jax.lax.with_sharding_constraint(w, spec)}

    assert measured(Functional(committed, lambda p, x: x @ p["w"]), X).verdict == "ok"
    print("committed")

    alone = measured(MLP(), X, judge=False)
    explicit = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(explicit):
        x = jax.device_put(X, NamedSharding(explicit, P("data")))
        same(measured(MLP(), x), alone)
    print("explicit")

    with jax.set_mesh(mesh):
        inside = measured(MLP(), X)
    same(inside, alone)
    print("mesh")


if __name__ == "__main__":
    main()
