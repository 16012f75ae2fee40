"""PyTorch weights, as a state dict of NumPy arrays or a safetensors file.

python -m examples.recipes.torch_weights
"""

import jax
import numpy as np
from flax import linen as nn

import jaxinit
from jaxinit import transfer


class Net(nn.Module):
    """The flax twin of ``Sequential(Linear(4, 16), ReLU(), Linear(16, 3))``."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(16)(x))
        return nn.Dense(3)(x)


# What `{k: v.numpy() for k, v in model.state_dict().items()}` gives: (out, in).
generator = np.random.default_rng(0)
STATE_DICT = {
    "net.0.weight": generator.normal(0, 0.7, (16, 4)).astype(np.float32),
    "net.0.bias": np.zeros(16, np.float32),
    "net.2.weight": generator.normal(0, 0.3, (3, 16)).astype(np.float32),
    "net.2.bias": np.zeros(3, np.float32),
}
NAMES = {
    "Dense_0/kernel": "net.0.weight",
    "Dense_0/bias": "net.0.bias",
    "Dense_1/kernel": "net.2.weight",
    "Dense_1/bias": "net.2.bias",
}


def main() -> tuple[dict, jaxinit.Report]:
    """Loads the weights, every one of them, and measures the model that has them."""
    model, x = Net(), jax.random.normal(jax.random.key(0), (32, 4))
    fresh = model.init(jax.random.key(1), x)
    # A path ending in `.safetensors` will do in place of the dict.
    variables, account = jaxinit.load_partial(
        fresh,
        STATE_DICT,
        NAMES,
        transform=transfer.torch_layout,
        missing="error",
        unused="error",
    )
    print(account)
    return variables, jaxinit.analyze(model, x, variables=variables)


if __name__ == "__main__":
    print(main()[1])
