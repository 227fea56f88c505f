"""The demo's ResNets, for small images."""

from typing import cast

import torch
from torch import Tensor, nn

from rrl.networks.architectures import Architecture
from rrl.networks.trunks import Trunk


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
    """A 3x3 stem of stride 2, then one basic block each of width 8, 16 and 32.

    `width` multiplies every channel: D = 32 width. 19,480 parameters at width 1 for one colour channel.
    """

    def __init__(self, width: int, colours: int):
        super().__init__()
        channels = [width * base for base in (8, 16, 32)]
        self.feature_dim = channels[-1]
        self.stem = nn.Conv2d(colours, channels[0], 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        self.block1 = BasicBlock(channels[0], channels[0], stride=1)
        self.block2 = BasicBlock(channels[0], channels[1], stride=2)
        self.block3 = BasicBlock(channels[1], channels[2], stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        return cast(Tensor, self.block3(self.block2(self.block1(x))).mean(dim=(2, 3)))


def resnet8(architecture: Architecture, image_size: int | None) -> Trunk:
    """For grey images."""
    return ResNet8(architecture.width, colours=1)


def resnet8rgb(architecture: Architecture, image_size: int | None) -> Trunk:
    """For colour images."""
    return ResNet8(architecture.width, colours=3)
