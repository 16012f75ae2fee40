"""Runs analyses over eight devices; prints the facts as JSON.

Run by `test_devices.py` in a process of its own, since the number of devices is fixed
when jax starts and would slow every other test.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxinit

SEEDS = 11
X = np.asarray(jax.random.normal(jax.random.key(1), (16, 8)))


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dropout(0.5, deterministic=False)(nn.relu(nn.Dense(16)(x)))
        return nn.Dense(4)(x)


def furthest(report, expected) -> float:
    """The largest difference of a statistic, relative to the metric's largest value."""
    assert list(report.seeds) == list(expected.seeds)
    worst = 0.0
    for group in ("forward", "backward", "weights"):
        for name, values in getattr(expected, group).items():
            away = np.nan_to_num(np.abs(getattr(report, group)[name] - values))
            worst = max(worst, away.max() / np.nanmax(np.abs(values), initial=1e-30))
    return float(worst)


def refused(**options: object) -> str:
    try:
        jaxinit.analyze(Noisy(), X, **options)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


# Without "dead": inside a shard_map a ReLU is no layer's activation.
METRICS = ("rms", "absmax", "grad_rms", "wgrad_norm")


def squares(w, x):
    return jnp.mean((jax.nn.relu(x @ w["a"]) @ w["b"]) ** 2)


def observed_away(mesh: jax.sharding.Mesh, explicit: jax.sharding.Mesh) -> dict:
    """How far statistics in a sharded step are from those of one device."""
    w = {"a": np.asarray(X[:8, :8]), "b": np.asarray(X[8:, :8])}
    watch = jax.jit(jaxinit.observe_grad(squares, every=2))
    one = watch(w, X, step=0)[2].scalars()

    def away(found):
        assert found.keys() == one.keys()
        return max(abs(found[name] - one[name]) for name in one)

    spread = jax.device_put(X, NamedSharding(mesh, P("data")))
    away_of = {"auto": away(watch(w, spread, step=2)[2].scalars())}
    with jax.set_mesh(explicit):
        held = jax.device_put(w, NamedSharding(explicit, P()))
        rows = jax.device_put(X, NamedSharding(explicit, P("data")))
        away_of["explicit"] = away(watch(held, rows, step=jnp.int32(2))[2].scalars())

    def local(w, x):
        w = jax.tree.map(lambda a: jax.lax.pcast(a, "data", to="varying"), w)
        _, _, statistics = jaxinit.observe_grad(squares, metrics=METRICS)(w, x)
        return jax.tree.map(lambda a: a[None], statistics)

    run = jax.shard_map(
        local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data")
    )
    each = jax.jit(run)(w, X)
    alone = jax.jit(jaxinit.observe_grad(squares, metrics=METRICS))
    worst = 0.0
    for device in range(8):
        own = jax.tree.map(lambda a, device=device: a[device], each).scalars()
        part = alone(w, X[2 * device : 2 * device + 2])[2]
        for name, value in part.scalars().items():
            worst = max(worst, abs(own[name] - value))
    return away_of | {"shards": worst}


def raced(devices: object, chunk: int | None = None) -> jaxinit.Race:
    """Five runs, which eight devices cannot share evenly."""
    return jaxinit.race(
        jaxinit.Functional(
            lambda key, x: {"w": jax.random.normal(key, (x.shape[1], 3))},
            lambda params, x: x @ params["w"],
        ),
        lambda step: (X, np.tanh(X[:, :3]) * (1 + step)),
        schemes=["own"],
        optimizer=optax.adam,
        learning_rates=[0.03],
        steps=10,
        seeds=5,
        diagnose=False,
        solutions=0,
        devices=devices,
        chunk=chunk,
    )


def main() -> None:
    def analyzed(x, judge=False, **options):
        return jaxinit.analyze(Noisy(), x, seeds=SEEDS, judge=judge, **options)

    def away(x, **options):
        return furthest(analyzed(x, **options), one)

    one = analyzed(X, devices=1)
    facts = {"devices": {}, "away": {}}
    for strategy in ("loop", "vmap"):
        report = analyzed(X, judge=strategy == "vmap", strategy=strategy)
        facts["devices"][strategy] = report.settings["devices"]
        facts["away"][strategy] = furthest(report, one)
    facts["away"]["two"] = away(X, devices=jax.devices()[2:4])
    facts["away"]["rbg"] = furthest(
        analyzed(X, key=jax.random.key(0, impl="rbg")),
        analyzed(X, key=jax.random.key(0, impl="rbg"), devices=1),
    )
    scheme = {"scheme": jaxinit.he_normal()}
    facts["away"]["scheme"] = furthest(
        analyzed(X, **scheme), analyzed(X, devices=1, **scheme)
    )
    # The same model with inputs that lie elsewhere, in turn: no program is mistaken.
    auto = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    explicit = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    places = {
        "sharded": NamedSharding(auto, P("data")),
        "explicit": NamedSharding(explicit, P("data")),
        "device 3": jax.devices()[3],
    }
    for name, place in places.items():
        facts["away"][name] = away(jax.device_put(X, place))
        facts["away"][f"plain after {name}"] = away(X)
    with jax.set_mesh(explicit):
        facts["away"]["explicit mesh"] = away(X)
    facts["away"]["plain at last"] = away(X)
    facts["away"]["another seed"] = furthest(
        analyzed(X, key=1), analyzed(X, key=1, devices=1)
    )
    facts["control"] = furthest(analyzed(X, key=1), one)
    alone, spread = raced(1), raced(None, chunk=3)
    facts["raced on"] = [r.settings["devices"] for r in (alone, spread)]
    facts["away"]["race"] = float(np.abs(spread.losses / alone.losses - 1).max())
    facts["refused"] = [
        refused(devices=9),
        refused(devices="all"),
        refused(devices=[jax.devices()[0]] * 2),
    ]
    facts["observed"] = {
        name: float(away) for name, away in observed_away(auto, explicit).items()
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
