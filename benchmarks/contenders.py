"""What users of JAX may do to measure a model's signal, each in a process of its own.

Run by the suite as ``python -m benchmarks.contenders SPEC``.

- ``jaxinit``: ``analyze(..., judge=False)``, the statistics alone;
- ``verdict``: ``analyze(..., remedies="none")``, with the evidence that it rests on;
- ``judged``: ``analyze(...)`` as it comes: where it finds a fault, remedies are tried;
- ``flax``: the idiom: jitted init, ``capture_intermediates`` and perturbations under
  ``value_and_grad``, reduced to four statistics a layer;
- ``loop``, ``threads``, ``chunks``, ``vmap``: bare, init and ``value_and_grad`` and no
  statistics at all, the floor: seed after seed, as many at once as there are cores,
  eight in one program, all in one program.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from benchmarks.models import WORKLOADS
from benchmarks.serve import serve

OURS: dict[str, dict[str, Any]] = {
    "jaxinit": {"judge": False},
    "verdict": {"remedies": "none"},
    "judged": {},
}
BARE = ("loop", "threads", "chunks", "vmap")
CHUNK = 8
_LEAVES = (nn.Dense, nn.DenseGeneral, nn.Conv, nn.LayerNorm, nn.BatchNorm, nn.Embed)


def prepare(
    workload: str, sizes: dict[str, int], seeds: int, contender: str
) -> Callable[[], dict[str, Any]]:
    """The function that does the work to its end."""
    jax.config.update("jax_enable_compilation_cache", False)
    work = WORKLOADS[workload]
    model, x = work.made(sizes)
    if contender == "ceiling":
        return partial(_ceiling, model, x, work.kwargs)
    if contender in OURS:
        return partial(_analyzed, model, x, seeds, work.kwargs | OURS[contender])
    one = _statistics if contender == "flax" else _bare
    drawn, measured = one(model, x, work.kwargs)
    run = _over_seeds(drawn, measured, seeds, contender)

    def facts() -> dict[str, Any]:
        jax.block_until_ready(run())
        return _device_peak()

    return facts


def _analyzed(
    model: nn.Module, x: jax.Array, seeds: int, kwargs: dict[str, Any]
) -> dict[str, Any]:
    import jaxinit

    report = jaxinit.analyze(model, x, seeds=seeds, progress=False, **kwargs)
    settings = report.settings
    return {
        "strategy": settings["strategy"],
        "rolled": settings["rolled"],
        "compiled": settings["compile_seconds"],
        "ran": settings["run_seconds"],
        **_device_peak(),
    }


def _device_peak() -> dict[str, int]:
    """Bytes at the peak on an accelerator, where the memory of the host says little."""
    memory = jax.local_devices()[0].memory_stats() or {}
    peak = memory.get("peak_bytes_in_use")
    return {} if peak is None else {"peak": peak}


Parts = tuple[Callable[..., Any], Callable[..., Any]]


def _bare(model: nn.Module, x: jax.Array, kwargs: dict[str, Any]) -> Parts:
    def loss(params: Any, state: Any) -> jax.Array:
        variables = {"params": params, **state}
        out, _ = model.apply(variables, x, **kwargs, mutable=list(state))
        return jnp.mean(jnp.square(out))

    def measured(variables: Any) -> Any:
        params, state = _split(variables)
        return jax.value_and_grad(loss)(params, state)

    return lambda key: model.init(key, x, **kwargs), measured


def _statistics(model: nn.Module, x: jax.Array, kwargs: dict[str, Any]) -> Parts:
    """Statistics of every layer's output and of the gradient there."""

    def is_leaf(module: nn.Module, _: str) -> bool:
        return isinstance(module, _LEAVES)

    def watch(function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        """What ``self.perturb`` behind every layer would do."""
        out = function(*args, **kwargs)
        if context.method_name != "__call__" or not is_leaf(context.module, ""):
            return out
        scope = context.module.scope
        seen = scope.variable("perturbations", "out", jnp.zeros_like, out)
        return out + seen.value

    def loss(params: Any, perturbations: Any, state: Any) -> Any:
        variables = {"params": params, "perturbations": perturbations, **state}
        with nn.intercept_methods(watch):
            out, found = model.apply(
                variables,
                x,
                **kwargs,
                capture_intermediates=is_leaf,
                mutable=[*state, "intermediates"],
            )
        return jnp.mean(jnp.square(out)), jax.tree.map(_forward, found["intermediates"])

    with nn.intercept_methods(watch):
        shapes = jax.eval_shape(partial(model.init, **kwargs), jax.random.key(0), x)

    def measured(variables: Any) -> Any:
        params, state = _split(variables)
        zeros = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype), shapes["perturbations"]
        )
        (value, forward), gradients = jax.value_and_grad(
            loss, argnums=(0, 1), has_aux=True
        )(params, zeros, state)
        return value, forward, jax.tree.map(_mean_square, gradients)

    return lambda key: model.init(key, x, **kwargs), measured


def _forward(x: jax.Array) -> jax.Array:
    return jnp.stack([x.mean(), x.var(), _mean_square(x)])


def _mean_square(x: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(x))


def _split(variables: Any) -> tuple[Any, Any]:
    return variables["params"], {k: v for k, v in variables.items() if k != "params"}


def _over_seeds(
    drawn: Callable[..., Any], measured: Callable[..., Any], seeds: int, how: str
) -> Callable[[], Any]:
    """All seeds; of each only what is small is kept."""
    root = jax.random.key(0)

    def small(result: Any) -> Any:
        return [leaf for leaf in jax.tree.leaves(result) if leaf.size <= 64 * CHUNK]

    if how in ("chunks", "vmap"):
        draw, measure = jax.jit(jax.vmap(drawn)), jax.jit(jax.vmap(measured))
        at_once = seeds if how == "vmap" else min(CHUNK, seeds)
        fold = jax.jit(jax.vmap(partial(jax.random.fold_in, root)))

        def chunks() -> list[Any]:
            return [
                small(measure(draw(fold(jnp.arange(first, first + at_once)))))
                for first in range(0, seeds, at_once)
            ]

        return chunks
    draw, measure = jax.jit(drawn), jax.jit(measured)

    def one(seed: int) -> Any:
        return small(measure(draw(jax.random.fold_in(root, seed))))

    if how == "threads":

        def threads() -> list[Any]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                wait = jax.block_until_ready
                return list(pool.map(lambda seed: wait(one(seed)), range(seeds)))

        return threads
    return lambda: [one(seed) for seed in range(seeds)]


def _ceiling(model: nn.Module, x: jax.Array, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Operations a second of the best product of two matrices, and those of a seed."""
    import jaxinit

    side = 2048 if jax.default_backend() == "cpu" else 8192
    square = jax.random.normal(jax.random.key(0), (side, side))
    product = jax.jit(jnp.matmul)
    product(square, square).block_until_ready()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        product(square, square).block_until_ready()
        seconds.append(time.perf_counter() - start)
    plan = jaxinit.analyze(model, x, plan=True, progress=False, **kwargs)
    return {"ceiling": 2 * side**3 / min(seconds), "flops": plan.flops_per_seed}


if __name__ == "__main__":
    serve(prepare)
