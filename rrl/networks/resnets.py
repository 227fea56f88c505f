"""torchvision's ResNets with every channel widened, and with the stem for small images."""

from typing import Any, cast

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from rrl.networks.architectures import Architecture
from rrl.networks.libraries import LibraryTrunk


def _widened(block: Any, layers: list[int], width: int, stem: nn.Conv2d) -> LibraryTrunk:
    """torchvision's ResNet without its `fc`, every channel multiplied by `width`, with another stem.

    Not torchvision's wide_resnet50_2, which widens the inner channels only. Keys and initialisation are torchvision's.
    """

    class WideResNet(ResNet):  # type: ignore[misc]
        def _make_layer(self, block: Any, planes: int, *rest: Any, **more: Any) -> nn.Sequential:
            return cast(nn.Sequential, super()._make_layer(block, planes * width, *rest, **more))

    model = WideResNet(block, layers)
    model.conv1 = stem
    model.bn1 = nn.BatchNorm2d(64 * width)
    model.inplanes = 64 * width
    model.layer1 = model._make_layer(block, 64, layers[0])
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    feature_dim = model.fc.in_features * width
    model.fc = nn.Identity()
    return LibraryTrunk(model, feature_dim)


def resnet50(architecture: Architecture, image_size: int | None) -> LibraryTrunk:
    """D = 2048 width; 23,508,032 parameters at width 1."""
    stem = nn.Conv2d(3, 64 * architecture.width, 7, stride=2, padding=3, bias=False)
    return _widened(Bottleneck, [3, 4, 6, 3], architecture.width, stem)


def cifar_resnet18(architecture: Architecture, image_size: int | None) -> LibraryTrunk:
    """For 32 x 32 pixels: 3x3 stem of stride 1, no pooling after it; D = 512 width, 11,168,832 parameters at width 1.

    Other sizes work too: features are averaged over all places.
    """
    stem = nn.Conv2d(3, 64 * architecture.width, 3, padding=1, bias=False)
    trunk = _widened(BasicBlock, [2, 2, 2, 2], architecture.width, stem)
    trunk.model.maxpool = nn.Identity()
    return trunk
