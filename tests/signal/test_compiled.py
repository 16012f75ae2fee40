"""What the compiler makes of the statistics of blocks that repeat."""

import re

import jax
import jax.numpy as jnp
import pytest

import jaxinit
from jaxinit.signal.compiled import Compiled, abstract_arguments
from jaxinit.signal.prepare import Options, prepare

pytestmark = pytest.mark.internals

X = jax.random.normal(jax.random.key(1), (4, 8))
DEPTH = 12


def init(key, x):
    keys = jax.random.split(key, DEPTH)
    return {f"dense_{i}": jax.random.normal(k, (8, 8)) for i, k in enumerate(keys)}


def apply(params, x):
    for i in range(DEPTH):  # dense_10 comes before dense_2 in the tree
        x = jnp.tanh(x @ params[f"dense_{i}"])
    return x


def test_weights_of_a_loop_are_stacked_once_and_their_gradients_never():
    options = Options(2, 0, None, "auto", None, None, None, (), roll=True, judge=False)
    made = prepare(jaxinit.Functional(init, apply), (X,), {}, options)
    programs = Compiled(made.analysis, None)

    text = programs.program(0, *abstract_arguments(made.analysis, 0)).as_text()

    stacks = re.findall(rf"= f32\[{DEPTH},8,8\]\S* concatenate\(", text)
    assert len(stacks) == 1
