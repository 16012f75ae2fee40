r"""The normal law between two bounds, wherever they lie.

Three ways, chosen by the bounds. Around zero the inverse error function serves. Beyond
1 the error function has too few values left, so the logarithm of the upper tail is
inverted. Between bounds that nearly meet, a normal density is an exponential one.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Uniform = Callable[[float, float], jax.Array]

# Within it a normal and the exponential density of the same slope differ by a factor
# of exp(width^2 / 8) at most, 1e-5.
_NARROW = 1e-2
# From here on two steps of the asymptotic series leave less than float32 resolves.
_FAR = 30.0
_NEWTON_STEPS = 3


def cut_normal(
    uniform: Uniform, bounds: tuple[float, float], real: np.dtype
) -> jax.Array:
    """Samples of N(0, 1) strictly between the bounds.

    Args:
      uniform: gives samples of U[low, high).
      bounds: the bounds, in order; either may be infinite.
      real: the dtype of the uniform samples.

    Returns:
      The samples, in the shape of the uniform ones.
    """
    lower, upper = bounds
    if lower + upper < 0 and (upper <= -1 or upper - lower < _NARROW):
        return -cut_normal(uniform, (-upper, -lower), real)
    if upper - lower < _NARROW:
        z = lower + _exponential(uniform, (lower + upper) / 2, upper - lower)
    elif lower >= 1:
        z = _tail(uniform, lower, upper)
    else:
        # jax's erf_inv is infinite at -1, which uniform samples from there contain.
        inside = float(np.nextafter(real.type(-1), real.type(0)))
        low, high = (math.erf(bound / math.sqrt(2)) for bound in bounds)
        z = jax.lax.erf_inv(uniform(max(low, inside), high)) * real.type(math.sqrt(2))
    # Rounding may step over a bound, so clip to the open interval.
    first = np.nextafter(real.type(lower), real.type(math.inf))
    last = np.nextafter(real.type(upper), real.type(-math.inf))
    return jnp.clip(z, first, last)


def _exponential(uniform: Uniform, rate: float, width: float) -> jax.Array:
    """Samples in [0, width) of density proportional to ``exp(-rate t)``."""
    u = uniform(0.0, 1.0)
    if rate * width < 1e-6:
        return u * width
    return -jnp.log1p(u * math.expm1(-rate * width)) / rate


def _tail(uniform: Uniform, lower: float, upper: float) -> jax.Array:
    r"""With :math:`Q` the upper tail, :math:`-\log(Q(z)/Q(a))` is a cut exponential."""
    drop = _log_tail(lower) - _log_tail(upper)
    s = -jnp.log1p(uniform(0.0, 1.0) * math.expm1(-drop))
    # Q(z) is about exp(-z^2/2)/z: solve z^2 = a^2 + 2(s - log(z/a)).
    t = 2 * s / (lower + jnp.sqrt(lower**2 + 2 * s))
    for _ in range(2):
        rest = 2 * (s - jnp.log1p(t / lower))
        t = rest / (lower + jnp.sqrt(lower**2 + rest))
    z = lower + t
    if lower < _FAR:
        for _ in range(_NEWTON_STEPS):
            log_tail = jax.scipy.special.log_ndtr(-z)
            hazard = jnp.exp(-(z**2) / 2 - log_tail - math.log(2 * math.pi) / 2)
            z = z + (log_tail - _log_tail(lower) + s) / hazard
    return z


def _log_tail(z: float) -> float:
    """The logarithm of the probability above ``z > 0``."""
    if z < _FAR:
        return math.log(math.erfc(z / math.sqrt(2)) / 2)
    if math.isinf(z):
        return -math.inf
    return (
        -(z**2) / 2
        - math.log(z * math.sqrt(2 * math.pi))
        + math.log1p(-1 / z**2 + 3 / z**4)
    )


@functools.lru_cache(maxsize=256)
def truncated_std(lower: float, upper: float) -> float:
    r"""The standard deviation of :math:`z \sim N(0, 1)` given ``lower < z < upper``.

    By quadrature around the likeliest point, which loses no digits where the textbook
    formula, :math:`1 + (a\varphi(a) - b\varphi(b))/Z - ((\varphi(a) -
    \varphi(b))/Z)^2`, does.

    Args:
      lower: the lower bound :math:`a`; may be infinite.
      upper: the upper bound :math:`b`; may be infinite.

    Returns:
      The standard deviation.

    Examples:
      >>> round(truncated_std(-2.0, 2.0), 10)
      0.879625661
    """
    mode = min(max(0.0, lower), upper)
    # Beyond it the density is below 1e-17 of its largest value.
    reach = 80 / (abs(mode) + math.hypot(mode, math.sqrt(80)))
    edges = np.linspace(max(lower - mode, -reach), min(upper - mode, reach), 65)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = np.diff(edges)[:, None] / 2
    d = edges[:-1, None] + half * (1 + nodes)
    mass = half * weights * np.exp(-d * (d + 2 * mode) / 2)
    mean = np.sum(mass * d) / np.sum(mass)
    return math.sqrt(np.sum(mass * (d - mean) ** 2) / np.sum(mass))
