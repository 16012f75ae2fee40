"""Initializers and signal-propagation analysis for JAX and Flax models."""
# isort: off

# The analyzer
from jaxinit.signal.analyze import analyze as analyze
from jaxinit.report.findings import Finding as Finding
from jaxinit.report.findings import UnhealthyError as UnhealthyError
from jaxinit.report.report import Report as Report
from jaxinit.report.report import Row as Row

from jaxinit.signal.compare import Comparison as Comparison
from jaxinit.signal.compare import compare as compare

# Whole networks
from jaxinit.schemes import *  # noqa: F403

# Weights from elsewhere
from jaxinit.transfer import *  # noqa: F403

# What it takes beside Flax modules, and a name for any value in one
from jaxinit.models.functional import Functional as Functional
from jaxinit.layers.tap import tap as tap

# Every initializer
from jaxinit import initializers as initializers
from jaxinit.initializers import *  # noqa: F403
