"""Mimetic initialization: attention that looks as if it were pretrained."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.initializers import zeros
from jaxinit.initializers._check import check_number
from jaxinit.roles.network import Network, Parameter
from jaxinit.schemes.scheme import Assignment, Refine, Scheme
from jaxinit.schemes.transformer._attention_pairs import Pair, find_pairs

Array = jax.Array


def mimetic(
    alpha_qk: float = 0.7,
    beta_qk: float = 0.7,
    alpha_vo: float = 0.4,
    beta_vo: float = 0.4,
) -> Scheme:
    r"""Mimetic initialization of self-attention.

    In pretrained vision transformers the product of a head's query and key weights
    has a large positive diagonal, and that of value and output weights a negative
    one. With :math:`Z` of :math:`d \times d` independent entries :math:`N(0, 1/d)`
    and kernels :math:`W` of shape ``(in, out)``,

    .. math::
       W_Q W_K^\top \approx \alpha_1 Z_1 + \beta_1 I, \qquad
       W_V W_O = \alpha_2 Z_2 - \beta_2 I.

    :math:`Z_1` is drawn for each head. With the singular value decomposition
    :math:`U S V^\top` of the right-hand side :math:`W_Q = U \sqrt S` and
    :math:`W_K = V \sqrt S`, of which the head has room for the first columns: the
    product is the best approximation of its rank. :math:`Z_2` is drawn once for all
    heads, :math:`W_V = U \sqrt S` and :math:`W_O = \sqrt S V^\top`, which is exact if
    the heads together are as wide as the stream.

    Kernels inside a fused one are drawn where they lie in it. Where :math:`g` heads of
    queries share a head of keys and values, side by side as is usual, which the paper
    does not treat, each head has its own :math:`Z_1`, the shared :math:`W_K` is the
    best for all of them at once, and :math:`W_O` takes the heads of a group in equal
    parts: :math:`W_V \sum_h W_{O,h}` is then the best approximation of its rank.

    All other parameters, cross-attention included, keep what the model's own init
    draws. The scheme is meant for small data sets, with sinusoidal positions of a
    scale like that of the patches.

    Args:
      alpha_qk: :math:`\alpha_1`, the size of the noise in queries and keys.
      beta_qk: :math:`\beta_1`, the size of the diagonal there.
      alpha_vo: :math:`\alpha_2`, the size of the noise in values and outputs.
      beta_vo: :math:`\beta_2`, the size of the negative diagonal there.

    Returns:
      A scheme for models with self-attention, scanned layers included. The
      decompositions take :math:`O(d^3)` for each head.

    Raises:
      TypeError: if an argument is no number.
      ValueError: if one is not finite; when used, if the model has no self-attention,
        a layer makes several of queries, keys and values and the program does not tell
        which outputs are which, or the sizes leave no room for the products.

    Examples:
      >>> import jax, jax.numpy as jnp, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.MultiHeadDotProductAttention(4)
      >>> x = jax.random.normal(jax.random.key(1), (1, 3, 64))
      >>> w = jaxinit.initialize(model, jaxinit.mimetic(), 0, x)["params"]
      >>> value, out = w["value"]["kernel"], w["out"]["kernel"]
      >>> product = value.reshape(64, 64) @ out.reshape(64, 64)
      >>> bool(jnp.trace(product) / 64 < -0.3)
      True

    References:
      Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", 2023,
      section 4.
    """
    advice = "It is the size of a part of the product of two kernels."
    given = {
        "alpha_qk": alpha_qk,
        "beta_qk": beta_qk,
        "alpha_vo": alpha_vo,
        "beta_vo": beta_vo,
    }
    return _Mimetic(*(check_number(name, v, advice) for name, v in given.items()))


@dataclass(frozen=True)
class _Mimetic(Scheme):
    alpha_qk: float
    beta_qk: float
    alpha_vo: float
    beta_vo: float

    def leaves(self, parameter: Parameter) -> str:
        del parameter
        return "a scheme for attentions"

    # The kernels of a pair share their noise, so that they are made in one step.
    @property
    def reads_data(self) -> bool:
        return False

    def assign(self, network: Network) -> list[Assignment]:
        found: dict[int, Assignment] = {}
        for pair in find_pairs(network):
            a, b = self._sizes(pair)
            rule = "values and outputs" if pair.is_output else "queries and keys"
            law = f"product {a:g} normal {b:+g} identity"
            for kernel in (pair.left, pair.right):
                leaf = kernel.parameter.leaf
                if kernel.outputs is None:
                    found[leaf] = Assignment(leaf, zeros, rule, law)
                elif leaf not in found:  # what else lies in it keeps its own values
                    found[leaf] = Assignment(leaf, None, rule, law, _kept)
                elif found[leaf].rule != rule:
                    both = "queries, keys and values", "products by parts"
                    found[leaf] = Assignment(leaf, None, *both, _kept)
        return list(found.values())

    def refine(self, network: Network) -> Refine:
        alike: dict[tuple[int, int, int, bool], list[Pair]] = {}
        for pair in find_pairs(network):
            size = pair.width, pair.rank, pair.num_targets, pair.is_output
            alike.setdefault(size, []).append(pair)

        def refine(
            params: list[Array],
            state: list[Array],
            key: Array,
            inputs: Sequence[Array],
        ) -> list[Array]:
            del state, inputs
            params = list(params)
            for pairs in alike.values():
                # Pairs of one size are decomposed by one program.
                keys = [
                    jax.random.split(_pair_key(key, pair), pair.num_products)
                    for pair in pairs
                ]
                drawn = _drawn(jnp.concatenate(keys), pairs[0], *self._sizes(pairs[0]))
                ends = np.cumsum([len(k) for k in keys])[:-1]
                for pair, left, right in zip(
                    pairs, *(jnp.split(x, ends) for x in drawn), strict=True
                ):
                    one, two = pair.left.parameter.leaf, pair.right.parameter.leaf
                    params[one], params[two] = pair.stored(
                        left, right, params[one], params[two]
                    )
            return params

        return refine

    def _sizes(self, pair: Pair) -> tuple[float, float]:
        if pair.is_output:
            return self.alpha_vo, -self.beta_vo
        return self.alpha_qk, self.beta_qk


def _kept(old: Array) -> Array:
    return old


def _pair_key(key: Array, pair: Pair) -> Array:
    """The pair's key, by the path of its first kernel alone."""
    return jax.random.fold_in(key, zlib.crc32(pair.left.name.encode()))


def _drawn(keys: Array, pair: Pair, noise: float, shift: float) -> tuple[Array, Array]:
    """Two factors of ``noise Z + shift I`` for each key.

    The first is ``(keys, num_targets, width, rank)``, the second, which all targets
    share, ``(keys, width, rank)``.
    """
    d, rank, count = pair.width, pair.rank, pair.num_targets
    dtype = jnp.promote_types(jnp.float32, pair.left.parameter.dtype)

    def one(key: Array) -> tuple[Array, Array]:
        z = jax.random.normal(key, (count, d, d), dtype) / math.sqrt(d)
        targets = noise * z + shift * jnp.eye(d, dtype=dtype)
        u, s, vt = jnp.linalg.svd(targets.reshape(count * d, d), full_matrices=False)
        root = jnp.sqrt(s[:rank])
        return (u[:, :rank] * root).reshape(count, d, rank), vt[:rank].T * root

    # One after the other, since a stack of d x d matrices may be large.
    left, right = jax.lax.map(one, keys)
    return left, right
