"""Average pooling that can be trained on a GPU with the same result every time."""

from typing import Any, cast

import torch
from torch import Tensor, nn


class AveragePool(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling, (..., height, width) to any size, as a product with a matrix on either side.

    torch's own adds up gradients on a GPU in an order that changes from run to run (by atomic additions), and so
    refuses to where deterministic algorithms are asked for.
    """

    def forward(self, input: Tensor) -> Tensor:
        sizes = cast(Any, self.output_size)
        wanted = tuple(sizes) if isinstance(sizes, tuple) else (sizes, sizes)
        rows, columns = (size or there for size, there in zip(wanted, input.shape[-2:], strict=True))
        if (rows, columns) == input.shape[-2:]:
            return input
        if rows == columns == 1:
            return input.mean((-2, -1), keepdim=True)
        left, right = (averages(*sizes, input) for sizes in ((input.shape[-2], rows), (input.shape[-1], columns)))
        return left @ input @ right.T


def averages(length: int, parts: int, like: Tensor) -> Tensor:
    """(parts, length): row i has the mean over floor(i length / parts) to ceil((i + 1) length / parts)."""
    at = torch.arange(length, device=like.device)
    part = torch.arange(parts, device=like.device)[:, None]
    inside = (at >= part * length // parts) & (at < -(-(part + 1) * length // parts))
    weights = inside.to(like.dtype)
    return weights / weights.sum(1, keepdim=True)


def average_without_races(network: nn.Module) -> None:
    """Have the adaptive average pools of a network, in place, do without atomic additions: those of AlexNet and VGG,
    whose output is larger than one pixel. Nothing else that the architectures here are made of needs any."""
    for module in network.modules():
        if type(module) is nn.AdaptiveAvgPool2d:
            module.__class__ = AveragePool
