"""A picture as the input of a network, by torchvision's functions."""

import hashlib
import math
import random

import torch
from PIL import Image
from torchvision.transforms import functional as F

from rrl.pictures import upright
from rrl.transforms import Photographs

ATTEMPTS = 10
RATIO = 3 / 4, 4 / 3


def network_input(picture: Image.Image, transform: Photographs, chance: str | None) -> torch.Tensor:
    """(channels, size, size) float32. chance : what the random crop and flip depend on, None for the plain picture."""
    picture = upright(picture, transform.channels)
    interpolation = F.InterpolationMode(transform.interpolation)
    size = [transform.size, transform.size]
    if chance is None:
        picture = F.center_crop(F.resize(picture, [transform.resize], interpolation), size)
    else:
        draws = random.Random(hashlib.sha256(chance.encode()).digest())
        crop = random_crop(picture.height, picture.width, transform.scale, draws)
        picture = F.resized_crop(picture, *crop, size, interpolation)
        if transform.flip and draws.random() < 0.5:
            picture = F.hflip(picture)
    pixels: torch.Tensor = F.to_tensor(picture)
    F.normalize(pixels, list(transform.mean), list(transform.std), inplace=True)
    return pixels


def random_crop(height: int, width: int, scale: tuple[float, float], draws: random.Random) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop, distributed as torchvision's RandomResizedCrop draws it.

    Not torchvision's own: that one draws from a state that all threads share, so image i in view k would not be
    the same crop for every network. Only `random()` is used: its sequence is the same in every version of Python.
    """
    for _ in range(ATTEMPTS):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draws.random())
        low, high = (math.log(bound) for bound in RATIO)
        ratio = math.exp(low + (high - low) * draws.random())
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(draws.random() * (height - crop_height + 1))
            left = int(draws.random() * (width - crop_width + 1))
            return top, left, crop_height, crop_width
    crop_height, crop_width = height, width
    if width / height < RATIO[0]:
        crop_height = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        crop_width = round(height * RATIO[1])
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width
