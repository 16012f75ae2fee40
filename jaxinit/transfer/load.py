"""Weights from elsewhere: another model's, a checkpoint's, a file's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinit.initializers._check import check_choice, check_count
from jaxinit.transfer._fit import Mismatch, cast, fit
from jaxinit.transfer._leaves import (
    Leaf,
    is_numeric,
    placed_like,
    some,
    tree_of,
)
from jaxinit.transfer._mapping import NameMapping, source_names
from jaxinit.transfer.checkpoints import Source, opened
from jaxinit.transfer.load_report import LoadedLeaf, LoadReport

Transform: TypeAlias = Callable[[str, Any], Any]


def load_partial(
    variables: Any,
    source: Any,
    mapping: NameMapping | None = None,
    mismatch: Mismatch = "error",
    *,
    transform: Transform | None = None,
    missing: Literal["reinit", "error"] = "reinit",
    unused: Literal["ignore", "error"] = "ignore",
) -> tuple[Any, LoadReport]:
    """Fresh variables with the arrays of ``source`` in the places that they fit.

    Names are key paths joined by slashes, as reports show them, without the
    collection ``params`` of linen variables: ``"Dense_0/kernel"``,
    ``"batch_stats/BatchNorm_0/mean"``. Those of a safetensors file are as in the
    file. Nothing is guessed: a leaf is looked up under its own name or the one that
    ``mapping`` gives.

    ==============  ==========================================================
    ``mismatch``    where the shapes differ
    ==============  ==========================================================
    ``"error"``     an error that lists all such leaves
    ``"reinit"``    the leaf keeps its fresh values
    ``"slice"``     the leading corner of a larger array
    ``"pad"``       a smaller array in the leading corner, fresh values elsewhere
    ``"fit"``       both, each axis as it needs
    ``"select"``    evenly spaced units of a larger array (weight selection)
    ==============  ==========================================================

    An array with another number of axes fits with none of the last four.

    Args:
      variables: a pytree of fresh variables: linen variables, an nnx state or module,
        an Equinox module, plain arrays. Shapes without values (``jax.eval_shape``)
        will do where every leaf is loaded. Random keys and leaves that are no arrays
        are left as they are. The type of each leaf, its dtype, sharding and metadata
        stay.
      source: a pytree; the path of an Orbax checkpoint, a directory; or that of a
        ``.safetensors`` file, for which ``jaxinit[transfer]`` is needed. Pickle is
        never read.
      mapping: names in the source: a function from a leaf's name to a name, or a
        dict. A key is a leaf (``"head/kernel"``), a folder (``"encoder"``, which
        stands for all below it), or a pattern as in ``path``: ``*`` stands for text
        without a slash, ``**`` for any number of parts, ``?`` for one character, each
        for the same text in the value: ``{"blocks_*/kernel": "h.*.weight"}``,
        ``{"encoder/**": "**"}``. A pattern some of whose arrays the source lacks is
        warned of. The first entry that applies counts. ``None`` leaves a leaf fresh.
      mismatch: what to do where shapes differ; see above.
      transform: ``(leaf's name, array of the source) -> array``, applied before
        shapes are compared: transposes, splits. :func:`torch_layout` is one.
      missing: whether a leaf that the source lacks keeps its fresh values, or is an
        error.
      unused: whether arrays of the source may go nowhere.

    Returns:
      New variables, and the account of each leaf and of what was not used.

    Raises:
      FileNotFoundError: if there is nothing at the path.
      ImportError: if the library that reads the file is not installed.
      TypeError: if ``mapping`` is of another type or returns one.
      ValueError: if a policy is unknown; an entry of ``mapping`` applies to nothing;
        no leaf at all is loaded; shapes differ in a way that ``mismatch`` does not
        allow; a dtype is of another kind (integers for floats), or a number does not
        fit into the leaf's; numbers to be loaded are not finite; a file is cut,
        altered or of another format.

    Examples:
      >>> fresh = {"body": {"kernel": jnp.zeros((2, 2))}, "head": jnp.zeros(3)}
      >>> old = {"trunk": {"kernel": jnp.ones((2, 2))}, "head": jnp.ones(5)}
      >>> new, report = load_partial(fresh, old, {"body": "trunk"}, "reinit")
      >>> print(report)
      Loaded 1 of 2 arrays from the given pytree: 1 reinitialized.
      <BLANKLINE>
      parameter    shape  outcome        from          shape there  cast
      ------------------------------------------------------------------
      body/kernel  2x2    loaded         trunk/kernel  2x2
      head         3      reinitialized  head          5

      From PyTorch::

        load_partial(
            variables,
            "model.safetensors",
            {"Dense_*/kernel": "fc*.weight", "Dense_*/bias": "fc*.bias"},
            transform=torch_layout,
        )

    References:
      Xu et al., "Initializing Models with Larger Ones", 2023, section 3, for
      ``"select"``.
    """
    check_choice("mismatch", mismatch, get_args(Mismatch), "It is about shapes.")
    check_choice("missing", missing, ("reinit", "error"), "It is about leaves.")
    check_choice("unused", unused, ("ignore", "error"), "It is about the source.")
    tree = tree_of(variables)
    with opened(source) as found:
        names = source_names(mapping, [leaf.name for leaf in tree.leaves], found.names)
        held = frozenset(found.names)
        results = [
            _load(leaf, names[leaf.name], found, held, mismatch, transform)
            for leaf in tree.leaves
        ]
        report = LoadReport(
            found.origin,
            tuple(result.account for result in results),
            _unused(found, results),
        )
    _check(report, [r.problem for r in results if r.problem], missing, unused)
    new = {
        leaf.place: result.value
        for leaf, result in zip(tree.leaves, results, strict=True)
        if result.value is not None
    }
    _check_concrete(tree.leaves, new)
    return tree.replaced(new), report


def torch_layout(name: str, array: Any) -> Any:
    """Kernels of PyTorch in the layout of Flax: a ``transform`` for `load_partial`.

    Leaves named ``kernel`` go from (out, in) to (in, out), and from (out, in,
    \\*spatial) to (\\*spatial, in, out); all others stay. The kernels of PyTorch's
    transposed convolutions, (in, out, \\*spatial), need a transform of their own.

    Args:
      name: the name of the leaf in the Flax model.
      array: the array of the source.

    Returns:
      The array, transposed if the leaf is a kernel.

    Examples:
      >>> torch_layout("Conv_0/kernel", np.zeros((8, 3, 5, 5))).shape
      (5, 5, 3, 8)
    """
    if name.rpartition("/")[2] != "kernel" or array.ndim < 2:
        return array
    return array.transpose(*range(2, array.ndim), 1, 0)


def torch_heads(
    num_heads: int | Mapping[str, int],
    *,
    merged: Sequence[str] = ("out",),
    packed: Sequence[str] = (),
) -> Transform:
    """Attention kernels of PyTorch, split into heads: a ``transform``.

    A projection (heads * size, in) becomes (in, heads, size) and its bias (heads,
    size), as in ``nn.MultiHeadDotProductAttention``; the output projection (out,
    heads * size) becomes (heads, size, out). All else goes by :func:`torch_layout`.

    Args:
      num_heads: the number of heads, or that of each layer, by the folder's name:
        ``{"query": 8, "key": 2, "value": 2, "out": 8}`` for grouped queries. A
        number stands for ``query``, ``key``, ``value`` and ``merged``.
      merged: folders whose inputs, not outputs, are heads.
      packed: folders that take their part of one array, in the order of the parts:
        ``("query", "key", "value")`` for ``in_proj_weight`` and ``in_proj_bias``.

    Returns:
      The transform.

    Raises:
      ValueError: if a number of heads is not positive; when used, if it does not
        divide an array.

    Examples:
      >>> split = torch_heads(4)
      >>> split("attn/query/kernel", np.zeros((16, 8))).shape
      (8, 4, 4)
      >>> split("attn/out/kernel", np.zeros((8, 16))).shape
      (4, 4, 8)
    """
    if not isinstance(num_heads, Mapping):
        names = ("query", "key", "value", *merged, *packed)
        num_heads = dict.fromkeys(names, num_heads)
    advice = "It is the number of attention heads."
    heads = {n: check_count("num_heads", h, advice) for n, h in num_heads.items()}

    def transform(name: str, array: Any) -> Any:
        folder, _, last = name.rpartition("/")
        layer = folder.rpartition("/")[2]
        if layer in packed:
            array = _part(name, array, packed.index(layer), len(packed))
        array = torch_layout(name, array)
        if layer not in heads:
            return array
        if last == "kernel" and layer in merged:
            size = _head_size(name, array.shape[0], heads[layer])
            return array.reshape(heads[layer], size, *array.shape[1:])
        if layer in merged:
            return array
        size = _head_size(name, array.shape[-1], heads[layer])
        return array.reshape(*array.shape[:-1], heads[layer], size)

    return transform


def _part(name: str, array: Any, number: int, count: int) -> Any:
    """One of several parts that lie side by side along the first axis."""
    size = _head_size(name, array.shape[0], count)
    return array[number * size : (number + 1) * size]


def _head_size(name: str, total: int, heads: int) -> int:
    if total % heads:
        raise ValueError(
            f"`transform`: the array for {name!r} has {total} entries along the axis "
            f"that is to be split into {heads}, which does not divide it. Give "
            f"torch_heads another number of heads or parts for it."
        )
    return total // heads


class _Result(NamedTuple):
    """A leaf's new value, if it gets one; the account; what is wrong, if anything."""

    account: LoadedLeaf
    value: Any = None
    problem: str = ""


def _load(
    leaf: Leaf,
    name: str | None,
    source: Source,
    held: frozenset[str],
    mismatch: Mismatch,
    transform: Transform | None,
) -> _Result:
    shape, dtype = tuple(leaf.value.shape), np.dtype(leaf.value.dtype)
    if name is None:
        return _Result(LoadedLeaf(leaf.name, ("excluded",), shape, dtype))
    if name not in held:
        return _Result(LoadedLeaf(leaf.name, ("missing",), shape, dtype, name))
    value = source.read(name)
    if transform is not None:
        value = transform(leaf.name, value)
    if not is_numeric(value) or isinstance(value, jax.ShapeDtypeStruct):
        what = "the source" if transform is None else "`transform`"
        raise ValueError(
            f"{what} must give an array of numbers for {leaf.name!r}, got {value!r}."
        )
    how = fit(shape, tuple(value.shape), mismatch)
    account = LoadedLeaf(
        leaf.name,
        how.outcomes,
        shape,
        dtype,
        name,
        tuple(value.shape),
        np.dtype(value.dtype),
    )
    where = f"{leaf.name!r} {shape} from {name!r} {tuple(value.shape)}"
    if how.problem or how.outcomes == ("reinitialized",):
        return _Result(account, None, how.problem and f"{where}: {how.problem}")
    part = value if how.index is None else value[how.index]
    part, problem = cast(part, dtype)
    if problem:
        return _Result(account, None, f"{where}: {problem}")
    if "padded" in how.outcomes:
        if isinstance(leaf.value, jax.ShapeDtypeStruct):
            return _Result(account)
        region = tuple(slice(0, size) for size in part.shape)
        part = jnp.asarray(leaf.value).at[region].set(jnp.asarray(part))
    return _Result(account, placed_like(part, leaf.value))


def _unused(source: Source, results: Sequence[_Result]) -> tuple[str, ...]:
    """Names of the source that no leaf asked for."""
    used = {result.account.source for result in results}
    return tuple(name for name in source.names if name not in used)


def _check(
    report: LoadReport, problems: Sequence[str], missing: str, unused: str
) -> None:
    """Raises for what the policies forbid, all of it at once."""
    origin = report.origin
    if problems:
        more = len(problems) - 8
        lines = "\n  ".join(problems[:8]) + (f"\n  and {more} more" if more > 0 else "")
        raise ValueError(
            f"{len(problems)} arrays of {origin} cannot be loaded:\n  {lines}\n"
            "Shapes: choose another `mismatch` ('reinit' keeps the fresh values), "
            "leave a leaf fresh with `mapping` {name: None}, or give a `transform`."
        )
    if missing == "error" and report.missing:
        raise ValueError(
            f"{origin} lacks {some(report.missing)}. Its names not used are "
            f"{some(report.unused)}: give a `mapping`, or pass missing='reinit'."
        )
    if unused == "error" and report.unused:
        raise ValueError(
            f"{origin} has {some(report.unused)}, which no leaf takes. Give a "
            "`mapping`, or pass unused='ignore'."
        )
    kept = {*report.missing, *report.reinitialized}
    if kept and len(kept) + len(report.excluded) == len(report.leaves):
        raise ValueError(
            f"No array of {origin} was loaded. The leaves are "
            f"{some([leaf.name for leaf in report.leaves])}; the names in the source "
            f"are {some(report.unused)}. Give a `mapping` from the first to the second."
        )


def _check_concrete(leaves: Sequence[Leaf], new: dict[int, Any]) -> None:
    abstract = [
        leaf.name
        for leaf in leaves
        if leaf.place not in new and isinstance(leaf.value, jax.ShapeDtypeStruct)
    ]
    if abstract:
        raise ValueError(
            f"`variables` has no values for {some(abstract)}, which keep fresh values "
            "in whole or in part. Pass initialized variables."
        )
