"""The one table of all initializers. Adding a row adds its tests."""

import math

from jax.sharding import PartitionSpec as P

import jaxinit.initializers as ji
from tests.initializers.member import Member
from tests.initializers.table_extras import EXTRAS

# Of a normal cut at two standard deviations; the exact value is 2.1337.
_TRUNCATED = 2.2
_UNIFORM = 1.8
_FIXED = {"random": False, "elementwise": True}
_CONV = {"shape": (3, 16, 24), "spec": P(None, "x", "y"), "empty": (3, 0, 24)}

BASE = [
    Member("zeros", ji.zeros, integers=True, **_FIXED),
    Member("ones", ji.ones, integers=True, **_FIXED),
    Member("zeros_init", ji.zeros_init(), integers=True, **_FIXED),
    Member("ones_init", ji.ones_init(), integers=True, **_FIXED),
    Member("constant", ji.constant(0.3), random=False, elementwise=True),
    Member(
        "constant[array]",
        ji.constant([[0.1], [0.2], [0.3]] * 8),
        random=False,
        empty=(24, 0),
        layers="none",
        elementwise=True,
    ),
    Member("normal", ji.normal(0.7), std=0.7, elementwise=True),
    Member(
        "truncated_normal",
        ji.truncated_normal(0.7),
        std=0.7 * 0.87962566103423978,
        complex_std=0.7 * 0.9619618280082135,
        kurtosis=_TRUNCATED,
        elementwise=True,
    ),
    Member(
        "truncated_normal[corrected]",
        ji.truncated_normal(0.7, lower=-1, upper=1, corrected=True),
        std=0.7,
        kurtosis=2.0,
        elementwise=True,
    ),
    Member(
        "truncated_normal[lopsided]",
        # A half normal: mean sqrt(2/pi), variance 1 - 2/pi.
        ji.truncated_normal(1.0, lower=0.0, upper=math.inf),
        mean=math.sqrt(2 / math.pi),
        std=math.sqrt(1 - 2 / math.pi),
        kurtosis=3.9,
        is_complex=False,
        elementwise=True,
    ),
    Member(
        "uniform",
        ji.uniform(0.6),
        mean=0.3,
        std=0.6 / math.sqrt(12),
        kurtosis=_UNIFORM,
        is_complex=False,
        elementwise=True,
    ),
    Member(
        "uniform_between",
        ji.uniform_between(-1.0, 3.0),
        mean=1.0,
        std=4 / math.sqrt(12),
        kurtosis=_UNIFORM,
        is_complex=False,
        elementwise=True,
    ),
    Member(
        "symmetric_uniform",
        ji.symmetric_uniform(0.6),
        std=0.6 / math.sqrt(3),
        kurtosis=_UNIFORM,
        is_complex=False,
        elementwise=True,
    ),
    *(
        Member(
            f"variance_scaling[{mode}, {distribution}]",
            ji.variance_scaling(1.5, mode, distribution),
            std=math.sqrt(1.5 / fan),
            kurtosis=kurtosis,
            elementwise=True,
        )
        for mode, fan in [
            ("fan_in", 256),
            ("fan_out", 128),
            ("fan_avg", 192),
            ("fan_geo_avg", math.sqrt(256 * 128)),
        ]
        for distribution, kurtosis in [
            ("truncated_normal", _TRUNCATED),
            ("normal", 3.0),
            ("uniform", _UNIFORM),
        ]
        if mode == "fan_in" or distribution == "normal"
    ),
    *(
        Member(
            name,
            getattr(ji, name)(),
            std=math.sqrt(variance),
            kurtosis=_TRUNCATED if name.endswith("normal") else _UNIFORM,
            elementwise=True,
        )
        for names, variance in [
            ("lecun", 1 / 256),
            ("glorot xavier", 2 / (256 + 128)),
            ("he kaiming", 2 / 256),
        ]
        for name in [
            f"{family}_{distribution}"
            for family in names.split()
            for distribution in ("normal", "uniform")
        ]
    ),
    # The elements of an orthogonal matrix are exactly of unit norm by columns, so the
    # error of their mean square is rounding; the stated kurtosis only loosens it.
    Member("orthogonal", ji.orthogonal(1.3), std=1.3 / 16, layers="any"),
    Member("orthogonal[wide]", ji.orthogonal(), shape=(16, 24), empty=(16, 0)),
    Member("orthogonal[square]", ji.orthogonal(), shape=(16, 16)),
    Member("orthogonal[rows]", ji.orthogonal(column_axis=0), std=1 / 16),
    Member(
        "orthogonal[batch]",
        ji.orthogonal(batch_axis=0),
        shape=(2, 24, 16),
        spec=P("y", "x"),
        empty=(0, 24, 16),
        layers="none",
    ),
    Member("delta_orthogonal", ji.delta_orthogonal(), layers="convolution", **_CONV),
    Member(
        "delta_orthogonal[projection]",
        ji.delta_orthogonal(projection=True),
        shape=(3, 24, 16),
        spec=P(None, "x", "y"),
        empty=(3, 24, 0),
        layers="convolution",
    ),
    Member(
        "convolutional_orthogonal",
        ji.convolutional_orthogonal(),
        layers="convolution",
        **_CONV,
    ),
    Member("kronecker_orthogonal", ji.kronecker_orthogonal(1.3), std=1.3 / 16),
    Member(
        "kronecker_orthogonal[wide]",
        ji.kronecker_orthogonal(),
        shape=(16, 24),
        empty=(16, 0),
    ),
    Member("scaled_orthogonal", ji.scaled_orthogonal(), std=1 / 16),
    Member(
        "scaled_orthogonal[delta]",
        ji.scaled_orthogonal(delta=True),
        layers="convolution",
        **_CONV,
    ),
    Member("spectral_orthogonal", ji.spectral_orthogonal(), std=math.sqrt(0.5) / 16),
    Member(
        "spectral_normal",
        ji.spectral_normal(),
        std=math.sqrt(0.5) / (16 + math.sqrt(128)),
        elementwise=True,
    ),
    Member("identity", ji.identity(0.7), random=False, elementwise=True),
    Member("idinit", ji.idinit(), layers="matrix", **_FIXED),
    Member("idinit[loose]", ji.idinit(0.5, 1e-2), layers="matrix", elementwise=True),
    Member(
        "dirac",
        ji.dirac(),
        random=False,
        elementwise=True,
        layers="convolution",
        **_CONV,
    ),
    Member(
        "dirac[groups]",
        ji.dirac(groups=4, gain=0.7),
        random=False,
        elementwise=True,
        shape=(3, 4, 16),
        spec=P(None, "x", "y"),
        empty=(3, 0, 16),
        layers="none",
    ),
]

MEMBERS = [*BASE, *EXTRAS]

OTHER_NAMES = {
    # Types, numbers and presets of several initializers, which the table cannot hold.
    "ActivationMoments",
    "Fans",
    "IRNN",
    "Initializer",
    "activation_moments",
    "calculate_gain",
    "critical_init",
    "fans",
    "for_haiku",
    "for_keras",
    "from_config",
    "irnn",
    "keras_objects",
    "lru_gamma_log",
    "random_walk_gain",
    "to_config",
}
