"""Whole networks: every parameter of a model by a published scheme."""

from jaxinit.roles.network import ROLES as ROLES
from jaxinit.roles.network import Network as Network
from jaxinit.roles.network import Parameter as Parameter
from jaxinit.schemes.data.autoinit import autoinit as autoinit
from jaxinit.schemes.data.lsuv import act_norm as act_norm
from jaxinit.schemes.data.lsuv import data_dependent as data_dependent
from jaxinit.schemes.data.lsuv import lsuv as lsuv
from jaxinit.schemes.explain import Explained as Explained
from jaxinit.schemes.explain import Explanation as Explanation
from jaxinit.schemes.explain import explain as explain
from jaxinit.schemes.initialize import initialize as initialize
from jaxinit.schemes.learned.gradinit import gradinit as gradinit
from jaxinit.schemes.learned.learn_norms import gradient_quotient as gradient_quotient
from jaxinit.schemes.learned.metainit import metainit as metainit
from jaxinit.schemes.presets.diffusion import dit as dit
from jaxinit.schemes.presets.dynamic_tanh import dynamic_tanh as dynamic_tanh
from jaxinit.schemes.presets.framework import framework as framework
from jaxinit.schemes.presets.hyper_connections import (
    hyper_connection as hyper_connection,
)
from jaxinit.schemes.presets.language import nanochat as nanochat
from jaxinit.schemes.presets.language import ngpt as ngpt
from jaxinit.schemes.presets.olmo import llama as llama
from jaxinit.schemes.presets.olmo import llama_depth as llama_depth
from jaxinit.schemes.presets.olmo import olmo2 as olmo2
from jaxinit.schemes.presets.vision import efficientnet as efficientnet
from jaxinit.schemes.presets.vision import vit_jax as vit_jax
from jaxinit.schemes.pretrain.denoising import (
    denoising_autoencoder as denoising_autoencoder,
)
from jaxinit.schemes.pretrain.greedy_pretrain import greedy_pretrain as greedy_pretrain
from jaxinit.schemes.pretrain.rbm import rbm as rbm
from jaxinit.schemes.residual.branch_scaling import branch_scaling as branch_scaling
from jaxinit.schemes.residual.fixup import fixup as fixup
from jaxinit.schemes.residual.structure import ResidualBranch as ResidualBranch
from jaxinit.schemes.residual.structure import ResidualStructure as ResidualStructure
from jaxinit.schemes.residual.structure import residual_structure as residual_structure
from jaxinit.schemes.residual.zero_gains import layer_scale as layer_scale
from jaxinit.schemes.residual.zero_gains import rezero as rezero
from jaxinit.schemes.residual.zero_gains import skip_init as skip_init
from jaxinit.schemes.residual.zero_gains import zero_gamma as zero_gamma
from jaxinit.schemes.residual.zero_gains import (
    zero_output_projection as zero_output_projection,
)
from jaxinit.schemes.rules import Where as Where
from jaxinit.schemes.rules import as_stored as as_stored
from jaxinit.schemes.rules import changed as changed
from jaxinit.schemes.rules import override as override
from jaxinit.schemes.rules import path as path
from jaxinit.schemes.rules import role as role
from jaxinit.schemes.rules import rules as rules
from jaxinit.schemes.scheme import Assignment as Assignment
from jaxinit.schemes.scheme import Refined as Refined
from jaxinit.schemes.scheme import Scheme as Scheme
from jaxinit.schemes.transformer.deepnorm import DeepNormConstants as DeepNormConstants
from jaxinit.schemes.transformer.deepnorm import EncoderDecoder as EncoderDecoder
from jaxinit.schemes.transformer.deepnorm import deepnorm as deepnorm
from jaxinit.schemes.transformer.deepnorm import deepnorm_alpha as deepnorm_alpha
from jaxinit.schemes.transformer.deepnorm import (
    deepnorm_constants as deepnorm_constants,
)
from jaxinit.schemes.transformer.deepnorm import sub_ln as sub_ln
from jaxinit.schemes.transformer.depth_index import depth_index as depth_index
from jaxinit.schemes.transformer.gpt2 import full_megatron as full_megatron
from jaxinit.schemes.transformer.gpt2 import gpt2 as gpt2
from jaxinit.schemes.transformer.mimetic import mimetic as mimetic
from jaxinit.schemes.transformer.mitchell import mitchell as mitchell
from jaxinit.schemes.transformer.small_init import small_init as small_init
from jaxinit.schemes.transformer.small_init import wang_init as wang_init
from jaxinit.schemes.transformer.t5 import t5 as t5
from jaxinit.schemes.transformer.t_fixup import t_fixup as t_fixup
from jaxinit.schemes.untouched import UntouchedWarning as UntouchedWarning
from jaxinit.schemes.width.complete_p import CompleteP as CompleteP
from jaxinit.schemes.width.complete_p import complete_p as complete_p
from jaxinit.schemes.width.depth_mup import DepthFactors as DepthFactors
from jaxinit.schemes.width.depth_mup import depth_mup_factors as depth_mup_factors
from jaxinit.schemes.width.depth_mup import (
    depth_mup_multipliers as depth_mup_multipliers,
)
from jaxinit.schemes.width.infinite_axes import Width as Width
from jaxinit.schemes.width.infinite_axes import mup_widths as mup_widths
from jaxinit.schemes.width.matrix_optimizers import muon_matrices as muon_matrices
from jaxinit.schemes.width.mup import mup as mup
from jaxinit.schemes.width.mup_epsilon import mup_epsilons as mup_epsilons
from jaxinit.schemes.width.mup_optimizer import mup_adamw as mup_adamw
from jaxinit.schemes.width.mup_optimizer import mup_multipliers as mup_multipliers
from jaxinit.schemes.width.mup_optimizer import scale_by_mup as scale_by_mup
from jaxinit.schemes.width.spectral import spectral as spectral
from jaxinit.schemes.width.spectral import spectral_multipliers as spectral_multipliers
from jaxinit.schemes.width.unit_mup import UnitMup as UnitMup
from jaxinit.schemes.width.unit_mup import multiplied as multiplied
from jaxinit.schemes.width.unit_mup import unit_mup as unit_mup
from jaxinit.schemes.width.unit_mup import unit_mup_factors as unit_mup_factors

__all__ = [
    "ROLES",
    "Assignment",
    "CompleteP",
    "DeepNormConstants",
    "DepthFactors",
    "EncoderDecoder",
    "Explained",
    "Explanation",
    "Network",
    "Parameter",
    "Refined",
    "ResidualBranch",
    "ResidualStructure",
    "Scheme",
    "UnitMup",
    "UntouchedWarning",
    "Where",
    "Width",
    "act_norm",
    "as_stored",
    "autoinit",
    "branch_scaling",
    "changed",
    "complete_p",
    "data_dependent",
    "deepnorm",
    "deepnorm_alpha",
    "deepnorm_constants",
    "denoising_autoencoder",
    "depth_index",
    "depth_mup_factors",
    "depth_mup_multipliers",
    "dit",
    "dynamic_tanh",
    "efficientnet",
    "explain",
    "fixup",
    "framework",
    "full_megatron",
    "gpt2",
    "gradient_quotient",
    "gradinit",
    "greedy_pretrain",
    "hyper_connection",
    "initialize",
    "layer_scale",
    "llama",
    "llama_depth",
    "lsuv",
    "metainit",
    "mimetic",
    "mitchell",
    "multiplied",
    "muon_matrices",
    "mup",
    "mup_adamw",
    "mup_epsilons",
    "mup_multipliers",
    "mup_widths",
    "nanochat",
    "ngpt",
    "olmo2",
    "override",
    "path",
    "rbm",
    "residual_structure",
    "rezero",
    "role",
    "rules",
    "scale_by_mup",
    "skip_init",
    "small_init",
    "spectral",
    "spectral_multipliers",
    "sub_ln",
    "t5",
    "t_fixup",
    "unit_mup",
    "unit_mup_factors",
    "vit_jax",
    "wang_init",
    "zero_gamma",
    "zero_output_projection",
]
