"""What the name of an architecture says, without torch."""

import re
from dataclasses import dataclass

from rrl.errors import UserError

WIDENED = {"resnet8": 32, "resnet8rgb": 32, "cifar_resnet18": 512, "resnet50": 2048}  # features of a trunk of width 1
FIXED = {
    "resnet152": 2048,
    "regnet_y_32gf": 3712,
    "regnet_y_64gf": 4920,
    "regnet_y_128gf": 7392,
    "regnet_y_256gf": 10444,
    "vit_b16": 768,
    "vit_l16": 1024,
}
NAME = re.compile(
    rf"(?:(?P<joint>[1-9]\d*)x)?(?:(?P<widened>{'|'.join(WIDENED)})(?:w(?P<width>[1-9]\d*))?|(?P<fixed>{'|'.join(FIXED)})"
    r"|(?P<library>(?:timm|torchvision)/[A-Za-z0-9_.-]+))"
)


@dataclass(frozen=True)
class Architecture:
    """`joint` trunks of a family, trained as one network, every channel multiplied by `width`."""

    joint: int
    family: str
    width: int

    @property
    def feature_dim(self) -> int | None:
        """None for a model of a library, which only the library knows."""
        features = (WIDENED | FIXED).get(self.family)
        return None if features is None else self.joint * features * self.width


def parse_architecture(name: str) -> Architecture:
    """`resnet50`, `resnet50w2` (every channel twice as wide), `4xresnet50` (four, jointly), `timm/<name>`, ...

    Raises UserError for another name.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f"found {name!r}; allowed are {', '.join([*WIDENED, *FIXED])}, timm/<name>, torchvision/<name>; "
            f"w<width> after {', '.join(WIDENED)}; <k>x before any of them"
        )
    family = match["widened"] or match["fixed"] or match["library"]
    return Architecture(int(match["joint"] or 1), family, int(match["width"] or 1))
