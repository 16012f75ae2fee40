"""Relu networks that compute a linear function at first."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from jaxinit._typing import Initializer
from jaxinit.initializers._call import call_rounded, default_dtype
from jaxinit.initializers._check import check_choice, check_kernel
from jaxinit.initializers._draw import from_maker
from jaxinit.initializers._value import family, law_of
from jaxinit.initializers.orthogonal import orthogonal

Position = Literal["hidden", "first", "last"]

# By position: which of the axes (in, out) hold a value and its negative.
_MIRRORED = {"hidden": (True, True), "first": (False, True), "last": (True, False)}


@family
def looks_linear(
    base: Initializer | None = None,
    position: Position = "hidden",
    dtype: DTypeLike | None = None,
) -> Initializer:
    r"""Mirrored blocks :math:`W_0` under which a relu network is linear at first.

    The kernels, as ``(in, out)``, are :math:`[W_0, -W_0]` in the first layer,
    :math:`[[W_0, -W_0], [-W_0, W_0]]` in hidden ones and :math:`[W_0; -W_0]` in the
    last. Units come in pairs :math:`\text{relu}(z), \text{relu}(-z)`, whose difference
    is :math:`z`, so each layer computes :math:`W_0 z`. With orthogonal :math:`W_0`, the
    default, all singular values of the network's Jacobian are 1, which no independent
    weights give with relu. Biases must be zero.

    Args:
      base: the initializer of :math:`W_0`, called with half the inputs or outputs
        (both, in hidden layers); ``orthogonal()`` by default.
      position: ``"first"``, ``"hidden"`` or ``"last"``.
      dtype: the dtype of the result where none is given.

    Returns:
      An initializer for kernels ``(*spatial, in, out)``, convolutions included.

    Raises:
      TypeError: if ``base`` is not callable.
      ValueError: if ``position`` is unknown, or, when called, if an axis to be halved
        is odd.

    Examples:
      >>> first = looks_linear(position="first")(jax.random.key(0), (3, 6))
      >>> last = looks_linear(position="last")(jax.random.key(1), (6, 3))
      >>> x = jnp.ones((1, 3))
      >>> bool(jnp.allclose(jax.nn.relu(x @ first) @ last, x @ first @ last / 2))
      True

    References:
      Balduzzi et al., "The Shattered Gradients Problem: If resnets are the answer,
      then what is the question?", 2017, section 4.
      Burkholz and Dubatovka, "Initialization of ReLUs for Dynamical Isometry", 2019,
      section 3.
    """
    inner = orthogonal() if base is None else base
    check_choice("position", position, tuple(_MIRRORED), "It says where the layer is.")
    mirror_in, mirror_out = _MIRRORED[position]

    def make(
        key: jax.Array,
        shape: tuple[int, ...],
        dtype: np.dtype,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        del sharding
        *spatial, ins, outs = shape
        block = (*spatial, ins // (1 + mirror_in), outs // (1 + mirror_out))
        w = call_rounded(inner, key, block, dtype)
        if mirror_out:
            w = jnp.concatenate([w, -w], axis=-1)
        if mirror_in:
            w = jnp.concatenate([w, -w], axis=-2)
        return w

    def check_shape(shape: tuple[int, ...]) -> None:
        check_kernel(shape)
        if (mirror_in and shape[-2] % 2) or (mirror_out and shape[-1] % 2):
            raise ValueError(
                f"`shape` must be even in the axes that position {position!r} "
                f"mirrors, got {shape}. Units come in pairs: use an even width."
            )

    return from_maker(
        make,
        default_dtype(inner, given=dtype),
        check_shape=check_shape,
        law=f"{law_of(inner)}, mirrored as a {position} layer",
    )
