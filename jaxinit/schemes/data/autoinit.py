"""AutoInit: variances of weights from the moments of a signal, without data."""

import functools
from dataclasses import dataclass

import numpy as np

from jaxinit.initializers import normal, zeros
from jaxinit.initializers._check import check_number
from jaxinit.moments.propagate import Propagated, propagate
from jaxinit.roles.network import Network
from jaxinit.schemes.fitted import by_layer
from jaxinit.schemes.scheme import Assignment, Scheme


def autoinit(*, input_mean: float = 0.0, input_variance: float = 1.0) -> Scheme:
    r"""Weights that give every layer's output mean 0 and variance 1, by analysis.

    Mean :math:`\mu` and variance :math:`\nu` of a typical entry are followed from the
    inputs through every operation of the model's program, with no data. A weight is
    normal, of mean 0 and variance

    .. math:: \operatorname{Var}(W) = \frac{1}{\text{fan-in}\,(\nu + \mu^2)},

    with the moments of what comes in and the weight's real fan-in; biases are 0, but
    for those of gates and those that their own init sets to one side of 0. For a
    chain of ReLU layers that is LeCun's variance in the first and He's behind it. What
    is added on a residual stream is counted, layer by layer, also in a scan.

    Functions of one layer's output are integrated as one function, however many
    operations they take: ``x * sigmoid(x)`` is exact. Different layers' outputs, and
    different entries of one, are taken as independent. That holds for wide layers and
    independent positions. Where positions are alike, as behind an attention or a
    convolution of positive values, a mean over them varies more than is counted:
    pools and attentions deep in a model may give a variance of up to a few times 1.
    Sums are normal, statistics that a normalization divides by are constant, softmax
    is exact for independent scores, and masks made from shapes (causal ones) are
    counted row by row. At the borders of a padded convolution fewer products are
    summed than its fan-in says.

    All other parameters keep what the model's own init draws: the scales and shifts of
    norms, gains, positions, and tables that are looked up (a readout tied to one
    included); they enter with the values of one draw. A kernel that the model computes
    from several parameters, as in weight normalization, is such a value too. A weight
    that a rule of ``override`` takes is counted as one that gives variance 1. A weight
    that acts several times gets its variance where something other than zeros meets it
    first: in a recurrent loop that starts at 0, in the second step. Input masks are
    taken to let everything through.

    Args:
      input_mean: the mean of every real input.
      input_variance: the variance of every real input, above 0.

    Returns:
      A scheme. It looks at shapes alone.

    Raises:
      TypeError: if an argument is no number.
      ValueError: if ``input_mean`` is not finite or ``input_variance`` not positive
        and finite; when used, if an operation has no rule (it says which and where) or
        only zeros reach a weight.

    Examples:
      >>> import jax, jaxinit
      >>> from flax import linen as nn
      >>> model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(64)])
      >>> x = jax.ShapeDtypeStruct((1, 64), "float32")
      >>> variables = jaxinit.initialize(model, autoinit(), 0, x)
      >>> [round(float(64 * layer["kernel"].var()), 1)
      ...  for layer in variables["params"].values()]
      [1.0, 2.0]

    References:
      Bingham and Miikkulainen, "AutoInit: Analytic Signal-Preserving Weight
      Initialization for Neural Networks", 2023. There the moments of max pooling are
      sampled; here they are integrated.
    """
    advice = "It is that of standardized data by default: mean 0, variance 1."
    return _AutoInit(
        check_number("input_mean", input_mean, advice),
        check_number("input_variance", input_variance, advice, low=0),
    )


@dataclass(frozen=True)
class _AutoInit(Scheme):
    mean: float
    variance: float

    def assign(self, network: Network) -> list[Assignment]:
        if not network.having("weight"):
            raise ValueError(
                f"autoinit() is for models with weights, and {network.traced.name} has "
                "none that is free."
            )
        found = _propagated(network, self.mean, self.variance)
        assignments = []
        for parameter in network.free:
            leaf = parameter.leaf
            if leaf in found.variances:
                std = np.sqrt(found.variances[leaf])
                init = by_layer(normal(1.0), std, parameter.layer_axes)
                assignments.append(Assignment(leaf, init, "weights", "normal"))
            elif leaf in found.zeros:
                assignments.append(Assignment(leaf, zeros, "biases", "zeros"))
        return assignments


@functools.lru_cache(maxsize=16)
def _propagated(network: Network, mean: float, variance: float) -> Propagated:
    return propagate(network, mean, variance)
