"""Settings of all tests."""

import os

# What a test compiles runs once: on CPU less optimization saves a third of the time.
# Read when jax starts its backend, after this; subprocesses inherit it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)
