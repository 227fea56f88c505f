"""Trunks by name. A trunk maps images (B, channels, height, width) to features (B, D)."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from rrl.errors import UserError
from rrl.networks.architecture_names import Architecture, parse_architecture


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
    """For small images: 3x3 stem of stride 2, then one basic block each of width 8, 16 and 32.

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


class LibraryTrunk(Trunk):
    """A model of torchvision or timm that gives features (B, D) when called; its keys stand behind `model.`."""

    def __init__(self, model: nn.Module, feature_dim: int):
        super().__init__()
        self.model = model
        self.feature_dim = feature_dim

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model(x))


def widened_resnet(block: Any, layers: list[int], width: int, stem: nn.Conv2d) -> LibraryTrunk:
    """torchvision's ResNet without its `fc`, every channel multiplied by `width`, `stem` in front.

    Not torchvision's wide_resnet50_2, which widens the inner channels only. Keys and initialisation are torchvision's.
    """
    from torchvision.models.resnet import ResNet

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


def resnet50(width: int) -> LibraryTrunk:
    """D = 2048 width; 23,508,032 parameters at width 1."""
    from torchvision.models.resnet import Bottleneck

    stem = nn.Conv2d(3, 64 * width, 7, stride=2, padding=3, bias=False)
    return widened_resnet(Bottleneck, [3, 4, 6, 3], width, stem)


def cifar_resnet18(width: int) -> LibraryTrunk:
    """For images of 32 x 32: stem 3x3 of stride 1, no pooling behind it; D = 512 width, 11,168,832 parameters
    at width 1. Other sizes work too: features are averaged over all places.
    """
    from torchvision.models.resnet import BasicBlock as TorchvisionBlock

    trunk = widened_resnet(TorchvisionBlock, [2, 2, 2, 2], width, nn.Conv2d(3, 64 * width, 3, padding=1, bias=False))
    trunk.model.maxpool = nn.Identity()
    return trunk


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


# Trunks that timm has with exactly the published sizes.
TIMM = {
    "resnet152": "resnet152",
    "regnet_y_32gf": "regnety_320",
    "regnet_y_64gf": "regnety_640",
    "regnet_y_128gf": "regnety_1280",
    "regnet_y_256gf": "regnety_2560",
    "vit_b16": "vit_base_patch16_224",
    "vit_l16": "vit_large_patch16_224",
}


def timm_trunk(name: str, image_size: int | None, pretrained: bool = False) -> Trunk:
    """Any model of timm without its classifier, with its published weights if `pretrained`.

    Raises UserError for a name that timm does not have.
    """
    import timm

    if not timm.is_model(name):
        raise UserError(f"timm/{name}: timm {timm.__version__} has no such model; timm.list_models() lists them")
    published = timm.get_pretrained_cfg(name)
    native = published.input_size[-1] if published is not None and published.fixed_input_size else image_size
    size: dict[str, Any] = {} if image_size in (None, native) else {"img_size": image_size}
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, **size)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"timm/{name}: not for images of {image_size} pixels: {error}") from None
    width: Any = getattr(model, "head_hidden_size", None) or model.num_features
    return LibraryTrunk(model, int(width))


def torchvision_trunk(name: str, pretrained: bool = False) -> Trunk:
    """Any classifier of torchvision without its last linear layer, with its published weights if `pretrained`.

    Raises UserError for other names.
    """
    from torchvision.models import get_model, list_models

    if name not in list_models():
        raise UserError(
            f"torchvision/{name}: torchvision has no such model; torchvision.models.list_models() lists them"
        )
    model = get_model(name, weights="DEFAULT" if pretrained else None)
    for part in ("fc", "classifier", "heads", "head"):
        last = getattr(model, part, None)
        if isinstance(last, nn.Sequential):
            part, last = f"{part}.{list(last._modules)[-1]}", last[-1]
        if isinstance(last, nn.Linear):
            model.set_submodule(part, nn.Identity())
            return LibraryTrunk(model, last.in_features)
    raise UserError(f"torchvision/{name}: does not end in a linear layer; allowed are image classifiers that do")


def build_trunk(arch: str, image_size: int | None = None) -> Trunk:
    """The trunk of a name that parse_architecture allows, initialised from PyTorch's global random state.

    image_size : pixels of the square images, for trunks with position embeddings (224 if None); others take any.
    Raises UserError if the library has no such model, or it takes no images of this size.
    """
    architecture = parse_architecture(arch)
    trunks = [_build_one(architecture, image_size) for _ in range(architecture.joint)]
    return trunks[0] if architecture.joint == 1 else JointTrunk(trunks)


def _build_one(architecture: Architecture, image_size: int | None) -> Trunk:
    match architecture.family.split("/"):
        case ["resnet8"]:
            return ResNet8(architecture.width, colours=1)
        case ["resnet8rgb"]:
            return ResNet8(architecture.width, colours=3)
        case ["resnet50"]:
            return resnet50(architecture.width)
        case ["cifar_resnet18"]:
            return cifar_resnet18(architecture.width)
        case ["torchvision", name]:
            return torchvision_trunk(name)
        case ["timm", name]:
            return timm_trunk(name, image_size)
        case [name]:
            if name.startswith("vit_") and image_size is not None and image_size % 16:
                raise UserError(f"{name}: not for images of {image_size} pixels; allowed are multiples of 16")
            return timm_trunk(TIMM[name], image_size)
    raise AssertionError(architecture)


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters; batch-norm statistics are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())
