"""What PyTorch users write to measure a model's signal: hooks on every layer.

Run by the suite as ``python -m benchmarks.hooks SPEC``, in an environment that needs
nothing but torch, on its GPU where it sees one. The models are those of ``models``,
with PyTorch's own modules. The careful user's way: the model and its hooks are made
once and for each seed only drawn anew; weights are plain normals, which PyTorch draws
much faster than truncated ones; numbers stay on the device until all seeds are done.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.serve import serve

_LEAVES = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.BatchNorm2d, nn.Embedding)


class Residual(nn.Module):
    """``x + branch(x)``, or with a projection beside it, and what comes behind."""

    def __init__(
        self, branch: nn.Module, skip: nn.Module | None = None, relu: bool = False
    ) -> None:
        super().__init__()
        self.branch, self.skip, self.relu = branch, skip or nn.Identity(), relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.skip(x) + self.branch(x)
        return x.relu() if self.relu else x


class Attention(nn.Module):
    def __init__(self, width: int, causal: bool, heads: int = 4) -> None:
        super().__init__()
        self.causal, self.heads = causal, heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(width, width) for _ in range(4)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def split(y: torch.Tensor) -> torch.Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        y = nn.functional.scaled_dot_product_attention(
            split(self.query(x)),
            split(self.key(x)),
            split(self.value(x)),
            is_causal=self.causal,
        )
        return self.out(y.transpose(1, 2).flatten(2))


def _block(width: int, causal: bool) -> nn.Module:
    attention = nn.Sequential(nn.LayerNorm(width), Attention(width, causal))
    mlp = nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width),
        nn.GELU("tanh"),
        nn.Linear(4 * width, width),
    )
    return nn.Sequential(Residual(attention), Residual(mlp))


class GPT(nn.Module):
    """Blocks between an embedding and itself as the readout."""

    def __init__(self, depth: int, width: int, length: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(256, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(_block(width, True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.blocks(self.tokens(tokens) + self.places(places))
        return self.norm(x) @ self.tokens.weight.T


class ViT(nn.Module):
    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.places = nn.Parameter(torch.empty(64, width))
        blocks = (_block(width, False) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks, nn.LayerNorm(width))
        self.out = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.out(self.blocks(x).mean(1))


class LSTM(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell = nn.LSTM(16, width, batch_first=True)
        self.out = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.cell(x)[0][:, -1])


def _mlp(depth: int, width: int) -> nn.Module:
    layers = ((nn.Linear(width, width), nn.Tanh()) for _ in range(depth))
    return nn.Sequential(*(layer for pair in layers for layer in pair))


def _conv(into: int, out: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(out)]


def _pooled(features: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 10)]


def _convnet(depth: int, features: int) -> nn.Module:
    layers: list[nn.Module] = []
    for number in range(depth):
        layers += [*_conv(features if number else 3, features), nn.ReLU()]
    return nn.Sequential(*layers, *_pooled(features))


def _resnet(features: int, blocks: int) -> nn.Module:
    layers = [*_conv(3, features), nn.ReLU()]
    into = features
    for stage in range(4):
        out = features * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            branch = [*_conv(into, out, 3, stride), nn.ReLU(), *_conv(out, out)]
            skip = None if into == out else nn.Sequential(*_conv(into, out, 1, stride))
            layers.append(Residual(nn.Sequential(*branch), skip, relu=True))
            into = out
    return nn.Sequential(*layers, *_pooled(into))


def _tokens(batch: int, length: int, **_: int) -> torch.Tensor:
    return torch.randint(256, (batch, length))


def _images(batch: int, **_: int) -> torch.Tensor:
    return torch.randn(batch, 3, 32, 32)


MODELS: dict[str, tuple[Callable[..., nn.Module], Callable[..., torch.Tensor]]] = {
    "mlp": (_mlp, lambda batch, width, **_: torch.randn(batch, width)),
    "convnet": (_convnet, _images),
    "gpt": (GPT, _tokens),
    "resnet": (_resnet, _images),
    "vit": (ViT, _images),
    "lstm": (LSTM, lambda batch, time, **_: torch.randn(batch, time, 16)),
}


def prepare(
    workload: str, sizes: dict[str, int], seeds: int, contender: str
) -> Callable[[], dict[str, Any]]:
    """The function that measures all seeds."""
    del contender
    make, inputs = MODELS[workload.split("-")[0]]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = inputs(**sizes).to(device)
    of_model = {k: v for k, v in sizes.items() if k not in ("batch", "time")}

    def run() -> dict[str, Any]:
        with torch.device(device):
            model = make(**of_model)
        rows: list[torch.Tensor] = []

        def hook(module: nn.Module, given: Any, out: torch.Tensor) -> None:
            y = out.detach()
            square = (y * y).mean()
            rows.append(torch.stack([y.mean(), y.var(correction=0), square]))
            out.register_hook(lambda gradient: rows.append((gradient**2).mean()))

        for module in model.modules():
            if isinstance(module, _LEAVES):
                module.register_forward_hook(hook)
        found = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            _draw(model)
            model.zero_grad(set_to_none=True)
            y = model(x)
            y.backward(torch.randn_like(y))
            rows += [(p.grad**2).mean() for p in model.parameters()]
            found.append(list(rows))
            rows.clear()
        # One copy to the host for all numbers.
        torch.cat([row.reshape(-1) for seed in found for row in seed]).cpu()
        return {"device": device, "version": torch.__version__, **_device_peak()}

    return run


def _device_peak() -> dict[str, int]:
    if not torch.cuda.is_available():
        return {}
    return {"peak": torch.cuda.max_memory_allocated()}


@torch.no_grad()
def _draw(model: nn.Module) -> None:
    """Every weight anew: normals of variance one over fan-in, biases zero."""
    for module in model.modules():
        for name, value in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                value.fill_(1.0 if name == "weight" else 0.0)
            elif value.ndim < 2:
                value.zero_()
            else:
                value.normal_(std=value[0].numel() ** -0.5)


if __name__ == "__main__":
    serve(prepare)
