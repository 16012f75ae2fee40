"""Whole networks: every parameter of a model by a published scheme."""

from jaxinit.networks.explain import Explained as Explained
from jaxinit.networks.explain import Explanation as Explanation
from jaxinit.networks.explain import explain as explain
from jaxinit.networks.initialize import initialize as initialize
from jaxinit.networks.learned.gradinit import gradinit as gradinit
from jaxinit.networks.learned.learn_norms import gradient_quotient as gradient_quotient
from jaxinit.networks.learned.metainit import metainit as metainit
from jaxinit.networks.network import ROLES as ROLES
from jaxinit.networks.network import Network as Network
from jaxinit.networks.network import Parameter as Parameter
from jaxinit.networks.presets.framework import framework as framework
from jaxinit.networks.presets.vision import efficientnet as efficientnet
from jaxinit.networks.presets.vision import vit_jax as vit_jax
from jaxinit.networks.pretrain.denoising import (
    denoising_autoencoder as denoising_autoencoder,
)
from jaxinit.networks.pretrain.greedy_pretrain import greedy_pretrain as greedy_pretrain
from jaxinit.networks.pretrain.rbm import rbm as rbm
from jaxinit.networks.residual.branch_scaling import branch_scaling as branch_scaling
from jaxinit.networks.residual.fixup import fixup as fixup
from jaxinit.networks.residual.structure import ResidualBranch as ResidualBranch
from jaxinit.networks.residual.structure import ResidualStructure as ResidualStructure
from jaxinit.networks.residual.structure import residual_structure as residual_structure
from jaxinit.networks.residual.zero_gains import layer_scale as layer_scale
from jaxinit.networks.residual.zero_gains import rezero as rezero
from jaxinit.networks.residual.zero_gains import skip_init as skip_init
from jaxinit.networks.residual.zero_gains import zero_gamma as zero_gamma
from jaxinit.networks.residual.zero_gains import (
    zero_output_projection as zero_output_projection,
)
from jaxinit.networks.rules import Where as Where
from jaxinit.networks.rules import as_stored as as_stored
from jaxinit.networks.rules import changed as changed
from jaxinit.networks.rules import override as override
from jaxinit.networks.rules import path as path
from jaxinit.networks.rules import role as role
from jaxinit.networks.rules import rules as rules
from jaxinit.networks.scheme import Assignment as Assignment
from jaxinit.networks.scheme import Refined as Refined
from jaxinit.networks.scheme import Scheme as Scheme
from jaxinit.networks.transfer.initialize_lora import initialize_lora as initialize_lora
from jaxinit.networks.transfer.load import load_partial as load_partial
from jaxinit.networks.transfer.load import torch_layout as torch_layout
from jaxinit.networks.transfer.load_report import LoadedLeaf as LoadedLeaf
from jaxinit.networks.transfer.load_report import LoadReport as LoadReport
from jaxinit.networks.transfer.lora import LowRank as LowRank
from jaxinit.networks.transfer.lora import lora as lora
from jaxinit.networks.transfer.lora import lora_scale as lora_scale
from jaxinit.networks.transfer.lora import milora as milora
from jaxinit.networks.transfer.lora import olora as olora
from jaxinit.networks.transfer.lora import pissa as pissa
from jaxinit.networks.transfer.net2deeper import net2deeper as net2deeper
from jaxinit.networks.transfer.net2wider import net2wider as net2wider
from jaxinit.networks.transfer.shrink_perturb import shrink_perturb as shrink_perturb
from jaxinit.networks.transformer.deepnorm import DeepNormConstants as DeepNormConstants
from jaxinit.networks.transformer.deepnorm import EncoderDecoder as EncoderDecoder
from jaxinit.networks.transformer.deepnorm import deepnorm as deepnorm
from jaxinit.networks.transformer.deepnorm import deepnorm_alpha as deepnorm_alpha
from jaxinit.networks.transformer.deepnorm import (
    deepnorm_constants as deepnorm_constants,
)
from jaxinit.networks.transformer.deepnorm import sub_ln as sub_ln
from jaxinit.networks.transformer.depth_index import depth_index as depth_index
from jaxinit.networks.transformer.gpt2 import full_megatron as full_megatron
from jaxinit.networks.transformer.gpt2 import gpt2 as gpt2
from jaxinit.networks.transformer.mimetic import mimetic as mimetic
from jaxinit.networks.transformer.mitchell import mitchell as mitchell
from jaxinit.networks.transformer.small_init import small_init as small_init
from jaxinit.networks.transformer.small_init import wang_init as wang_init
from jaxinit.networks.transformer.t5 import t5 as t5
from jaxinit.networks.transformer.t_fixup import t_fixup as t_fixup
from jaxinit.networks.variance.autoinit import autoinit as autoinit
from jaxinit.networks.variance.lsuv import act_norm as act_norm
from jaxinit.networks.variance.lsuv import data_dependent as data_dependent
from jaxinit.networks.variance.lsuv import lsuv as lsuv
from jaxinit.networks.width.depth_mup import DepthFactors as DepthFactors
from jaxinit.networks.width.depth_mup import depth_mup_factors as depth_mup_factors
from jaxinit.networks.width.depth_mup import (
    depth_mup_multipliers as depth_mup_multipliers,
)
from jaxinit.networks.width.infinite_axes import Width as Width
from jaxinit.networks.width.infinite_axes import mup_widths as mup_widths
from jaxinit.networks.width.mup import mup as mup
from jaxinit.networks.width.mup_optimizer import mup_adamw as mup_adamw
from jaxinit.networks.width.mup_optimizer import mup_multipliers as mup_multipliers
from jaxinit.networks.width.mup_optimizer import scale_by_mup as scale_by_mup
from jaxinit.networks.width.spectral import spectral as spectral
from jaxinit.networks.width.spectral import spectral_multipliers as spectral_multipliers

__all__ = [
    "ROLES",
    "Assignment",
    "DeepNormConstants",
    "DepthFactors",
    "EncoderDecoder",
    "Explained",
    "Explanation",
    "LoadReport",
    "LoadedLeaf",
    "LowRank",
    "Network",
    "Parameter",
    "Refined",
    "ResidualBranch",
    "ResidualStructure",
    "Scheme",
    "Where",
    "Width",
    "act_norm",
    "as_stored",
    "autoinit",
    "branch_scaling",
    "changed",
    "data_dependent",
    "deepnorm",
    "deepnorm_alpha",
    "deepnorm_constants",
    "denoising_autoencoder",
    "depth_index",
    "depth_mup_factors",
    "depth_mup_multipliers",
    "efficientnet",
    "explain",
    "fixup",
    "framework",
    "full_megatron",
    "gpt2",
    "gradient_quotient",
    "gradinit",
    "greedy_pretrain",
    "initialize",
    "initialize_lora",
    "layer_scale",
    "load_partial",
    "lora",
    "lora_scale",
    "lsuv",
    "metainit",
    "milora",
    "mimetic",
    "mitchell",
    "mup",
    "mup_adamw",
    "mup_multipliers",
    "mup_widths",
    "net2deeper",
    "net2wider",
    "olora",
    "override",
    "path",
    "pissa",
    "rbm",
    "residual_structure",
    "rezero",
    "role",
    "rules",
    "scale_by_mup",
    "shrink_perturb",
    "skip_init",
    "small_init",
    "spectral",
    "spectral_multipliers",
    "sub_ln",
    "t5",
    "t_fixup",
    "torch_layout",
    "vit_jax",
    "wang_init",
    "zero_gamma",
    "zero_output_projection",
]
