"""Low-rank adapters of whole models."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

import jax
import jax.numpy as jnp

from jaxinit.transfer._leaves import (
    Leaf,
    Tree,
    key_of,
    placed_like,
    some,
    tree_of,
)
from jaxinit.transfer.lora import LowRankMethod, lora

Adapters: TypeAlias = Mapping[str, tuple[str, str]]
"""From the names of kernels to those of their A and B."""


def initialize_lora(
    variables: Any,
    key: int | jax.Array,
    method: LowRankMethod = lora,
    adapters: Adapters | None = None,
    data: Mapping[str, Any] | None = None,
) -> Any:
    """Initializes every low-rank adapter of a model from the kernel that it adapts.

    Args:
      variables: a pytree that holds pretrained kernels and adapters.
      key: a PRNG key, or an integer that makes one. An adapter's draw depends on its
        kernel's name alone.
      method: :func:`lora`, :func:`pissa`, :func:`milora`, :func:`olora`, with ``data``
        :func:`lora_ga`, :func:`eva`, :func:`corda`, or one of them with options:
        ``functools.partial(pissa, scale=0.5)``. ``scale`` must be the factor that the
        model applies; ``nnx.LoRA`` and ``nnx.LoRALinear`` apply none.
      adapters: for each kernel's name those of its A, ``(in, rank)``, and B,
        ``(rank, out)``: ``{"Dense_0/kernel": ("Dense_0/a", "Dense_0/b")}``. By default
        those of ``nnx.LoRALinear`` and of ``nnx.LoRA`` with a base module: leaves
        ``lora_a`` and ``lora_b`` next to a folder ``base_module``, or in a folder
        ``lora`` next to the kernel.
      data: for methods that look at data, by the kernel's name: its gradient for
        :func:`lora_ga`, the layer's inputs for :func:`eva` and :func:`corda`.

    Returns:
      New variables: A, B and, as the method says, the kernels. Names, dtypes and
      shardings stay. How many axes of a kernel are inputs follows from the shape of A.

    Raises:
      TypeError: if ``method`` is no function, or ``data`` no mapping.
      ValueError: if there is no adapter, or none of the kernel that it adapts; a name
        is unknown; shapes do not fit; ``method`` refuses the kernel.

    Examples:
      With nnx::

        model = nnx.LoRALinear(64, 32, lora_rank=4, rngs=nnx.Rngs(0))
        nnx.update(model, initialize_lora(nnx.state(model), key, pissa))

      >>> layer = {"kernel": jnp.eye(3), "a": jnp.zeros((3, 1)), "b": jnp.zeros((1, 3))}
      >>> new = initialize_lora(layer, jax.random.key(0), lora, {"kernel": ("a", "b")})
      >>> bool((new["a"] != 0).all()), bool((new["b"] == 0).all())
      (True, True)
    """
    tree = tree_of(variables)
    leaves = {leaf.name: leaf for leaf in tree.leaves}
    found = _adapters(tree) if adapters is None else adapters
    if not callable(method):
        raise TypeError(
            f"`method` must be a function such as pissa, got {method!r:.80}. Bind its "
            "options: functools.partial(pissa, scale=0.5)."
        )
    _check_data(data, found)
    new: dict[int, Any] = {}
    for name, (a_name, b_name) in found.items():
        kernel, a, b = (_leaf(leaves, each) for each in (name, a_name, b_name))
        made = method(
            jnp.asarray(kernel.value),
            _rank(kernel, a, b),
            key_of(key, name),
            num_in_axes=_num_in_axes(kernel, a, b),
            dtype=a.value.dtype,
            **({} if data is None else {"data": data[name]}),
        )
        for leaf, value in zip((a, b, kernel), made, strict=True):
            new[leaf.place] = placed_like(value.astype(leaf.value.dtype), leaf.value)
    return tree.replaced(new)


def _check_data(data: Mapping[str, Any] | None, kernels: Mapping[str, Any]) -> None:
    """Raises unless there are data for each kernel that is adapted, and no others."""
    if data is None:
        return
    if not isinstance(data, Mapping):
        raise TypeError(
            f"`data` must map names of kernels to arrays, got {type(data).__name__}. "
            f"The kernels are {some(list(kernels))}."
        )
    odd = sorted(set(kernels) ^ set(data))
    if odd:
        raise ValueError(
            f"`data` must have an entry for each kernel that is adapted, and for no "
            f"other, got {some(list(data))} for the kernels {some(list(kernels))}: "
            f"{odd[0]!r} is in one of them alone."
        )


def _adapters(tree: Tree) -> dict[str, tuple[str, str]]:
    """The kernel of each pair ``lora_a``, ``lora_b``."""
    names = {leaf.name for leaf in tree.leaves}
    found = {}
    for leaf in tree.leaves:
        folder, _, last = leaf.name.rpartition("/")
        inside = f"{folder}/" if folder else ""
        if last != "lora_a" or f"{inside}lora_b" not in names:
            continue
        outside = f"{folder.rpartition('/')[0]}/" if "/" in folder else ""
        kernels = [f"{inside}base_module/kernel"]
        if folder:
            kernels.append(f"{outside}kernel")
        kernel = next((name for name in kernels if name in names), None)
        if kernel is None:
            raise ValueError(
                f"`variables` has the adapter {leaf.name!r} but none of the kernels "
                f"{some(kernels)}. Name it: adapters={{kernel: ({leaf.name!r}, "
                f"{inside + 'lora_b'!r})}}."
            )
        found[kernel] = (leaf.name, f"{inside}lora_b")
    if not found:
        raise ValueError(
            "`variables` has no leaves lora_a and lora_b in one folder. Name the "
            "adapters: adapters={kernel: (a, b)}. The leaves are "
            f"{some(sorted(names))}."
        )
    return found


def _leaf(leaves: Mapping[str, Leaf], name: str) -> Leaf:
    if name not in leaves:
        raise ValueError(
            f"`adapters` names {name!r}, which is no leaf of `variables`. The leaves "
            f"are {some(list(leaves))}."
        )
    return leaves[name]


def _rank(kernel: Leaf, a: Leaf, b: Leaf) -> int:
    if len(a.value.shape) != 2 or len(b.value.shape) != 2:
        _refuse(kernel, a, b)
    return int(a.value.shape[1])


def _num_in_axes(kernel: Leaf, a: Leaf, b: Leaf) -> int:
    """How many of the kernel's leading axes make up the inputs of A."""
    shape = kernel.value.shape
    (rows, rank), wide = a.value.shape, b.value.shape
    for split in range(1, len(shape)):
        sizes = (math.prod(shape[:split]), math.prod(shape[split:]))
        if sizes == (rows, wide[1]) and wide[0] == rank:
            return split
    _refuse(kernel, a, b)


def _refuse(kernel: Leaf, a: Leaf, b: Leaf) -> NoReturn:
    raise ValueError(
        f"The adapter of {kernel.name!r} {tuple(kernel.value.shape)} must have the "
        f"shapes (in, rank) and (rank, out), got {a.name!r} {tuple(a.value.shape)} and "
        f"{b.name!r} {tuple(b.value.shape)}."
    )
