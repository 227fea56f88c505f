"""The architectures of trunks, one entry each, without torch."""

import re
from dataclasses import dataclass, field
from typing import Any

from rrl.errors import UserError

IMAGENET: dict[str, Any] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
STANDARD = {"size": 224, "resize": 256, "interpolation": "bilinear", **IMAGENET}
GREY = {"size": 28, "resize": 28, "interpolation": "bilinear", "mean": [0.286], "std": [0.353]}
SMALL = {"size": 32, "resize": 32, "interpolation": "bilinear", **IMAGENET}
CIFAR = SMALL | {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}


@dataclass(frozen=True, eq=False)
class Entry:
    """What is known of an architecture without building it.

    builder : `module:function` from Architecture and image size (pixels, or None) to a Trunk; imported when it is used.
    features : D at width 1; None for a library, whose models have the names `<entry>/<model>`.
    widens : whether `w<width>` may follow the name: every channel is then multiplied by `width`.
    recognised : whether files that do not tell their architecture are compared with it: set for the published networks.
    jointly : how many such trunks the published networks train as one network.
    model : name of the model in its library.
    preprocessing : transform of the input images, as in a config; None where the library says it.
    renaming : `module:function` from a key of another project to the library's, where the two differ.
    """

    name: str
    builder: str
    features: int | None = None
    widens: bool = False
    jointly: tuple[int, ...] = field(default=(), repr=False)  # repr: what a code version covers
    model: str = ""
    preprocessing: dict[str, Any] | None = field(default=None, repr=False)
    recognised: bool = field(default=False, repr=False)
    renaming: str = ""

    @property
    def modules(self) -> list[str]:
        """The modules that only architectures like this one use."""
        return [name.partition(":")[0] for name in (self.builder, self.renaming) if name]


def _regnet(name: str, features: int, model: str) -> Entry:
    renaming = "rrl.networks.regnet_keys:regnet_key"
    return Entry(name, TIMM, features, model=model, preprocessing=STANDARD, recognised=True, renaming=renaming)


TIMM = "rrl.networks.libraries:timm_trunk"
VISION_TRANSFORMER = "rrl.networks.libraries:vision_transformer"
ARCHITECTURES = {
    entry.name: entry
    for entry in (
        Entry("resnet8", "rrl.networks.resnet8:resnet8", 32, widens=True, preprocessing=GREY, recognised=True),
        Entry("resnet8rgb", "rrl.networks.resnet8:resnet8rgb", 32, widens=True, preprocessing=SMALL, recognised=True),
        Entry(
            "cifar_resnet18",
            "rrl.networks.resnets:cifar_resnet18",
            512,
            widens=True,
            preprocessing=CIFAR,
            recognised=True,
        ),
        Entry(
            "resnet50",
            "rrl.networks.resnets:resnet50",
            2048,
            widens=True,
            jointly=(2, 4),
            preprocessing=STANDARD,
            recognised=True,
        ),
        Entry("resnet152", TIMM, 2048, model="resnet152", preprocessing=STANDARD, recognised=True),
        _regnet("regnet_y_32gf", 3712, "regnety_320"),
        _regnet("regnet_y_64gf", 4920, "regnety_640"),
        _regnet("regnet_y_128gf", 7392, "regnety_1280"),
        _regnet("regnet_y_256gf", 10444, "regnety_2560"),
        Entry("vit_b16", VISION_TRANSFORMER, 768, model="vit_base_patch16_224", recognised=True),
        Entry("vit_l16", VISION_TRANSFORMER, 1024, model="vit_large_patch16_224", recognised=True),
        Entry("timm", TIMM),
        Entry("torchvision", "rrl.networks.libraries:torchvision_trunk"),
    )
}
NAMED = {name: entry for name, entry in ARCHITECTURES.items() if entry.features is not None}
WIDENED = [name for name, entry in NAMED.items() if entry.widens]
LIBRARIES = [name for name in ARCHITECTURES if name not in NAMED]
NAME = re.compile(
    rf"(?:(?P<joint>[1-9]\d*)x)?(?:(?P<widened>{'|'.join(WIDENED)})(?:w(?P<width>[1-9]\d*))?|(?P<named>{'|'.join(NAMED)})"
    rf"|(?P<library>(?:{'|'.join(LIBRARIES)})/[A-Za-z0-9_.-]+))"
)


@dataclass(frozen=True)
class Architecture:
    """`joint` trunks of a family, trained as one network, every channel multiplied by `width`."""

    joint: int
    family: str
    width: int

    @property
    def entry(self) -> Entry:
        return ARCHITECTURES[self.family.partition("/")[0]]

    @property
    def model(self) -> str:
        """The name of the model in its library; "" if it comes from none."""
        return self.family.partition("/")[2] or self.entry.model

    @property
    def feature_dim(self) -> int | None:
        """D; None for a model of a library, which only the library knows."""
        features = self.entry.features
        return None if features is None else self.joint * features * self.width


def parse_architecture(name: str) -> Architecture:
    """Parse `resnet50`, `resnet50w2` (every channel twice as wide), `4xresnet50` (four, jointly), `timm/<name>`, ...

    Raises UserError for another name.
    """
    match = NAME.fullmatch(name)
    if match is None:
        libraries = ", ".join(f"{library}/<name>" for library in LIBRARIES)
        raise UserError(
            f"found {name!r}; must be one of {', '.join(NAMED)}, {libraries}; "
            f"w<width> after {', '.join(WIDENED)}; <k>x before any of them"
        )
    family = match["widened"] or match["named"] or match["library"]
    return Architecture(int(match["joint"] or 1), family, int(match["width"] or 1))


def parts(arch: str) -> list[Entry]:
    """The entries that a name uses. Raises UserError for a name that is none of an architecture."""
    return [parse_architecture(arch).entry]


def published() -> list[str]:
    """The architectures that a file of an unknown one is compared with, narrow before wide, single before joint."""
    entries = [entry for entry in NAMED.values() if entry.recognised]
    widened = [f"{entry.name}{width}" for entry in entries if entry.widens for width in ("", "w2", "w4", "w5")]
    joint = [f"{count}x{entry.name}" for entry in entries for count in entry.jointly]
    return [*widened, *joint, *(entry.name for entry in entries if not entry.widens)]
