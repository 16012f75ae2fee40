"""What the outputs need is kept, the rest is dropped, in every kind of body."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinit.program import versions
from jaxinit.program.program import build
from jaxinit.program.prune import UNREAD, prune, reached
from tests.zoo import feedforward, transformer


def primitives(block):
    """The names of all equations, those of loops and branches included."""
    return [
        name
        for node in block.nodes
        for name in (node.primitive, *(n for b in node.bodies for n in primitives(b)))
    ]


def traced(function, *args):
    return versions.trace(function, *args)[0]


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (feedforward.MLP(), np.ones((2, 16))),
        (transformer.ScannedGPT(), np.ones((2, 8), np.int32)),
    ],
)
def test_the_forward_pass_of_an_init_is_dropped(model, x):
    program = traced(lambda key: model.init(key, x), jax.random.key(0))

    kept = primitives(prune(build(program)))

    assert "dot_general" not in kept
    assert "random_bits" in kept


@jax.custom_jvp
def doubled(x):
    return 2 * x, jnp.sin(x)


doubled.defjvp(lambda primals, tangents: (doubled(*primals), doubled(*tangents)))


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, lambda f: f])
def test_calls_are_opened(wrap):
    program = traced(lambda x: wrap(doubled)(x)[0], 1.0)

    assert primitives(prune(build(program))) == ["mul"]


def test_scans_keep_what_is_read():
    def run(x, unused):
        def body(carry, xs):
            used, dead, feeds = carry
            return (used + feeds, dead @ unused, feeds * xs), (used, dead.sum())

        carry = (x, unused, x)
        (used, *_), (ys, _) = lax.scan(body, carry, jnp.arange(3.0))
        return used, ys

    block = prune(build(traced(run, 1.0, jnp.eye(2))))
    (node,) = [n for n in block.nodes if n.primitive == "scan"]

    # Of the carries x, unused, x and the scanned numbers; of carries and outputs.
    assert [v is not UNREAD for v in node.operands[-4:]] == [True, False, True, True]
    assert node.wanted == (True, False, True, True, False)
    assert "dot_general" not in primitives(node.bodies[0])


def test_while_loops_keep_what_ends_them():
    def run(x):
        state = (0, x, jnp.eye(2))
        return lax.while_loop(
            lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2, s[2] @ s[2]), state
        )[1]

    block = prune(build(traced(run, 1.0)))
    (node,) = [n for n in block.nodes if n.primitive == "while"]

    assert node.wanted == (True, True, False)
    assert node.operands[-1] is UNREAD
    assert "dot_general" not in primitives(node.bodies[0])


def test_branches_keep_what_any_of_them_reads():
    def run(pick, x, y, dead):
        return lax.cond(
            pick, lambda: (x + 1, dead @ dead), lambda: (y * 2, dead @ dead.T)
        )[0]

    block = prune(build(traced(run, True, 1.0, 2.0, jnp.eye(2))))
    (node,) = [n for n in block.nodes if n.primitive == "cond"]

    assert [v is UNREAD for v in node.operands].count(True) == 1
    assert "dot_general" not in primitives(block)


def test_dependence_is_followed_through_loops():
    def run(x, y):
        def body(carry, _):
            first, second, third = carry
            return (first, first + second, third + 1), third

        return lax.scan(body, (x, y, 0.0), length=3)

    block = prune(build(traced(run, 1.0, 1.0)))

    assert reached(block, [True, False])[1] == [True, True, False, False]
    assert reached(block, [False, True])[1] == [False, True, False, False]


def test_what_a_loop_does_depends_on_how_long_it_runs():
    def run(stop):
        return lax.while_loop(
            lambda s: s[0] < stop, lambda s: (s[0] + 1, s[1] * 2), (0, 1.0)
        )

    assert reached(prune(build(traced(run, 3))), [True])[1] == [True, True]
