"""Trunks by name. A trunk maps images (B, channels, height, width) to features (B, D)."""

from pkgutil import resolve_name
from typing import cast

import torch
from torch import Tensor, nn

from rrl.networks.architectures import parse_architecture


class Trunk(nn.Module):
    """A network without its head; `feature_dim` is D.

    head : the linear layer that its checkpoint holds for it, None if none; kept apart: not called, not among
    the parameters.
    """

    feature_dim: int
    _head: tuple[nn.Linear, ...] = ()

    @property
    def head(self) -> nn.Linear | None:
        return self._head[0] if self._head else None


class JointTrunk(Trunk):
    """k trunks side by side, trained as one network: the paper's control 2x and 4xRESNET50."""

    def __init__(self, trunks: list[Trunk]):
        super().__init__()
        self.trunks = nn.ModuleList(trunks)
        self.feature_dim = sum(trunk.feature_dim for trunk in trunks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([trunk(x) for trunk in self.trunks], dim=1)


class Network(nn.Module):
    """A trunk and a linear head on its features."""

    def __init__(self, trunk: Trunk, classes: int):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.feature_dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.trunk(x)))


def build_trunk(arch: str, image_size: int | None = None) -> Trunk:
    """The trunk of a name that parse_architecture accepts, initialised from PyTorch's global random state.

    image_size : pixels of the square images, for trunks with position embeddings (224 if None); others take any.
    Raises UserError if the library has no such model, or it takes no images of this size.
    """
    architecture = parse_architecture(arch)
    builder = resolve_name(architecture.entry.builder)
    trunks: list[Trunk] = [builder(architecture, image_size) for _ in range(architecture.joint)]
    return trunks[0] if architecture.joint == 1 else JointTrunk(trunks)


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters; batch-norm statistics are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())
