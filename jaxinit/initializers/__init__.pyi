"""Initializers: functions ``(key, shape, dtype, out_sharding) -> array``.

``zeros`` and ``ones`` are initializers themselves; all other names make one.
"""
# isort: off

# The type of them all
from jaxinit._typing import Initializer as Initializer

# Fans
from jaxinit.initializers.fans import Fans as Fans
from jaxinit.initializers.fans import fans as fans

# Constants
from jaxinit.initializers.constants import constant as constant
from jaxinit.initializers.constants import ones as ones
from jaxinit.initializers.constants import ones_init as ones_init
from jaxinit.initializers.constants import zeros as zeros
from jaxinit.initializers.constants import zeros_init as zeros_init

# Independent samples
from jaxinit.initializers.normal import normal as normal
from jaxinit.initializers.normal import truncated_normal as truncated_normal
from jaxinit.initializers.uniform import symmetric_uniform as symmetric_uniform
from jaxinit.initializers.uniform import uniform as uniform
from jaxinit.initializers.uniform import uniform_between as uniform_between

# Scaled by fans
from jaxinit.initializers.recipes import glorot_normal as glorot_normal
from jaxinit.initializers.recipes import glorot_uniform as glorot_uniform
from jaxinit.initializers.recipes import he_normal as he_normal
from jaxinit.initializers.recipes import he_uniform as he_uniform
from jaxinit.initializers.recipes import kaiming_normal as kaiming_normal
from jaxinit.initializers.recipes import kaiming_uniform as kaiming_uniform
from jaxinit.initializers.recipes import lecun_normal as lecun_normal
from jaxinit.initializers.recipes import lecun_uniform as lecun_uniform
from jaxinit.initializers.recipes import xavier_normal as xavier_normal
from jaxinit.initializers.recipes import xavier_uniform as xavier_uniform
from jaxinit.initializers.variance_scaling import variance_scaling as variance_scaling

# Orthogonal
from jaxinit.initializers.convolutional_orthogonal import (
    convolutional_orthogonal as convolutional_orthogonal,
)
from jaxinit.initializers.delta_orthogonal import delta_orthogonal as delta_orthogonal
from jaxinit.initializers.kronecker_orthogonal import (
    kronecker_orthogonal as kronecker_orthogonal,
)
from jaxinit.initializers.orthogonal import orthogonal as orthogonal
from jaxinit.initializers.scaled_orthogonal import (
    scaled_orthogonal as scaled_orthogonal,
    spectral_normal as spectral_normal,
    spectral_orthogonal as spectral_orthogonal,
)

# Identity
from jaxinit.initializers.identity import dirac as dirac
from jaxinit.initializers.identity import identity as identity
from jaxinit.initializers.identity import idinit as idinit

# -- activation-aware, combinators, structured, recurrent, state space

# Aware of the activation
from jaxinit.initializers.activation_aware import (
    scaled_by_activation as scaled_by_activation,
)
from jaxinit.initializers.activation_aware import self_normalizing as self_normalizing
from jaxinit.initializers.gains import calculate_gain as calculate_gain
from jaxinit.initializers.gains import critical_init as critical_init
from jaxinit.initializers.moments import ActivationMoments as ActivationMoments
from jaxinit.initializers.moments import activation_moments as activation_moments

# Around another initializer
from jaxinit.initializers.axes import from_einsum as from_einsum
from jaxinit.initializers.axes import with_axes as with_axes
from jaxinit.initializers.combinators import cast as cast
from jaxinit.initializers.combinators import from_array as from_array
from jaxinit.initializers.combinators import masked as masked
from jaxinit.initializers.combinators import scale as scale
from jaxinit.initializers.stacks import blocked as blocked
from jaxinit.initializers.stacks import stacked as stacked
from jaxinit.initializers.standardized import centered as centered
from jaxinit.initializers.standardized import normalized as normalized

# In other libraries
from jaxinit.initializers.bridges import for_haiku as for_haiku
from jaxinit.initializers.bridges import for_keras as for_keras
from jaxinit.initializers.bridges import from_config as from_config
from jaxinit.initializers.bridges import keras_objects as keras_objects
from jaxinit.initializers.bridges import to_config as to_config

# Biases and embeddings
from jaxinit.initializers.bias import class_prior_bias as class_prior_bias
from jaxinit.initializers.bias import fan_in_uniform_bias as fan_in_uniform_bias
from jaxinit.initializers.bias import prior_bias as prior_bias
from jaxinit.initializers.bias import relu_bias as relu_bias
from jaxinit.initializers.embedding import embedding as embedding

# Structured
from jaxinit.initializers.hadamard import zero_hadamard as zero_hadamard
from jaxinit.initializers.looks_linear import looks_linear as looks_linear
from jaxinit.initializers.nguyen_widrow import nguyen_widrow as nguyen_widrow
from jaxinit.initializers.nguyen_widrow import nguyen_widrow_bias as nguyen_widrow_bias
from jaxinit.initializers.random_walk import random_walk as random_walk
from jaxinit.initializers.random_walk import random_walk_gain as random_walk_gain
from jaxinit.initializers.sinusoidal import sinusoidal as sinusoidal
from jaxinit.initializers.sparse import sparse as sparse
from jaxinit.initializers.upsampling import bilinear_upsample as bilinear_upsample
from jaxinit.initializers.upsampling import icnr as icnr

# Periodic
from jaxinit.initializers.fourier_features import fourier_features as fourier_features
from jaxinit.initializers.siren import siren as siren

# Recurrent
from jaxinit.initializers.gate_bias import chrono as chrono
from jaxinit.initializers.gate_bias import forget_gate_bias as forget_gate_bias
from jaxinit.initializers.gate_bias import uniform_gate as uniform_gate
from jaxinit.initializers.recurrent import IRNN as IRNN
from jaxinit.initializers.recurrent import irnn as irnn
from jaxinit.initializers.recurrent import orthogonal_gates as orthogonal_gates

# State space
from jaxinit.initializers.linear_recurrence import lru_gamma_log as lru_gamma_log
from jaxinit.initializers.linear_recurrence import lru_ring as lru_ring
from jaxinit.initializers.linear_recurrence import rg_lru as rg_lru
from jaxinit.initializers.state_space import hippo_legs as hippo_legs
from jaxinit.initializers.state_space import hippo_legs_input as hippo_legs_input
from jaxinit.initializers.state_space import hippo_legs_low_rank as hippo_legs_low_rank
from jaxinit.initializers.state_space import s4d_inv as s4d_inv
from jaxinit.initializers.state_space import s4d_lin as s4d_lin
from jaxinit.initializers.state_space import s4d_real as s4d_real
from jaxinit.initializers.timestep import log_uniform_timestep as log_uniform_timestep
from jaxinit.initializers.timestep import mamba_a_log as mamba_a_log
from jaxinit.initializers.timestep import mamba_timestep_bias as mamba_timestep_bias
from jaxinit.initializers.timestep import mamba_timestep_kernel as mamba_timestep_kernel

__all__ = [
    "IRNN",
    "ActivationMoments",
    "Fans",
    "Initializer",
    "activation_moments",
    "bilinear_upsample",
    "blocked",
    "calculate_gain",
    "cast",
    "centered",
    "chrono",
    "class_prior_bias",
    "constant",
    "convolutional_orthogonal",
    "critical_init",
    "delta_orthogonal",
    "dirac",
    "embedding",
    "fan_in_uniform_bias",
    "fans",
    "for_haiku",
    "for_keras",
    "forget_gate_bias",
    "fourier_features",
    "from_array",
    "from_config",
    "from_einsum",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "hippo_legs",
    "hippo_legs_input",
    "hippo_legs_low_rank",
    "icnr",
    "identity",
    "idinit",
    "irnn",
    "kaiming_normal",
    "kaiming_uniform",
    "keras_objects",
    "kronecker_orthogonal",
    "lecun_normal",
    "lecun_uniform",
    "log_uniform_timestep",
    "looks_linear",
    "lru_gamma_log",
    "lru_ring",
    "mamba_a_log",
    "mamba_timestep_bias",
    "mamba_timestep_kernel",
    "masked",
    "nguyen_widrow",
    "nguyen_widrow_bias",
    "normal",
    "normalized",
    "ones",
    "ones_init",
    "orthogonal",
    "orthogonal_gates",
    "prior_bias",
    "random_walk",
    "random_walk_gain",
    "relu_bias",
    "rg_lru",
    "s4d_inv",
    "s4d_lin",
    "s4d_real",
    "scale",
    "scaled_by_activation",
    "scaled_orthogonal",
    "self_normalizing",
    "sinusoidal",
    "siren",
    "sparse",
    "spectral_normal",
    "spectral_orthogonal",
    "stacked",
    "symmetric_uniform",
    "to_config",
    "truncated_normal",
    "uniform",
    "uniform_between",
    "uniform_gate",
    "variance_scaling",
    "with_axes",
    "xavier_normal",
    "xavier_uniform",
    "zero_hadamard",
    "zeros",
    "zeros_init",
]
