"""A picture as the input of a network: what torchvision's transforms make of it, bit for bit, by Pillow alone.

It is Pillow that torchvision calls for pictures; importing torchvision would cost every small job a second and a half.
"""

import hashlib
import math
import random

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from rrl.config.settings import Photographs
from rrl.data.pictures import upright

ATTEMPTS = 10
RATIO = 3 / 4, 4 / 3


def network_input(picture: Image.Image, transform: Photographs, chance: str | None) -> torch.Tensor:
    """(channels, size, size) float32. chance : what the random crop and flip depend on, None for the plain picture."""
    scaled = torch.from_numpy(pixels(picture, transform, chance)).permute(2, 0, 1).contiguous().float().div_(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (transform.mean, transform.std))
    return scaled.sub_(mean).div_(std)


def pixels(picture: Image.Image, transform: Photographs, chance: str | None) -> npt.NDArray[np.uint8]:
    """(size, size, channels), before they are scaled. chance : as above."""
    picture = upright(picture, transform.channels)
    resample = Image.Resampling[transform.interpolation.upper()]
    if chance is None:
        picture = centre_crop(shorter_side(picture, transform.resize, resample), transform.size)
    else:
        draws = random.Random(hashlib.sha256(chance.encode()).digest())
        top, left, height, width = random_crop(picture.height, picture.width, transform.scale, draws)
        crop = picture.crop((left, top, left + width, top + height))
        picture = crop.resize((transform.size, transform.size), resample)
        if transform.flip and draws.random() < 0.5:
            picture = ImageOps.mirror(picture)
    return np.array(picture).reshape(transform.size, transform.size, transform.channels)


def shorter_side(picture: Image.Image, length: int, resample: Image.Resampling) -> Image.Image:
    """The picture resized so that its shorter side has `length` pixels; the longer one is rounded down."""
    short, long = sorted(picture.size)
    if short == length:
        return picture
    longer = int(length * long / short)
    return picture.resize((length, longer) if picture.width <= picture.height else (longer, length), resample)


def centre_crop(picture: Image.Image, size: int) -> Image.Image:
    """A square of `size` pixels."""
    left, top = (round((side - size) / 2) for side in picture.size)
    return picture.crop((left, top, left + size, top + size))


def random_crop(height: int, width: int, scale: list[float], draws: random.Random) -> tuple[int, int, int, int]:
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
