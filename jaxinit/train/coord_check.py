"""``coord_check``: do activations and their changes keep their size as width grows?"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinit._configuration import measuring
from jaxinit._keys import root_key
from jaxinit._progress import Bar
from jaxinit.initializers._check import check_number
from jaxinit.models.arguments import model_arguments
from jaxinit.roles.network import Network
from jaxinit.roles.structure import as_hints
from jaxinit.schemes.initialize import prepare
from jaxinit.signal.inputs import feed
from jaxinit.train.checks import (
    Axis,
    as_seeds,
    as_sizes,
    check_counts,
    check_maker,
    check_shares,
)
from jaxinit.train.coord_laws import laws
from jaxinit.train.coord_result import CoordCheck
from jaxinit.train.coord_verdict import stands_still
from jaxinit.train.drawing import draw_of, seed_keys
from jaxinit.train.losses import num_arguments, scalar_loss
from jaxinit.train.sites import Watched, param_roles, watch
from jaxinit.train.sizes import Sizes, measured
from jaxinit.train.training import Training, is_transformation

# A power of two, so that scaling rounds nothing, far above any usual epsilon's reach.
_LARGE = 2.0**30
_OUTPUT = "output"


class _One(NamedTuple):
    """The model of one size, and what was measured."""

    network: Network
    watched: Watched
    sizes: Sizes


@measuring
def coord_check(
    make_model: Callable[[int], Any],
    *,
    widths: Sequence[int],
    x: Any,
    optimizer: Any,
    y: Any = None,
    loss: Callable[..., Any] | None = None,
    scheme: Any = None,
    steps: int = 3,
    seeds: int | Sequence[int] = 4,
    axis: Axis = "width",
    tolerance: float = 0.2,
    confidence: float = 0.95,
    key: int | jax.Array = 0,
    progress: bool | None = None,
    output: int | str | None = None,
    roles: Mapping[str, str] | None = None,
    branches: Mapping[str, bool] | None = None,
    rngs: Sequence[str] = (),
    model_kwargs: dict[str, Any] | None = None,
) -> CoordCheck:
    """Trains a model for a few steps at several widths, and watches sizes.

    In a parametrization under which hyperparameters carry over, each layer's
    activations, and what a few steps change of them, have the same size at any width.
    Slopes of log2 rms on log2 width say so: fitted by least squares for each seed (the
    seeds of different widths are drawn apart), and averaged over seeds with Student's
    interval. For each width one program is compiled, which measures and trains, for
    all seeds at once.

    Attention scores are looked at too, found in the program. Values inside a scan are
    taken together. Of models of different depth, the layers that all of them have by
    name are compared.

    Args:
      make_model: from a width (or a depth) to a model, as in ``analyze``.
      widths: two or more, in rising order; three or more that span a factor of 8 tell.
      x: the model's input, or a tuple of several. A ``jax.ShapeDtypeStruct`` is drawn,
        as in ``analyze``.
      optimizer: an optax transformation with its learning rate in it; or a function
        from the width, or from the width and the parameters, to one, such as one with
        muP's multipliers.
      y: the target; by default standard normal numbers of the output's shape.
      loss: ``(output, y) -> scalar``, or of the output alone if ``y`` is not given; by
        default as in ``race``.
      scheme: as in ``initialize``, such as ``mup(base)``; ``None`` for the models' own
        init.
      steps: how many steps are taken, all on this batch.
      seeds: how many, or which.
      axis: what ``widths`` are, for the report.
      tolerance: slopes within it are flat.
      confidence: of the intervals.
      key: the root key.
      progress: as in ``race``.
      output: as in ``initialize``: the main output, where there are several.
      roles: as in ``initialize``: roles that the program does not show.
      branches: as in ``initialize``: which sums add residual branches.
      rngs: names of random streams that a linen module uses beyond ``params`` and
        ``dropout``.
      model_kwargs: keyword arguments of the model.

    Returns:
      The result; ``print`` it, ``plot()`` it.

    Raises:
      TypeError: if an argument is of the wrong kind.
      ValueError: if it is out of range, or the models have no layer in common.

    Examples:
      >>> import jax, jaxinit, optax
      >>> from flax import linen as nn
      >>> def mlp(width):
      ...     return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])
      >>> x = jax.random.normal(jax.random.key(1), (8, 4))
      >>> check = coord_check(mlp, widths=[16, 32, 64], x=x, optimizer=optax.adam(0.01))
      >>> check.layers
      ('layers_0', 'layers_2', 'output')

    References:
      Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
      Hyperparameter Transfer", 2022, appendix D.1.
    """
    start = time.perf_counter()
    check_maker(make_model, axis)
    sizes, numbers = as_sizes(widths), as_seeds(seeds)
    check_counts(steps=steps)
    check_shares(confidence=confidence)
    tolerance = check_number("tolerance", tolerance, "It is a slope: 0.2.", low=0)
    scalar_loss(loss)  # which says so if it is none
    root, kwargs = root_key(key), model_arguments({}, model_kwargs)
    hints = as_hints(output, roles, branches)
    given = tuple(x) if isinstance(x, tuple | list) else (x,)
    of_output = loss
    if loss is not None and y is None and num_arguments(loss) == 1:
        one = loss

        def of_output(output: Any, _: Any) -> Any:
            return one(output)

    with Bar(progress) as bar:

        def measure(number: int, loss_scale: float = 1.0) -> _One:
            size = sizes[number]
            bar.phase(f"{axis} {size}")
            model = make_model(size)
            network, arrays = prepare(model, given, kwargs, rngs, root, hints)
            inputs = _fed(network, arrays, root)
            draw = draw_of(network, scheme)
            # Each size has keys of its own: slopes of seeds are then independent.
            keys = seed_keys(jax.random.fold_in(root, number), numbers)
            variables = draw.batched(keys, *inputs)
            tree = Training(network, scalar_loss(of_output), optax.sgd).tree(
                [leaf[0] for leaf in variables[: len(network.params)]]
            )
            chosen = _chosen(optimizer, size, tree)
            training = Training(network, scalar_loss(of_output), lambda rate: chosen)
            watched = watch(network)
            run = measured(training, watched, steps, loss_scale)
            batch = inputs, _target(y, network, root)
            many = jax.jit(jax.vmap(run, in_axes=(0, 0, None)))
            return _One(network, watched, jax.device_get(many(variables, keys, batch)))

        found = [measure(number) for number in range(len(sizes))]
        result = _tabulated(found, sizes, numbers, axis, tolerance, confidence)
        unscaled = False
        if stands_still(result):
            again = [measure(number, _LARGE) for number in range(len(sizes))]
            scaled = _tabulated(again, sizes, numbers, axis, tolerance, confidence)
            # What is linear in gradients, as SGD, ends out of range: no news.
            ended = bool(np.isfinite(scaled.updates).all())
            unscaled = ended and not stands_still(scaled)
    settings = {
        **result.settings,
        "backend": jax.default_backend(),
        "jax": jax.__version__,
        "seconds": round(time.perf_counter() - start, 3),
    }
    return CoordCheck(**{**vars(result), "unscaled": unscaled, "settings": settings})


def _tabulated(
    found: list[_One],
    sizes: list[int],
    seeds: list[int],
    axis: str,
    tolerance: float,
    confidence: float,
) -> CoordCheck:
    """What all models have in common, by name."""
    names = [[*one.watched.names.values(), _OUTPUT] for one in found]
    roles = [*found[0].watched.roles.values(), frozenset[str]()]
    layers = [n for n in names[0] if all(n in other for other in names)]
    if len(layers) < 2:
        raise ValueError(
            "`make_model` must give models with layers of the same names, got "
            f"{names[0][:4]} and {names[-1][:4]}."
        )
    params = [[p.name for p in one.network.params] for one in found]
    common = [n for n in params[0] if all(n in other for other in params)]

    def gathered(field: str, order: list[list[int]], where: int) -> np.ndarray:
        rows = zip(found, order, strict=True)
        return np.stack([np.take(getattr(o.sizes, field), i, where) for o, i in rows])

    places = [[n.index(layer) for layer in layers] for n in names]
    leaves = [[n.index(name) for name in common] for n in params]
    of_params = param_roles(found[0].network)
    moves, unjudged = _laws(found, of_params, sizes, axis)
    return CoordCheck(
        model=found[0].network.traced.name,
        axis=axis,
        sizes=np.asarray(sizes),
        seeds=np.asarray(seeds),
        layers=tuple(layers),
        roles=tuple(tuple(sorted(roles[i])) for i in places[0]),
        activations=gathered("activations", places, 2),
        updates=gathered("updates", places, 2),
        params=tuple(common),
        param_roles=tuple(tuple(sorted(of_params[i])) for i in leaves[0]),
        moved=gathered("moved", leaves, 2),
        laws=moves[leaves[0]],
        losses=np.stack([one.sizes.losses for one in found]),
        unscaled=False,
        tolerance=tolerance,
        confidence=confidence,
        settings={"unjudged": unjudged} if unjudged else {},
    )


def _laws(
    found: list[_One], roles: list[frozenset[str]], sizes: list[int], axis: str
) -> tuple[np.ndarray, str]:
    """How the smallest model's parameters should move, or why nobody knows."""
    narrow, wide = found[0].network, found[-1].network
    if axis == "width":
        try:
            return laws(wide, narrow, roles, sizes[-1] / sizes[0]), ""
        except ValueError as error:  # from models that differ in more than the width
            why = str(error)
    else:
        why = ""
    return np.full((len(narrow.params), 3), np.nan), why


def _chosen(optimizer: Any, size: int, params: Any) -> Any:
    """The transformation for one width."""
    chosen = optimizer
    if not is_transformation(optimizer):
        if not callable(optimizer):
            raise TypeError(
                "`optimizer` must be an optax transformation or a function from the "
                f"width to one, got {optimizer!r:.80}."
            )
        both = num_arguments(optimizer) == 2
        chosen = optimizer(size, params) if both else optimizer(size)
    if not is_transformation(chosen):
        raise TypeError(
            f"`optimizer` must return an optax transformation, got {chosen!r:.80}."
        )
    return chosen


def _fed(
    network: Network, given: tuple[Any, ...], root: jax.Array
) -> tuple[jax.Array, ...]:
    """The inputs as arrays; shapes are drawn, alike at all sizes."""
    names, sites = network.given.names, network.sites
    return feed(given, names, sites, root, 2**32 - 2).arrays


def _target(y: Any, network: Network, root: jax.Array) -> Any:
    """The user's target, or normal numbers like the model's output."""
    if y is not None:
        return jax.tree.map(jnp.asarray, y)
    for variable in network.traced.apply.jaxpr.outvars:
        if jnp.issubdtype(variable.aval.dtype, jnp.floating):
            key = jax.random.fold_in(root, 2**32 - 1)
            return jax.random.normal(key, variable.aval.shape, variable.aval.dtype)
    return None
