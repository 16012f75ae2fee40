"""Weights from elsewhere: loaded, grown, adapted at low rank."""

from jaxinit.transfer.initialize_lora import initialize_lora as initialize_lora
from jaxinit.transfer.load import load_partial as load_partial
from jaxinit.transfer.load import torch_heads as torch_heads
from jaxinit.transfer.load import torch_layout as torch_layout
from jaxinit.transfer.load_report import LoadedLeaf as LoadedLeaf
from jaxinit.transfer.load_report import LoadReport as LoadReport
from jaxinit.transfer.lora import LowRank as LowRank
from jaxinit.transfer.lora import lora as lora
from jaxinit.transfer.lora import lora_scale as lora_scale
from jaxinit.transfer.lora import milora as milora
from jaxinit.transfer.lora import olora as olora
from jaxinit.transfer.lora import pissa as pissa
from jaxinit.transfer.lora_data import corda as corda
from jaxinit.transfer.lora_data import eva as eva
from jaxinit.transfer.lora_data import lora_ga as lora_ga
from jaxinit.transfer.net2deeper import net2deeper as net2deeper
from jaxinit.transfer.net2wider import net2wider as net2wider
from jaxinit.transfer.shrink_perturb import shrink_perturb as shrink_perturb
from jaxinit.transfer.weight_selection import weight_selection as weight_selection

__all__ = [
    "LoadReport",
    "LoadedLeaf",
    "LowRank",
    "corda",
    "eva",
    "initialize_lora",
    "load_partial",
    "lora",
    "lora_ga",
    "lora_scale",
    "milora",
    "net2deeper",
    "net2wider",
    "olora",
    "pissa",
    "shrink_perturb",
    "torch_heads",
    "torch_layout",
    "weight_selection",
]
