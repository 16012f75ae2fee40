"""Draws a network's variables by a scheme."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._caches import Cache
from jaxinit._warnings import warn
from jaxinit.draw.compiling import quick_options
from jaxinit.draw.own_init import OwnDraw, stacked
from jaxinit.draw.repeats import Repeats
from jaxinit.initializers._call import call
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Refined, Scheme

Array = jax.Array
Shardings = Mapping[int, Any]
"""For leaves of parameters and state, the sharding that they are to have."""


class SchemeDraw:
    """A scheme's draw of a network's variables.

    What no assignment covers comes from the model's own init, under the same key.
    Each parameter has a key made from its path, so that layers added to a model leave
    the weights of the others as they were.

    Attributes:
      assignments: by leaf, what the scheme makes of it.
      refines_on_data: whether the scheme computes with the values of the model's
        inputs.
      reads_data: whether weights depend on the values of the model's inputs.
    """

    def __init__(self, network: Network, scheme: Scheme) -> None:
        self._network = network
        self.assignments = _by_leaf(_assigned(scheme, network), network)
        refine = scheme.refine(network)
        count = len(network.params) + network.traced.num_state
        self._own_leaves = [
            leaf
            for leaf in range(count)
            if leaf not in self.assignments or self.assignments[leaf].init is None
        ]
        self._own = OwnDraw(network.traced, self._own_leaves)
        self.refines_on_data = refine is not None and scheme.reads_data
        self.reads_data = self.refines_on_data or (
            bool(self._own_leaves) and self._own.reads_inputs
        )
        self._traceable = scheme.traceable
        self._passes = scheme.passes
        self._refine: Callable[..., list[Array] | Refined] | None = refine
        self._compiled = self._mapped = self._refine
        if refine is not None and scheme.traceable:
            options = quick_options(network.sites, 1)
            fresh = frozenset(i for i, a in self.assignments.items() if a.fresh)
            self._compiled = _compiled(refine, fresh, options)
            mapped = jax.vmap(refine, in_axes=(0, 0, 0, None))
            self._mapped = jax.jit(mapped, compiler_options=options)

    def repeats(self, inputs: Sequence[Any]) -> Repeats:
        """Whether all keys give the same parameters; a scheme draws from its own."""
        if any(a.init is not None for a in self.assignments.values()):
            return "no"
        return self._own.repeats(inputs)

    def __call__(
        self, key: Array, *inputs: Any, shardings: Shardings | None = None
    ) -> list[Array]:
        values = self._start(key, inputs, shardings or {})
        inside = isinstance(key, jax.core.Tracer)
        refine = self._refine if inside else self._compiled
        return self._refined(values, key, inputs, refine)

    def compile(self, key: Any, *inputs: Any) -> None:
        """Compiles what the model's own init draws; nothing is drawn."""
        if self._own_leaves:
            self._own.compile(key, *inputs)

    def batched(self, keys: Array, *inputs: Any) -> list[Array]:
        own = self._own.batched(keys, *inputs)
        values = dict(zip(self._own_leaves, own, strict=True))
        each = [leaf_key(p) for p in self._network.params]
        for leaf, assignment in self.assignments.items():
            parameter = self._network.params[leaf]
            if assignment.init is not None:
                values[leaf] = jax.vmap(
                    lambda key, p=parameter, a=assignment, k=each[leaf]: _draw(
                        p, a, k(key), None
                    )
                )(keys)
            else:
                values[leaf] = jax.vmap(
                    functools.partial(_change, parameter, assignment)
                )(values[leaf])
        if self._refine is None:
            return [values[leaf] for leaf in sorted(values)]

        if self._traceable:
            return self._refined(values, keys, inputs, self._mapped)
        return stacked(
            lambda i: self._refined(
                {leaf: x[i] for leaf, x in values.items()},
                keys[i],
                inputs,
                self._refine,
            ),
            range(len(keys)),
        )

    def started(self, key: Array, *inputs: Any) -> list[Array]:
        """The leaves before the scheme looks at data."""
        values = self._start(key, inputs, {})
        return [values[leaf] for leaf in sorted(values)]

    def _start(
        self, key: Array, inputs: Sequence[Any], shardings: Shardings
    ) -> dict[int, Array]:
        if shardings:
            to = [shardings.get(leaf) for leaf in self._own_leaves]
            own = self._own.sharded(key, inputs, to)
        else:
            own = self._own(key, *inputs) if self._own_leaves else []
        values = dict(zip(self._own_leaves, own, strict=True))
        for leaf, assignment in self.assignments.items():
            parameter = self._network.params[leaf]
            if assignment.init is None:
                values[leaf] = _change(parameter, assignment, values[leaf])
            else:
                k = leaf_key(parameter)(key)
                values[leaf] = _draw(parameter, assignment, k, shardings.get(leaf))
        return values

    def _refined(
        self,
        values: dict[int, Array],
        keys: Array,
        inputs: Sequence[Any],
        refine: Callable[..., list[Array] | Refined] | None,
    ) -> list[Array]:
        """What ``refine`` makes of the values, for one key or for many at once."""
        leaves = [values[leaf] for leaf in sorted(values)]
        if refine is None:
            return leaves
        first = len(self._network.params)
        params, state = leaves[:first], leaves[first:]
        complaints: dict[str, Array] = {}
        for _ in range(self._passes):
            result = refine(params, state, _refining_key(keys), tuple(inputs))
            if isinstance(result, Refined):
                params, complaints = result
            else:
                params = result
        for message, holds in complaints.items():
            if not isinstance(holds, jax.core.Tracer) and bool(jnp.any(holds)):
                warn(message)
        return [*params, *state]


def _refining_key(keys: Array) -> Array:
    """The key, or keys ``(n,)``, for what looks at data."""
    number = zlib.crc32(b"refine")
    if keys.ndim:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
    return jax.random.fold_in(keys, number)


def _compiled(
    refine: Callable[..., Any], fresh: frozenset[int], options: dict[str, Any] | None
) -> Callable[..., Any]:
    """``refine``, compiled, in the memory of those parameters that are ``fresh``."""

    def apart(given: dict[int, Array], kept: dict[int, Array], *rest: Any) -> Any:
        params = {**given, **kept}
        return refine([params[leaf] for leaf in sorted(params)], *rest)

    run = jax.jit(apart, donate_argnums=0, compiler_options=options)

    def call(params: list[Array], *rest: Any) -> Any:
        given = {leaf: x for leaf, x in enumerate(params) if leaf in fresh}
        kept = {leaf: x for leaf, x in enumerate(params) if leaf not in fresh}
        return run(given, kept, *rest)

    return call


_cache: Cache[SchemeDraw] = Cache(16)


def scheme_draw(network: Network, scheme: Scheme) -> SchemeDraw:
    """The draw of ``network`` by ``scheme``; that of an earlier call if there is one.

    Raises:
      ValueError: if the scheme does not apply to the network.
    """
    name = (network.traced, network.hints, scheme)
    try:
        hash(name)
    except TypeError:  # a scheme that holds arrays
        return SchemeDraw(network, scheme)
    return _cache.get(name, lambda: SchemeDraw(network, scheme))


def leaf_key(parameter: Parameter) -> Callable[[Array], Array]:
    """Makes a parameter's key from the network's, by its path alone."""
    number = zlib.crc32("/".join(parameter.path).encode())
    return lambda key: jax.random.fold_in(key, number)


def _assigned(scheme: Scheme, network: Network) -> list[Assignment]:
    """What the scheme says; that it finds no weight may be for want of data."""
    try:
        return scheme.assign(network)
    except ValueError as error:
        given = network.given
        if given.leaves and not given.inputs:
            got = ", ".join(f"{leaf!r:.40}" for leaf in given.leaves)
            error.add_note(
                f"None of the model's arguments is an array, got {got}. Pass a batch, "
                "jnp.asarray(x), or its shape, jax.ShapeDtypeStruct((8, 12), "
                "jnp.float32); an object that holds arrays must be a pytree: "
                "jax.tree_util.register_dataclass."
            )
        raise


def _by_leaf(
    assignments: Sequence[Assignment], network: Network
) -> dict[int, Assignment]:
    found: dict[int, Assignment] = {}
    for assignment in assignments:
        if assignment.leaf in found:
            name = network.params[assignment.leaf].name
            raise ValueError(
                f"two rules take {name}: {found[assignment.leaf].rule} and "
                f"{assignment.rule}. Say which one holds: override(scheme, "
                f"[({name!r}, initializer)])."
            )
        found[assignment.leaf] = assignment
    return found


def _draw(
    parameter: Parameter, assignment: Assignment, key: Array, sharding: Any
) -> Array:
    assert assignment.init is not None
    try:
        return call(
            assignment.init, key, parameter.shape, parameter.dtype, sharding
        ).astype(parameter.dtype)
    except (TypeError, ValueError) as error:
        error.add_note(
            f"jaxinit was initializing {parameter.name} of shape {parameter.shape} by "
            f"the rule {assignment.rule}."
        )
        raise


def _change(parameter: Parameter, assignment: Assignment, old: Array) -> Array:
    assert assignment.change is not None
    new = jnp.asarray(assignment.change(old))
    if new.shape != old.shape:
        raise ValueError(
            f"the rule {assignment.rule} must keep the shape {old.shape} of "
            f"{parameter.name}, got {new.shape}."
        )
    return new.astype(old.dtype)


def std_of(value: Array) -> float:
    """The standard deviation of an array's entries, in float64 on the host."""
    wide = np.asarray(value).astype(
        np.complex128 if jnp.iscomplexobj(value) else np.float64
    )
    return float(wide.std()) if wide.size else 0.0
