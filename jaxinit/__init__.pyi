"""The names of `jaxinit` and where each comes from; `__init__.py` reads them here."""

from typing import Any

from jaxinit import initializers as initializers
from jaxinit import schemes as schemes
from jaxinit import theory as theory
from jaxinit import transfer as transfer
from jaxinit._caches import clear_caches as clear_caches
from jaxinit.draw.fast_init import abstract_init as abstract_init
from jaxinit.draw.fast_init import fast_init as fast_init
from jaxinit.initializers import calculate_gain as calculate_gain
from jaxinit.initializers import constant as constant
from jaxinit.initializers import critical_init as critical_init
from jaxinit.initializers import delta_orthogonal as delta_orthogonal
from jaxinit.initializers import glorot_normal as glorot_normal
from jaxinit.initializers import glorot_uniform as glorot_uniform
from jaxinit.initializers import he_normal as he_normal
from jaxinit.initializers import he_uniform as he_uniform
from jaxinit.initializers import identity as identity
from jaxinit.initializers import lecun_normal as lecun_normal
from jaxinit.initializers import lecun_uniform as lecun_uniform
from jaxinit.initializers import normal as normal
from jaxinit.initializers import ones as ones
from jaxinit.initializers import orthogonal as orthogonal
from jaxinit.initializers import truncated_normal as truncated_normal
from jaxinit.initializers import uniform as uniform
from jaxinit.initializers import variance_scaling as variance_scaling
from jaxinit.initializers import zeros as zeros
from jaxinit.layers.tap import tap as tap
from jaxinit.models.functional import Functional as Functional
from jaxinit.report.findings import Finding as Finding
from jaxinit.report.findings import UnhealthyError as UnhealthyError
from jaxinit.report.measured import Row as Row
from jaxinit.report.remedy import Remedy as Remedy
from jaxinit.report.report import Report as Report
from jaxinit.schemes import autoinit as autoinit
from jaxinit.schemes import explain as explain
from jaxinit.schemes import fixup as fixup
from jaxinit.schemes import gpt2 as gpt2
from jaxinit.schemes import initialize as initialize
from jaxinit.schemes import lsuv as lsuv
from jaxinit.schemes import mup as mup
from jaxinit.schemes import override as override
from jaxinit.schemes import residual_structure as residual_structure
from jaxinit.schemes import t_fixup as t_fixup
from jaxinit.signal.analyze import analyze as analyze
from jaxinit.signal.compare import compare as compare
from jaxinit.signal.compare_result import Comparison as Comparison
from jaxinit.signal.inside.statistics import StepStatistics as StepStatistics
from jaxinit.signal.observe import observe as observe
from jaxinit.signal.observe import observe_grad as observe_grad
from jaxinit.signal.plan import RunPlan as RunPlan
from jaxinit.signal.remedies.mend import Mended as Mended
from jaxinit.signal.remedies.mend import mend as mend
from jaxinit.train.coord_check import coord_check as coord_check
from jaxinit.train.coord_result import CoordCheck as CoordCheck
from jaxinit.train.learning_rate_transfer import (
    learning_rate_transfer as learning_rate_transfer,
)
from jaxinit.train.race import race as race
from jaxinit.train.race_result import Race as Race
from jaxinit.train.transfer_result import RateTransfer as RateTransfer
from jaxinit.transfer import load_partial as load_partial

__version__: str

def __getattr__(name: str) -> Any: ...  # any other name of the three rooms
