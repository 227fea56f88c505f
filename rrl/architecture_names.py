"""What the name of an architecture says, without torch."""

import re
from dataclasses import dataclass

from rrl.errors import UserError

NAME = re.compile(r"(?:(?P<joint>[1-9]\d*)x)?(?:(?P<family>resnet8)(?:w(?P<width>[1-9]\d*))?|(?P<fixed>resnet50))")
FEATURES = {"resnet8": 32, "resnet50": 2048}  # of a trunk of width 1


@dataclass(frozen=True)
class Architecture:
    """`joint` trunks of a family, trained as one network, every channel multiplied by `width`."""

    joint: int
    family: str
    width: int

    @property
    def feature_dim(self) -> int:
        return self.joint * FEATURES[self.family] * self.width


def parse_architecture(name: str) -> Architecture:
    """`resnet50`, `resnet8`, `resnet8w2` (twice as wide), `4xresnet8` (four, jointly).

    Raises UserError for another name.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise UserError(f"found {name!r}; allowed are resnet50, resnet8, resnet8w<width>, and <k>x before any of them")
    return Architecture(int(match["joint"] or 1), match["family"] or match["fixed"], int(match["width"] or 1))
