"""Runs an analysis: draws weights and measures the signal, a seed or a chunk."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxinit._configuration import thread_pool
from jaxinit.draw.own_init import Draw
from jaxinit.draw.pieces import is_threefry
from jaxinit.signal.compiled import (
    SEEDS,
    Compiled,
    Noise,
    Packed,
    abstract_arguments,
    described,
)
from jaxinit.signal.given import all_drawn, drawn
from jaxinit.signal.statistics import Analysis

Array = jax.Array


class Engine:
    """Draws weights and measures the signal, one seed or a chunk at a time.

    Weights are drawn by a program of their own: the two compile far faster apart.

    Args:
      compiled: the analysis.
      draw: how weights are drawn.
      root: the root key; seed i has the key ``fold_in(root, i)``.
      inputs: the model's inputs.
      again: seeds whose weights are asked for again: they are kept if they are small.
    """

    def __init__(
        self,
        compiled: Compiled,
        draw: Draw,
        root: Array,
        inputs: Sequence[Array],
        again: Sequence[int] = (),
    ) -> None:
        self.compiled = compiled
        self.draw = draw
        self.root = root
        self.inputs = inputs
        self._again = frozenset(int(seed) for seed in again)
        self._kept: dict[int, list[Array]] = {}

    def run(self, seed: int) -> Packed:
        """One seed, on the host."""
        key, noise = seed_keys(self.root, np.uint32(seed))
        variables = self.weights(seed, key)
        if seed in self._again and _bytes(variables) < _KEPT:
            self._kept[seed] = variables
        return self.compiled(0, variables, noise, self.inputs)

    def weights(self, seed: int, key: Array) -> list[Array]:
        """The leaves of parameters and state of a seed, whose key is given."""
        kept = self._kept.get(seed)
        return drawn(self.draw, seed, key, self.inputs) if kept is None else kept

    def run_batched(self, seeds: Sequence[int], mesh: Mesh | None = None) -> Packed:
        """A chunk of seeds at once, spread over the devices of ``mesh``."""
        keys, noise = _many_keys(self.root, np.asarray(seeds, np.uint32))
        inputs = self.inputs
        if mesh is not None:
            spread = jax.sharding.NamedSharding(mesh, PartitionSpec(SEEDS))
            keys, noise = jax.device_put((keys, noise), spread)
            whole = jax.sharding.NamedSharding(mesh, PartitionSpec())
            inputs = jax.device_put(inputs, whole)
        variables = all_drawn(self.draw, seeds, keys, inputs)
        if mesh is not None:
            variables = jax.device_put(variables, spread)
        return self.compiled(len(seeds), variables, noise, inputs, mesh)

    def measure_memory(self, chunk: int) -> int:
        """Compiles for a chunk of seeds; the bytes that it takes, 0 if unknown.

        Nothing is drawn for it.
        """
        variables, key, _ = abstract_arguments(self.compiled.analysis, chunk)
        with thread_pool(1) as beside:
            if not chunk and not self.compiled.has_programs:
                beside.submit(self._compile_draw)  # errors come again with a seed
            self.compiled.program(chunk, variables, key, self.inputs)
        return self.bytes_per_seed * max(chunk, 1)

    def _compile_draw(self) -> None:
        """Compiles what draws one seed; nothing is drawn."""
        seed: Any = jax.ShapeDtypeStruct((), np.uint32)
        root = described(self.root)
        seed_keys.lower(root, seed).compile()
        self.draw.compile(root, *map(described, self.inputs))

    @property
    def analysis(self) -> Analysis:
        return self.compiled.analysis

    @property
    def bytes_per_seed(self) -> int:
        return self.compiled.bytes_per_seed


# Bytes of one seed's weights, beyond which they are drawn again.
_KEPT = 2**26


def _bytes(variables: Sequence[Array]) -> int:
    return sum(leaf.nbytes for leaf in variables)


@jax.jit
def seed_keys(root: Array, seed: Array) -> tuple[Array, Noise]:
    """The key of a seed's weights, and those of all else that is random."""
    key = jax.random.fold_in(root, seed)
    model_key, probe_key = jax.random.split(jax.random.fold_in(key, 1))
    # Only the default kind is sure to give the same numbers under ``vmap``.
    words = jax.random.key_data(probe_key).reshape(-1)[:2]
    return key, (model_key, jax.random.wrap_key_data(words, impl="threefry2x32"))


@jax.jit
def _many_keys(root: Array, seeds: Array) -> tuple[Array, Noise]:
    """`seed_keys` of many seeds."""
    one = functools.partial(seed_keys, root)
    spread = jax.vmap(one) if is_threefry(root) else functools.partial(jax.lax.map, one)
    found: tuple[Array, Noise] = spread(seeds)
    return found
