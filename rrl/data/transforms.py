"""How images become inputs of a network: what a config says, as data."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class PaddedCrop:
    """For small grey images: (x / 255 - mean) / std; in training also a random crop after zero padding by `pad`
    pixels, and a horizontal flip."""

    mean: float
    std: float
    pad: int
    flip: bool

    @property
    def augments(self) -> bool:
        return self.pad > 0 or self.flip


@dataclass(frozen=True)
class Photographs:
    """For pictures of any size: the shorter side to `resize` pixels and the centre crop of `size`; in training a random
    crop that covers between scale[0] and scale[1] of the area, resized to `size`, and a horizontal flip.

    mean, std : one number for grey, three for RGB, of pixels in [0, 1].
    """

    size: int
    resize: int
    scale: tuple[float, float]
    interpolation: str
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        return len(self.mean)


Transform = PaddedCrop | Photographs
TRANSFORM_FLAG = "how images become inputs, JSON: the config's"


def parse_transform(content: dict[str, Any]) -> Transform:
    """The transform that a config describes. Raises ValueError for other keys."""
    kind = PaddedCrop if "pad" in content else Photographs
    if set(content) != {field.name for field in fields(kind)}:
        raise ValueError(f"found {', '.join(content)}; allowed are {', '.join(field.name for field in fields(kind))}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    return PaddedCrop(**values) if "pad" in content else Photographs(**values)
