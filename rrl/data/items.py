"""Images of a data set: where each is, of which class, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from rrl.data.pictures import Unreadable
from rrl.errors import UserError

WHOLE = "all"  # the part of data that are not parted
Reference = str | int  # a path below the source, or a position in an array
Open = Callable[[Reference], Image.Image]
Batches = dict[str, list[list[str]]]  # part -> path below torchvision's folder and md5 sum of each file of its images


@dataclass(frozen=True)
class Item:
    """One image: where it is, and the name of its class."""

    reference: Reference
    label: str


@dataclass(frozen=True)
class Source:
    """parts : train, val, test, or `all` where the data are not parted; open : an item's picture, as it is in its file,
    by part; raises Unreadable. other : files that are no images by their names. batches : of CIFAR."""

    name: str
    parts: dict[str, list[Item]]
    open: dict[str, Open]
    fingerprint: str
    other: list[str] = field(default_factory=list)
    batches: Batches = field(default_factory=dict)


def from_array(images: Any) -> Open:
    """How images in memory are opened, by position."""

    def open_(reference: Reference) -> Image.Image:
        return Image.fromarray(images[int(reference)])

    return open_


def by_reference(rows: list[dict[str, str]], name: str, opens: dict[str, Open]) -> tuple[Any, Any]:
    """Part and image of each row of an index, (N,), and what opens one.

    name : of the source. opens : how an image is opened, by part.
    """

    def open_(reference: tuple[str, str]) -> Image.Image:
        part, image = reference
        try:
            return opens[part](image)
        except Unreadable as error:
            raise UserError(
                f"{name}: {image}: {error}; it was there when the target was made, so put that file back"
            ) from None

    references = np.empty(len(rows), dtype=object)
    references[:] = [(row["part"], row["image"]) for row in rows]
    return references, open_
