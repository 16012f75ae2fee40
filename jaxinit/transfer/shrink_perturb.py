"""Warm starts that generalize: old weights shrunk toward fresh ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit._typing import Scalar
from jaxinit.initializers._draw import check_scale, compute_dtype
from jaxinit.initializers.normal import normal
from jaxinit.transfer._leaves import (
    Leaf,
    is_float,
    key_of,
    placed_like,
    some,
    tree_of,
)


def shrink_perturb(
    params: Any,
    key: int | jax.Array,
    fresh: Any = None,
    lam: Scalar = 0.6,
    sigma: Scalar = 0.01,
) -> Any:
    r"""Each parameter times :math:`\lambda`, plus :math:`\sigma` times a fresh one.

    :math:`\theta \leftarrow \lambda \theta + \sigma \theta_\text{fresh}`. Training goes
    on from there, on old and new data together. Shrinking makes the gradients of old
    and new samples alike again; the perturbation lets units part. With
    :math:`\lambda = 1, \sigma = 0` nothing changes.

    Args:
      params: a pytree. Of linen variables only the collection ``params`` changes; of
        an nnx module pass the parameters, ``nnx.state(model, nnx.Param)``, or its
        running statistics are shrunk too. Leaves that are no floats stay.
      key: a PRNG key, or an integer that makes one. A leaf's draw depends on its name,
        not on other leaves. It is not used if ``fresh`` is a pytree.
      fresh: a pytree of fresh parameters, with the structure and shapes of
        ``params``; or an initializer, which must take all of their shapes. ``None``
        is :math:`N(0, 1)`, the paper's law: its noise has standard deviation
        :math:`\sigma`.
      lam: the factor of the old values, at least 0.
      sigma: the factor of the fresh values, at least 0.

    Returns:
      A pytree like ``params``. Sums are formed in float32 or wider, and rounded once.

    Raises:
      TypeError: if a factor is not a number, or ``fresh`` neither a pytree like
        ``params`` nor callable.
      ValueError: if a factor is negative or not finite, a leaf of ``fresh`` is
        missing or has another shape, or there is nothing to change.

    Examples:
      >>> old = {"kernel": jnp.full((2, 2), 10.0)}
      >>> shrink_perturb(old, jax.random.key(0), {"kernel": jnp.ones((2, 2))}, 0.5, 0.1)
      {'kernel': Array([[5.1, 5.1],
             [5.1, 5.1]], dtype=float32)}

    References:
      Ash and Adams, "On Warm-Starting Neural Network Training", 2020, section 4.
    """
    check_scale("lam", lam, "factor of the old parameters")
    check_scale("sigma", sigma, "factor of the fresh parameters")
    tree = tree_of(params)
    leaves = [
        leaf
        for leaf in tree.leaves
        if leaf.collection in ("", "params") and is_float(leaf.value)
    ]
    if not leaves:
        raise ValueError("`params` holds no array of floats.")
    drawn = _fresh(fresh, leaves, key)
    return tree.replaced(
        {
            leaf.place: _mixed(leaf.value, new, lam, sigma)
            for leaf, new in zip(leaves, drawn, strict=True)
        }
    )


def _fresh(fresh: Any, leaves: list[Leaf], key: int | jax.Array) -> list[jax.Array]:
    if fresh is None:
        fresh = normal(1.0)
    given = {leaf.name: leaf.value for leaf in tree_of(fresh).leaves}
    # Modules may be callable too: what holds arrays are parameters.
    if given:
        return [_given(given, leaf) for leaf in leaves]
    if not callable(fresh):
        raise TypeError(
            "`fresh` must be a pytree of arrays like `params`, an initializer or None, "
            f"got {fresh!r}."
        )
    return [
        fresh(
            key_of(key, leaf.name),
            tuple(leaf.value.shape),
            compute_dtype(np.dtype(leaf.value.dtype)),
        )
        for leaf in leaves
    ]


def _given(given: dict[str, Any], leaf: Leaf) -> Any:
    shape = tuple(leaf.value.shape)
    if leaf.name not in given:
        raise ValueError(
            f"`fresh` lacks {leaf.name!r}: it must have the arrays of `params`. It has "
            f"{some(list(given))}."
        )
    if tuple(given[leaf.name].shape) != shape:
        raise ValueError(
            f"`fresh` has the shape {tuple(given[leaf.name].shape)} for "
            f"{leaf.name!r}, which is {shape} in `params`."
        )
    return given[leaf.name]


def _mixed(old: Any, new: jax.Array, lam: Scalar, sigma: Scalar) -> Any:
    wide = compute_dtype(np.dtype(old.dtype))
    scale, noise = (jnp.asarray(factor).astype(wide) for factor in (lam, sigma))
    mixed = scale * jnp.asarray(old).astype(wide) + noise * jnp.asarray(new, wide)
    return placed_like(mixed.astype(old.dtype), old)
