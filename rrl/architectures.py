"""Trunks by name. A trunk maps images (B, channels, height, width) to features (B, D)."""

from typing import cast

import torch
from torch import Tensor, nn

from rrl.architecture_names import parse_architecture


class Trunk(nn.Module):
    """A network without its head; `feature_dim` is D."""

    feature_dim: int


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            convolution = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet8(Trunk):
    """For grey images of 28 x 28: 3x3 stem of stride 2, then one basic block each of width 8, 16 and 32.

    `width` multiplies every channel: D = 32 width. 19,480 parameters at width 1.
    """

    def __init__(self, width: int):
        super().__init__()
        channels = [width * base for base in (8, 16, 32)]
        self.feature_dim = channels[-1]
        self.stem = nn.Conv2d(1, channels[0], 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        self.block1 = BasicBlock(channels[0], channels[0], stride=1)
        self.block2 = BasicBlock(channels[0], channels[1], stride=2)
        self.block3 = BasicBlock(channels[1], channels[2], stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        return cast(Tensor, self.block3(self.block2(self.block1(x))).mean(dim=(2, 3)))


class ResNet50(Trunk):
    """torchvision's resnet50 without its `fc`: D = 2048, 23,508,032 parameters."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50  # a second and a half, only where it is used

        self.trunk = resnet50()
        self.trunk.fc = nn.Identity()
        self.feature_dim = 2048

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.trunk(x))


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


def build_trunk(arch: str) -> Trunk:
    """The trunk of a name that parse_architecture allows, initialised from PyTorch's global random state."""
    architecture = parse_architecture(arch)
    trunks: list[Trunk] = [
        ResNet50() if architecture.family == "resnet50" else ResNet8(architecture.width)
        for _ in range(architecture.joint)
    ]
    return trunks[0] if architecture.joint == 1 else JointTrunk(trunks)


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters; batch-norm statistics are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())
