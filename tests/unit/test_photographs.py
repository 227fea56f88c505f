"""Pictures as inputs of a network, against torchvision's own pipeline; random crops against its RandomResizedCrop."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision import transforms as T
from torchvision.transforms import functional as F

from rrl.config.settings import PaddedCrop, Photographs, Transform, parse
from rrl.data.images import Split, inputs
from rrl.data.photographs import network_input, random_crop
from rrl.data.pictures import read_picture
from rrl.errors import UserError
from rrl.jobs.networks import Extract

INTERPOLATIONS = ["bilinear", "bicubic", "nearest", "box", "hamming", "lanczos"]
SHAPES = [(40, 60), (61, 33), (7, 5), (64, 64), (300, 211), (1, 30)]  # height, width
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def noise(height: int, width: int, channels: int, seed: int = 0) -> Image.Image:
    shape = (height, width, 3) if channels == 3 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


def transform(channels: int = 3, size: int = 24, resize: int = 28, **changes: Any) -> Photographs:
    mean, std = IMAGENET if channels == 3 else ((0.286,), (0.353,))
    settings = {"scale": (0.08, 1.0), "interpolation": "bilinear", "flip": True, "mean": mean, "std": std} | changes
    return Photographs(size=size, resize=resize, **settings)


def published(of: Photographs) -> Callable[[Image.Image], torch.Tensor]:
    """torchvision's own pipeline for val and test."""
    resize = T.Resize(of.resize, T.InterpolationMode(of.interpolation))
    return T.Compose([resize, T.CenterCrop(of.size), T.ToTensor(), T.Normalize(of.mean, of.std)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_without_chance_inputs_are_those_of_torchvision(interpolation: str, channels: int) -> None:
    for size, resize in ((24, 28), (32, 32), (20, 51)):
        of = transform(channels, size, resize, interpolation=interpolation)
        for height, width in SHAPES:
            picture = noise(height, width, channels)
            found = network_input(picture, of, None)
            assert found.shape == (channels, size, size) and found.dtype == torch.float32
            assert torch.equal(found, published(of)(picture)), (size, resize, height, width)


def test_grey_and_colour_are_what_the_network_takes() -> None:
    grey, colour = noise(40, 60, 1), noise(40, 60, 3)
    assert torch.equal(network_input(grey, transform(3), None), published(transform(3))(grey.convert("RGB")))
    assert torch.equal(network_input(colour, transform(1), None), published(transform(1))(colour.convert("L")))


def test_a_picture_is_turned_and_laid_on_white_before_it_is_resized(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 60, 3).save(tmp_path / "a.png", exif=exif)
    turned = noise(40, 60, 3).transpose(Image.Transpose.ROTATE_270)
    assert torch.equal(
        network_input(read_picture(tmp_path / "a.png"), transform(), None), published(transform())(turned)
    )
    seen = network_input(Image.new("RGBA", (30, 30), (0, 0, 0, 0)), transform(mean=(0.0,) * 3, std=(1.0,) * 3), None)
    assert (seen == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_memory_are_pictures_too(channels: int) -> None:
    images = np.stack([np.asarray(noise(40, 30, channels, seed)) for seed in range(3)])
    found = inputs(Split(images, np.arange(3)), np.array([2, 0]), transform(channels), None)
    wanted = [published(transform(channels))(Image.fromarray(images[position])) for position in (2, 0)]
    assert torch.equal(found, torch.stack(wanted))


# Random crops.

CROPS = 4000
KOLMOGOROV = 1.95 * (2 / CROPS) ** 0.5  # two samples of one distribution differ by more once in a thousand times


def ours(height: int, width: int, scale: tuple[float, float], count: int = CROPS) -> np.ndarray[Any, Any]:
    return np.array([random_crop(height, width, scale, random.Random(f"{height} {width} {n}")) for n in range(count)])


def theirs(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float] = (3 / 4, 4 / 3), count: int = CROPS
) -> np.ndarray[Any, Any]:
    """torchvision's crops: top, left, height, width."""
    image = torch.empty(1, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return np.array([T.RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)])


def distances(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], height: int, width: int) -> list[float]:
    """Between the distributions of top, left, height, width, area, aspect ratio, and where in its room the crop lies."""

    def seen(crops: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        top, left, crop_height, crop_width = crops.T
        room = [top / np.maximum(1, height - crop_height), left / np.maximum(1, width - crop_width)]
        return [top, left, crop_height, crop_width, crop_height * crop_width, crop_width / crop_height, *room]

    return [float(ks_2samp(a, b, method="asymp").statistic) for a, b in zip(seen(one), seen(other), strict=True)]


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 0.9)])
@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 333), (32, 32), (100, 1000), (900, 60), (5, 7)])
def test_crops_have_the_distribution_of_torchvision(height: int, width: int, scale: tuple[float, float]) -> None:
    one, other = ours(height, width, scale), theirs(height, width, scale)
    assert max(distances(one, other, height, width)) < KOLMOGOROV
    np.testing.assert_allclose(
        one.mean(axis=0), other.mean(axis=0), atol=5 * other.std(axis=0).max() * (2 / CROPS) ** 0.5
    )
    top, left, crop_height, crop_width = one.T
    assert (one[:, :2] >= 0).all() and (one[:, 2:] > 0).all()
    assert (top + crop_height <= height).all() and (left + crop_width <= width).all()


def test_this_comparison_tells_other_distributions_apart() -> None:
    one = ours(300, 400, (0.08, 1.0))
    for scale, ratio in (((0.14, 1.0), (3 / 4, 4 / 3)), ((0.08, 0.7), (3 / 4, 4 / 3)), ((0.08, 1.0), (0.7, 1.4))):
        assert max(distances(one, theirs(300, 400, scale, ratio), 300, 400)) > KOLMOGOROV
    draws = np.random.default_rng(0)
    ratio = np.sqrt(draws.uniform(3 / 4, 4 / 3, CROPS))  # uniform instead of uniform in its logarithm
    side = np.sqrt(300 * 300 * draws.uniform(0.08, 0.5, CROPS))
    wrong = np.stack([0 * side, 0 * side, side / ratio, side * ratio], axis=1)
    assert distances(ours(300, 300, (0.08, 0.5)), wrong, 300, 300)[5] > KOLMOGOROV
    corner = one.copy()
    corner[:, 0] = (draws.random(CROPS) ** 1.2 * (300 - one[:, 2] + 1)).astype(int)
    assert max(distances(corner, theirs(300, 400, (0.08, 1.0)), 300, 400)) > KOLMOGOROV


@pytest.mark.parametrize(
    ("height", "width", "crop"),
    [(10, 1000, (0, 493, 10, 13)), (1000, 10, (493, 0, 13, 10)), (1, 1000, (0, 499, 1, 1)), (30, 3, (13, 0, 4, 3))],
)
def test_very_wide_and_very_tall_images_give_their_centre(height: int, width: int, crop: tuple[int, ...]) -> None:
    assert (ours(height, width, (0.5, 1.0), 300) == crop).all()
    assert (theirs(height, width, (0.5, 1.0), count=300) == crop).all()


def test_a_crop_of_the_whole_area_is_the_whole_square() -> None:
    assert (ours(50, 50, (1.0, 1.0)) == (0, 0, 50, 50)).mean() > 0.98
    assert random_crop(1, 1, (0.08, 1.0), random.Random(0)) == (0, 0, 1, 1)


def test_crops_are_pinned() -> None:
    """What is cached of augmented views is right only as long as the same chance gives these crops."""
    draws = random.Random(hashlib.sha256(b"a view/7").digest())
    assert [random_crop(480, 640, (0.08, 1.0), draws) for _ in range(3)] == [
        (87, 346, 305, 294),
        (2, 59, 454, 453),
        (118, 139, 348, 451),
    ]
    assert draws.random() == 0.6310740814272923


def test_with_chance_the_input_is_a_crop_that_torchvision_would_make() -> None:
    of = transform()
    picture = noise(90, 120, 3)
    flipped = 0
    for n in range(40):
        draws = random.Random(hashlib.sha256(f"view 3/{n}".encode()).digest())
        crop = random_crop(90, 120, of.scale, draws)
        cropped = F.resized_crop(picture, *crop, [24, 24], T.InterpolationMode.BILINEAR)
        wanted = [T.Compose([T.ToTensor(), T.Normalize(*IMAGENET)])(image) for image in (cropped, F.hflip(cropped))]
        found = network_input(picture, of, f"view 3/{n}")
        assert torch.equal(found, wanted[0]) or torch.equal(found, wanted[1])
        assert torch.equal(network_input(picture, transform(flip=False), f"view 3/{n}"), wanted[0])
        flipped += torch.equal(found, wanted[1])
    assert 8 < flipped < 32


def test_half_of_the_images_are_flipped() -> None:
    of = transform(1, 2, 2, scale=(1.0, 1.0), mean=(0.0,), std=(1.0,))
    picture = Image.fromarray(np.array([[0, 255], [0, 255]], np.uint8))
    flipped = [bool(network_input(picture, of, f"x/{n}")[0, 0, 0] > 0.5) for n in range(1000)]
    assert 420 < sum(flipped) < 580


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """torch.set_num_threads, put back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def a_split(count: int = 24) -> Split:
    """Pictures of several shapes; the last two are equal."""
    pictures = [noise(20 + 3 * n, 70 - 2 * n, 3, n) for n in range(count - 1)]
    pictures.append(pictures[-1])
    return Split(np.arange(count), np.zeros(count, np.int64), lambda at: pictures[at])


@pytest.mark.parametrize("draw", [None, "seed 0 epoch 3"])
def test_the_same_chance_gives_the_same_crop_whatever_threads_batch_and_order(
    threads: Callable[[int], None], draw: str | None
) -> None:
    data, of = a_split(), transform()
    threads(1)
    wanted = inputs(data, np.arange(24), of, draw)
    assert wanted.shape == (24, 3, 24, 24)
    for number in (2, 1, 4):
        threads(number)
        assert torch.equal(inputs(data, np.arange(24), of, draw), wanted)
        order = np.random.default_rng(number).permutation(24)
        assert torch.equal(inputs(data, order, of, draw), wanted[order])
        batches = [inputs(data, np.arange(start, min(start + 7, 24)), of, draw) for start in range(0, 24, 7)]
        assert torch.equal(torch.cat(batches), wanted)
    assert torch.equal(inputs(data, np.array([5, 5, 9]), of, draw), wanted[[5, 5, 9]])


def test_torch_and_python_random_states_have_no_part_in_it() -> None:
    data, of = a_split(4), transform()
    torch.manual_seed(0)
    random.seed(0)
    first, state, python = inputs(data, np.arange(4), of, "x"), torch.random.get_rng_state(), random.getstate()
    assert torch.equal(inputs(data, np.arange(4), of, "x"), first)
    assert torch.equal(torch.random.get_rng_state(), state) and random.getstate() == python


def test_other_draws_and_other_positions_give_other_crops() -> None:
    data, of = a_split(), transform()
    views = [inputs(data, np.arange(24), of, draw) for draw in ("view 0", "view 1", "view 2")]
    plain = inputs(data, np.arange(24), of, None)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not any(torch.equal(a, b) for a, b in zip(views[one], views[other], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(views[0], plain, strict=True))
    assert torch.equal(plain[22], plain[23]) and not torch.equal(views[0][22], views[0][23])


def test_a_picture_that_cannot_be_used_is_named(threads: Callable[[int], None]) -> None:
    data = Split(
        np.array(["a.tif", "b.tif"]),
        np.zeros(2, np.int64),
        lambda name: Image.new("F" if name == "b.tif" else "L", (9, 9)),
    )
    for number in (1, 2):
        threads(number)
        assert inputs(data, np.array([0]), transform(), None).shape == (1, 3, 24, 24)
        with pytest.raises(UserError, match=r"b.tif: pixels are floating-point numbers; they must have 8 or 16 bits"):
            inputs(data, np.array([0, 1]), transform(), None)


PADDED = {"mean": 0.286, "std": 0.353, "pad": 2, "flip": True}
PHOTOGRAPHS = {
    "size": 224,
    "resize": 256,
    "scale": [0.08, 1.0],
    "interpolation": "bicubic",
    "flip": False,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.2],
}


def parsed(content: dict[str, Any]) -> Transform:
    """A transform from the settings of a job."""
    kept = {"views": 1, "dtype": "float16", "precision": "float32", "batch_size": 1}
    found: Transform = parse(
        Extract, json.dumps({"arithmetic": "native", "transform": content, "features": kept})
    ).transform
    return found


def test_a_transform_is_told_by_its_keys() -> None:
    assert parsed(PADDED) == PaddedCrop(0.286, 0.353, 2, True)
    transform = parsed(dict(reversed(PHOTOGRAPHS.items())))
    assert transform == Photographs(224, 256, [0.08, 1.0], "bicubic", False, [0.5, 0.4, 0.3], [0.2, 0.2, 0.2])
    assert isinstance(transform, Photographs) and transform.channels == 3
    grey = parsed(PHOTOGRAPHS | {"mean": [0.5], "std": [0.2]})
    assert isinstance(grey, Photographs) and grey.channels == 1


@pytest.mark.parametrize(
    ("pad", "flip", "augments"), [(0, False, False), (0, True, True), (1, False, True), (1, True, True)]
)
def test_a_padded_crop_augments_if_it_moves_or_flips(pad: int, flip: bool, augments: bool) -> None:
    assert PaddedCrop(0.5, 0.5, pad, flip).augments is augments


@pytest.mark.parametrize("content", [PADDED, PHOTOGRAPHS], ids=["padded", "photographs"])
def test_a_transform_with_other_keys_is_refused(content: dict[str, Any]) -> None:
    kind = type(parsed(content)).__name__
    for key in content:
        if key != "pad":  # without it, it is another kind
            fewer = {name: value for name, value in content.items() if name != key}
            with pytest.raises(UserError, match=rf"^--settings: transform\.{kind}\.{key}: Field required$"):
                parsed(fewer)
    with pytest.raises(UserError, match=rf"^--settings: transform\.{kind}\.rotate: Unexpected keyword argument$"):
        parsed(content | {"rotate": 5})


def test_a_mixture_of_both_kinds_and_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=r"transform\.PaddedCrop\.size: Unexpected keyword argument"):
        parsed(PHOTOGRAPHS | {"pad": 2})
    for content in ({}, {key: value for key, value in PADDED.items() if key != "pad"}):
        with pytest.raises(UserError, match=r"transform\.Photographs\.size: Field required"):
            parsed(content)


def test_batches_are_made_in_inference_mode_too() -> None:
    """As evaluations ask for them; other threads than the one that asks decode."""
    pictures = Split(np.arange(3), np.arange(3), lambda number: Image.new("RGB", (40, 30), (int(number), 0, 0)))
    transform = Photographs(8, 8, [1.0, 1.0], "bilinear", False, [0.5] * 3, [0.5] * 3)
    expected = inputs(pictures, np.arange(3), transform, None)
    with torch.inference_mode():
        assert torch.equal(inputs(pictures, np.arange(3), transform, None), expected)
