"""Rows of the table: activation-aware, combinators, structured, recurrent, states."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

import jaxinit.initializers as ji
from tests.initializers.member import Member

_TRUNCATED = 2.2
_UNIFORM = 1.8
_MASK = np.arange(24)[:, None] % 2 == 0
_ARRAY = np.linspace(-1, 1, 24 * 16).reshape(24, 16)
_FIXED = {"random": False, "elementwise": True}
_LEADING = {"layers": "none", "random": False, "elementwise": True}


def _quadratic(x):
    return jnp.tanh(x) + 0.1 * jax.nn.relu(x)


EXTRAS = [
    # Activation-aware
    Member(
        "scaled_by_activation",
        ji.scaled_by_activation("gelu_exact"),
        std=1.53353044 / 16,
        kurtosis=_TRUNCATED,
        elementwise=True,
    ),
    Member(
        "scaled_by_activation[callable, backward, fan_out]",
        ji.scaled_by_activation(_quadratic, "backward", "fan_out", "normal"),
        std=ji.calculate_gain(_quadratic, "backward") / math.sqrt(128),
        elementwise=True,
    ),
    Member("self_normalizing", ji.self_normalizing(), std=1 / 16, elementwise=True),
    # Around another initializer
    Member("scale", ji.scale(ji.normal(0.5), -2.0), std=1.0, elementwise=True),
    Member("scale[orthogonal]", ji.scale(ji.orthogonal(), 2.0), std=2 / 16),
    Member(
        "cast",
        ji.cast(jax.nn.initializers.normal(0.5)),
        std=0.5,
    ),
    Member(
        "masked",
        ji.masked(ji.normal(), _MASK),
        layers="none",
        empty=(24, 0),
        elementwise=True,
    ),
    Member(
        "from_array",
        ji.from_array(_ARRAY),
        random=False,
        empty=None,
        layers="none",
    ),
    Member("with_axes", ji.with_axes(ji.he_normal(), -1, -2), std=math.sqrt(2 / 128)),
    Member(
        "with_axes[three axes]",
        ji.with_axes(ji.orthogonal(), (0, 2), 1),
        shape=(4, 16, 6),
        spec=P("x", "y"),
        empty=(0, 16, 6),
        layers="none",
    ),
    Member(
        "from_einsum",
        ji.from_einsum("BD,DF->BF", ji.glorot_uniform()),
        std=math.sqrt(2 / 384),
        kurtosis=_UNIFORM,
        layers="matrix",
    ),
    Member(
        "from_einsum[batch]",
        ji.from_einsum("EBD,EDF->EBF", ji.lecun_normal()),
        shape=(2, 24, 16),
        spec=P("y", "x"),
        empty=(0, 24, 16),
        std=1 / 16,
        std_shape=(4, 256, 64),
        kurtosis=_TRUNCATED,
        layers="none",
        elementwise=True,
    ),
    Member(
        "stacked",
        ji.stacked(ji.he_normal()),
        shape=(2, 24, 16),
        spec=P("y", "x"),
        empty=(0, 24, 16),
        std=math.sqrt(2 / 256),
        std_shape=(4, 256, 64),
        kurtosis=_TRUNCATED,
        layers="none",
        elementwise=True,
    ),
    Member(
        "stacked[orthogonal]",
        ji.stacked(ji.orthogonal(), axis=-1),
        shape=(24, 16, 2),
        spec=P("x", "y"),
        empty=(24, 0, 2),
        layers="none",
    ),
    Member(
        "blocked",
        ji.blocked(ji.glorot_normal(), 2),
        std=math.sqrt(2 / (256 + 64)),
        kurtosis=_TRUNCATED,
    ),
    Member(
        "blocked[sizes]",
        ji.blocked([ji.normal(1.0), ji.orthogonal(), ji.zeros], sizes=(4, 8, 4)),
        empty=(0, 16),
        layers="none",
    ),
    Member("centered", ji.centered(ji.normal(0.7)), std=0.7),
    Member("normalized", ji.normalized(ji.normal(0.7), 0.3), std=0.3),
    Member(
        "normalized[columns]", ji.normalized(ji.uniform(0.7), 0.3, 0), is_complex=False
    ),
    # Biases and embeddings
    Member("relu_bias", ji.relu_bias(), random=False, elementwise=True),
    Member("prior_bias", ji.prior_bias(0.01), random=False, elementwise=True),
    Member(
        "class_prior_bias",
        ji.class_prior_bias(range(1, 17)),
        random=False,
        layers="none",
    ),
    Member(
        "fan_in_uniform_bias",
        ji.fan_in_uniform_bias(16),
        std=0.25 / math.sqrt(3),
        kurtosis=_UNIFORM,
        is_complex=False,
        elementwise=True,
    ),
    *(
        Member(
            f"embedding[{kind}]",
            ji.embedding(kind),
            std=std,
            kurtosis=_UNIFORM if kind == "keras" else 3.0,
            is_complex=False,
            layers="matrix",
            elementwise=True,
        )
        for kind, std in [
            ("flax", 128**-0.5),
            ("torch", 1.0),
            ("t5", 1.0),
            ("palm", 1.0),
            ("gpt2", 0.02),
            ("gpt2_position", 0.01),
            ("keras", 0.05 / math.sqrt(3)),
        ]
    ),
    Member(
        "embedding[padding]",
        ji.embedding(padding_index=0),
        empty=(24, 0),
        is_complex=False,
        layers="matrix",
        elementwise=True,
    ),
    # Structured
    Member("sparse", ji.sparse(5, stddev=0.7)),
    Member("sparse[fraction]", ji.sparse(stddev=0.7, fraction=0.75)),
    Member("looks_linear", ji.looks_linear(), std=math.sqrt(1 / 128)),
    Member("looks_linear[first]", ji.looks_linear(position="first"), std=1 / 16),
    Member("looks_linear[last]", ji.looks_linear(ji.normal(0.5), "last")),
    *(
        Member(
            f"random_walk[{activation}, {exact}]",
            ji.random_walk(activation, exact),
            std=ji.random_walk_gain(activation, 256, exact) / 16,
            elementwise=True,
        )
        for activation in ("linear", "relu")
        for exact in (False, True)
    ),
    Member("nguyen_widrow", ji.nguyen_widrow(), is_complex=False, layers="matrix"),
    Member(
        "nguyen_widrow_bias",
        ji.nguyen_widrow_bias(2),
        std=0.7 * math.sqrt(128) / math.sqrt(3),
        kurtosis=_UNIFORM,
        is_complex=False,
        elementwise=True,
    ),
    Member("zero_hadamard", ji.zero_hadamard(), **_FIXED),
    Member("zero_hadamard[wide]", ji.zero_hadamard(), shape=(16, 24), **_FIXED),
    Member(
        "sinusoidal",
        ji.sinusoidal(),
        is_complex=False,
        layers="matrix",
        random=False,
    ),
    Member(
        "sinusoidal[dealiased]",
        ji.sinusoidal(dealiased=True),
        is_complex=False,
        layers="none",
        random=False,
    ),
    Member("icnr", ji.icnr(ji.normal(0.7)), elementwise=True),
    Member("icnr[slowest]", ji.icnr(ji.normal(0.7), block="slowest"), elementwise=True),
    Member(
        "bilinear_upsample",
        ji.bilinear_upsample(),
        shape=(4, 16, 16),
        spec=P(None, "x", "y"),
        empty=(4, 0, 0),
        random=False,
        layers="none",
        elementwise=True,
    ),
    # Periodic
    Member(
        "siren",
        ji.siren(),
        std=math.sqrt(2 / 256) / 30,
        kurtosis=_UNIFORM,
        is_complex=False,
        elementwise=True,
    ),
    Member(
        "siren[first]",
        ji.siren(is_first=True),
        std=1 / 256 / math.sqrt(3),
        kurtosis=_UNIFORM,
        is_complex=False,
        elementwise=True,
    ),
    Member("fourier_features", ji.fourier_features(10.0), std=10.0, elementwise=True),
    # Recurrent
    Member("forget_gate_bias", ji.forget_gate_bias(), is_complex=False, random=False),
    Member(
        "forget_gate_bias[fused]",
        ji.forget_gate_bias(layout="ifgo"),
        is_complex=False,
        random=False,
        layers="none",
    ),
    Member("chrono", ji.chrono(100.0), is_complex=False),
    Member(
        "chrono[fused]",
        ji.chrono(100.0, layout="ifgo"),
        is_complex=False,
        layers="none",
    ),
    Member("uniform_gate", ji.uniform_gate(), is_complex=False),
    Member(
        "uniform_gate[fused]",
        ji.uniform_gate(0.1, layout="rozn"),
        is_complex=False,
        layers="none",
    ),
    Member("orthogonal_gates", ji.orthogonal_gates(4), layers="none"),
    # State space
    Member(
        "hippo_legs",
        ji.hippo_legs(),
        shape=(2, 16, 16),
        spec=P("y", "x"),
        empty=(2, 0, 0),
        random=False,
        layers="none",
    ),
    Member("hippo_legs_input", ji.hippo_legs_input(), **_LEADING),
    Member("hippo_legs_low_rank", ji.hippo_legs_low_rank(), **_LEADING),
    *(
        Member(f"{name}[{part}]", getattr(ji, name)(part), **_LEADING)
        for name in ("s4d_lin", "s4d_inv")
        for part in ("imag", "log_real")
    ),
    Member("s4d_real", ji.s4d_real(), **_LEADING),
    Member("s4d_real[log]", ji.s4d_real(log=True), **_LEADING),
    Member("mamba_a_log", ji.mamba_a_log(), **_LEADING),
    Member(
        "mamba_timestep_kernel",
        ji.mamba_timestep_kernel(),
        std=1 / 16 / math.sqrt(3),
        kurtosis=_UNIFORM,
        elementwise=True,
    ),
    Member(
        "mamba_timestep_bias",
        ji.mamba_timestep_bias(),
        is_complex=False,
        layers="none",
        elementwise=True,
    ),
    Member(
        "log_uniform_timestep",
        ji.log_uniform_timestep(),
        mean=math.log(1e-2),
        std=math.log(100) / math.sqrt(12),
        kurtosis=_UNIFORM,
        is_complex=False,
        layers="none",
        elementwise=True,
    ),
    Member(
        "log_uniform_timestep[value]",
        ji.log_uniform_timestep(stored="value", floor=2e-3),
        is_complex=False,
        layers="none",
        elementwise=True,
    ),
    *(
        Member(
            f"lru_ring[{part}]",
            ji.lru_ring(0.5, 0.99, part=part),
            is_complex=False,
            layers="none",
            elementwise=True,
        )
        for part in ("nu_log", "theta_log")
    ),
    Member("rg_lru", ji.rg_lru(), is_complex=False, layers="none", elementwise=True),
]
