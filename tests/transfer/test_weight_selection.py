"""A part of a larger model's weights, the same along axes of the same size."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinit.transfer.weight_selection import weight_selection


def model(width, depth=2, outputs=3):
    count = iter(range(10**6))

    def array(*shape):
        return jnp.asarray(
            np.reshape([next(count) for _ in range(int(np.prod(shape)))], shape),
            jnp.float32,
        )

    return {
        "params": {
            "stem": {"kernel": array(4, width), "bias": array(width)},
            "blocks": {"kernel": array(depth, width, width)},
            "head": {"kernel": array(width, outputs)},
        }
    }


def test_every_second_unit_and_the_first_layers():
    small, large = model(3, depth=2), model(6, depth=5)
    found = weight_selection(small, large, layers=["blocks/**"])["params"]
    source = large["params"]

    every = np.arange(3) * 2
    np.testing.assert_array_equal(
        found["stem"]["kernel"], source["stem"]["kernel"][:, every]
    )
    np.testing.assert_array_equal(found["stem"]["bias"], source["stem"]["bias"][every])
    np.testing.assert_array_equal(
        found["blocks"]["kernel"], source["blocks"]["kernel"][:2, every][:, :, every]
    )
    np.testing.assert_array_equal(
        found["head"]["kernel"], source["head"]["kernel"][every]
    )


def test_sizes_that_do_not_divide_reach_both_ends():
    found = weight_selection({"b": jnp.zeros(3)}, {"b": jnp.arange(8.0)})

    np.testing.assert_array_equal(found["b"], [0, 4, 7])  # 3.5 rounds to even


@pytest.mark.parametrize(
    ("small", "large", "layers", "says"),
    [
        ({"a": jnp.zeros(3)}, {"b": jnp.zeros(3)}, [], "must have 'a' with at least"),
        ({"a": jnp.zeros(3)}, {"a": jnp.zeros(2)}, [], r"shape \(3,\), got \(2,\)"),
        ({"a": jnp.zeros(3)}, {"a": jnp.zeros((3, 3))}, [], r"got \(3, 3\)"),
        ({"a": jnp.zeros(3)}, {"a": jnp.zeros(3)}, ["b/*"], "pattern 'b/\\*'"),
    ],
)
def test_what_does_not_fit(small, large, layers, says):
    with pytest.raises(ValueError, match=says):
        weight_selection(small, large, layers=layers)
