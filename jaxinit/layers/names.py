"""Names for rows: the parameter folders, told apart where a folder has several uses."""

from collections import Counter
from collections.abc import Sequence

from jaxinit.layers.event import Event
from jaxinit.layers.find import Sites

Parts = tuple[str, ...]


def row_names(sites: Sites, params: Sequence[Parts]) -> tuple[str, ...]:
    """A unique name for each of the events of ``sites``.

    A layer is named after the folder of its parameters (``Block_0/Dense_0``); after
    the parameter itself where the folder holds several layers (``moe/w_in``). Later
    uses of the same parameters get ``#2``, ``#3``. A join is named after what it
    adds to the stream, with a ``+``; of a layer with several kernels side by side
    (``cell/{ii,if,ig,io}``) after the one whose outputs it adds (``cell/if+``).

    Args:
      sites: the events.
      params: the path of each parameter leaf.

    Returns:
      The names, in the order of the events.
    """
    crowded = _crowded_folders(sites, params)
    plain: dict[int, str] = {}
    for number, event in sorted(sites.ancestry.items()):
        if event.kind == "layer":
            plain[number] = _layer_name(event, params, crowded)
    taken: Counter[str] = Counter()
    named: dict[int, str] = {}
    for number, event in zip(sites.numbers, sites.events, strict=True):
        if event.kind == "layer":
            name = plain[number]
        elif event.kind == "tap":
            name = event.label
        else:
            name = _join_name(event, named, sites, params)
        taken[name] += 1
        named[number] = name if taken[name] == 1 else f"{name}#{taken[name]}"
    return tuple(named[number] for number in sites.numbers)


def param_name(parts: Parts) -> str:
    return "/".join(parts) or "params"


def _crowded_folders(sites: Sites, params: Sequence[Parts]) -> frozenset[Parts]:
    """Folders that do not name one layer: they hold several, or other folders."""
    layers: dict[Parts, set[tuple[int, ...]]] = {}
    for event in sites.events:
        if event.kind == "layer":
            key = tuple(use.leaf for use in event.uses) or event.params
            for folder in {params[leaf][:-1] for leaf in event.params}:
                layers.setdefault(folder, set()).add(key)
    crowded = {folder for folder, found in layers.items() if len(found) > 1}
    crowded.add(())
    for parts in params:
        for end in range(1, len(parts) - 1):
            crowded.add(parts[:end])
    return frozenset(crowded)


def _layer_name(
    event: Event, params: Sequence[Parts], crowded: frozenset[Parts]
) -> str:
    main = _main(event)
    folders = {params[leaf][:-1] for leaf in main}
    if len(folders) == 1:
        (folder,) = folders
        if folder not in crowded:
            return "/".join(folder)
        if len(main) == 1:
            return param_name(params[main[0]])
    return _braces(*_apart([params[leaf] for leaf in main]))


def _main(event: Event) -> tuple[int, ...]:
    """The leaves that a layer is named after."""
    return tuple(dict.fromkeys(use.leaf for use in event.uses)) or event.params


def _braces(common: Parts, rest: Sequence[Parts]) -> str:
    """``cell/{ii,if,ig,io}``: what several paths share, then where they differ."""
    inside = list(dict.fromkeys("/".join(r) for r in rest))
    if len(inside) > 4:
        inside = [*inside[:3], f"+{len(inside) - 3}"]
    braces = inside[0] if len(inside) == 1 else "{" + ",".join(inside) + "}"
    return "/".join([*common, braces])


def _apart(paths: Sequence[Parts]) -> tuple[Parts, list[Parts]]:
    """What several paths share, and where each differs."""
    common = _common([path[:-1] for path in paths])
    rest = [path[len(common) :] for path in paths]
    if len({r[-1] for r in rest}) == 1 and all(len(r) > 1 for r in rest):
        rest = [r[:-1] for r in rest]
    return common, rest


def _common(paths: Sequence[Parts]) -> Parts:
    shortest = min(paths, key=len)
    for end in range(len(shortest), 0, -1):
        if all(path[:end] == shortest[:end] for path in paths):
            return shortest[:end]
    return ()


def _join_name(
    event: Event, named: dict[int, str], sites: Sites, params: Sequence[Parts]
) -> str:
    """``Dense_1+`` for a stream plus what ``Dense_1`` adds to it."""
    added = [n for n in sorted(event.branch) if n in named]
    added = added or [n for n in sorted(event.skip) if n in named]
    if not added:
        return "input+"
    if event.part is not None:
        index, count = event.part
        kernels = _main(sites.ancestry[added[-1]])
        if len(kernels) == count:
            common, rest = _apart([params[leaf] for leaf in kernels])
            return f"{'/'.join([*common, *rest[index]])}+"
    return f"{named[added[-1]]}+"
