"""``compare``: one model under several schemes, side by side."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax

from jaxinit._configuration import measuring
from jaxinit._progress import Bar
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.named import named_schemes
from jaxinit.signal.checks import check_switch
from jaxinit.signal.compare_result import Comparison as Comparison
from jaxinit.signal.measure import measure
from jaxinit.signal.prepare import Options, prepare
from jaxinit.signal.remedies.as_scheme import speaking
from jaxinit.signal.seeds import Strategy


@measuring
def compare(
    model: Any,
    *args: Any,
    schemes: Mapping[str, Any] | Sequence[str],
    seeds: int | Sequence[int] | None = None,
    key: int | jax.Array = 0,
    loss: Callable[[Any], jax.Array] | None = None,
    strategy: Strategy = "auto",
    chunk: int | None = None,
    memory_budget: int | None = None,
    time_budget: float | None = None,
    devices: int | Sequence[jax.Device] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    roll: bool | Literal["auto"] = "auto",
    progress: bool | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Comparison:
    """Analyzes one model under several schemes.

    The analysis is traced and compiled once and serves all schemes. Each sees the same
    keys and the same inputs.

    Args:
      model: as in ``analyze``.
      *args: the model's inputs.
      schemes: by a name of your choice, a scheme as in ``initialize``; ``None`` for
        the model's own init. Or a list of names, as ``["own", "he_normal", "lsuv"]``.
      seeds: as in ``analyze``, as all further ones.
      key: the root key.
      loss: where gradients start.
      strategy: how seeds are run.
      chunk: seeds at once.
      memory_budget: bytes.
      time_budget: seconds, for each scheme.
      devices: over which seeds are spread.
      checkpoint: a folder that keeps finished seeds, of each scheme apart.
      roll: whether repeated blocks are run as a loop.
      progress: whether to show progress.
      output: as in ``initialize``: the main output, where there are several.
      roles: as in ``initialize``: roles that the program does not show.
      branches: as in ``initialize``: which sums add residual branches.
      rngs: names of random streams.
      model_kwargs: keyword arguments of the model whose names are taken here.
      **kwargs: further keyword arguments of the model.

    Returns:
      The comparison. Ctrl-C ends it with the schemes that are done, at least one; the
      last of them may have fewer seeds.

    Raises:
      TypeError: as ``analyze``, or if ``schemes`` is neither a mapping nor names.
      ValueError: as ``analyze``, or if ``schemes`` is empty; if a scheme does not
        apply, with a note that names it.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])
      >>> x = jax.ShapeDtypeStruct((32, 20), "float32")
      >>> schemes = {"flax": None, "he": jaxinit.he_normal()}
      >>> comparison = jaxinit.compare(model, x, schemes=schemes, seeds=4)
      >>> comparison["he"].verdict
      'ok'
      >>> [rank.place for rank in comparison.ranking()]
      [1, 2]
    """
    chosen = named_schemes(schemes)
    check_switch("progress", progress, none=True)
    given = model_arguments(kwargs, model_kwargs)
    options = Options(
        seeds,
        key,
        loss,
        strategy,
        chunk,
        memory_budget,
        time_budget,
        rngs,
        devices,
        checkpoint,
        roll,
        hints=as_hints(output, roles, branches),
    )
    reports = {}
    with Bar(progress) as bar:
        bar.phase("tracing")
        prepared = prepare(model, args, given, options)
        for name, scheme in chosen.items():
            bar.phase(name)
            try:
                reports[name] = speaking(measure(prepared, scheme, bar))
            except (TypeError, ValueError) as error:
                error.add_note(f"jaxinit was measuring the scheme {name!r}.")
                raise
            except KeyboardInterrupt:
                if not reports:
                    raise
                break
            if reports[name].interrupted:
                break
    return Comparison(reports)
