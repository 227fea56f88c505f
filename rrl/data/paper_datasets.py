"""The data sets of the paper, as they are published, as sources of images with the parts train and test.

The label of an image is the position of its class in `class_names`: class folders sorted as text for ImageNet and
iNaturalist 2018 (category 10 comes before 9), the published order for CIFAR, which is alphabetical. What the paper
tests on is the part `test`: the published val images of ImageNet and iNaturalist 2018.
"""

import hashlib
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from rrl.data.image_sources import Item, Open, Reference, Source
from rrl.data.imagenet import open_imagenet
from rrl.data.inaturalist import open_inaturalist
from rrl.data.paper_folders import fingerprint, opener, some
from rrl.errors import UserError
from rrl.store.files import space_for

CLASSES = {"imagenet": 1000, "inaturalist18": 8142, "cifar10": 10, "cifar100": 100}
# Data set, part -> images as published, and how many the smallest class has.
PUBLISHED = {
    ("imagenet", "train"): (1_281_167, 732),
    ("imagenet", "test"): (50_000, 50),
    ("inaturalist18", "train"): (437_513, 2),
    ("inaturalist18", "test"): (24_426, 3),
    ("cifar10", "train"): (50_000, 5_000),
    ("cifar10", "test"): (10_000, 1_000),
    ("cifar100", "train"): (50_000, 500),
    ("cifar100", "test"): (10_000, 100),
}


def open_paper_dataset(dataset: str, data_root: Path, threads: int, classes: int | None = None) -> Source:
    """dataset : a key of CLASSES. data_root : holds imagenet/, inaturalist18/ and, for CIFAR, torchvision/.
    threads : folders that are read at once. classes : how many there must be; None for as many as published; another
    number declares a miniature.

    CIFAR is downloaded if its files are missing or damaged; all its images are then in memory.
    Raises UserError if the files are not there, or not as they should be.
    """
    if dataset not in CLASSES:
        raise UserError(f"data set {dataset!r}: allowed are {', '.join(CLASSES)}")
    count = CLASSES[dataset] if classes is None else classes
    try:
        if dataset == "imagenet":
            return open_imagenet(data_root / dataset, count, threads)
        if dataset == "inaturalist18":
            return open_inaturalist(data_root / dataset, count, threads)
        return _open_cifar(dataset, data_root / "torchvision", count)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); make it readable") from None


Batches = dict[str, list[list[str]]]  # part -> path below torchvision's folder and md5 sum of each file


def openers(dataset: str, data_root: Path, batches: Batches) -> dict[str, Open]:
    """How the images of each part are opened, without looking at any folder, and without torchvision's long import.

    batches : of CIFAR, as `batches_of` says. Raises UserError if one of its files is missing or another than then.
    """
    if dataset in ("imagenet", "inaturalist18"):
        return dict.fromkeys(("train", "test"), opener(data_root / dataset))
    return {part: _from_memory(_read_batches(data_root / "torchvision", files)) for part, files in batches.items()}


def batches_of(dataset: str) -> Batches:
    """The files that hold the images of CIFAR's parts; of the other data sets, none."""
    if dataset not in ("cifar10", "cifar100"):
        return {}
    from torchvision import datasets

    kind = getattr(datasets, dataset.upper())
    lists = {"train": kind.train_list, "test": kind.test_list}
    return {part: [[f"{kind.base_folder}/{name}", md5] for name, md5 in files] for part, files in lists.items()}


def _read_batches(folder: Path, files: list[list[str]]) -> Any:
    """(N, 32, 32, 3) uint8. Nothing is unpickled before its md5 sum was found to be the published one."""
    pixels = []
    for name, md5 in files:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"{folder / name}: cannot be read ({error.strerror}); put it back") from None
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{folder / name}: not the file that the target was made of (md5 {md5}); put that back")
        pixels.append(pickle.loads(content, encoding="latin1")["data"])
    return np.concatenate(pixels).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def class_names(source: Source) -> list[str]:
    """The classes of the training images, sorted as text: position is label, in every part."""
    return sorted({item.label for item in source.parts["train"]})


def describe(dataset: str, source: Source) -> list[str]:
    """A line per part with its counts and what differs from the published ones; none of it is an error."""
    published_classes = len(class_names(source)) == CLASSES[dataset]
    return [_describe_part(dataset, part, source.parts[part], published_classes) for part in source.parts]


def _describe_part(dataset: str, part: str, items: list[Item], published_classes: bool) -> str:
    counts = Counter(item.label for item in items)
    few, many = min(counts.values()), max(counts.values())
    line = f"{dataset} {part}: {len(items):,} images of {len(counts):,} classes, {few:,} to {many:,} each"
    images, fewest = PUBLISHED[dataset, part]
    if not published_classes:
        return f"{line}; published are {images:,} images of {CLASSES[dataset]:,} classes"
    if len(items) != images:
        line += f"; published are {images:,} images"
    if short := [f"{label} has {count:,}" for label, count in sorted(counts.items()) if count < fewest]:
        line += f"; {len(short):,} classes have fewer than the published {fewest:,} ({some(short)})"
    return line


def _open_cifar(dataset: str, root: Path, classes: int) -> Source:
    """root : torchvision's folder. Its own md5 sums are checked on every opening, before anything is unpickled."""
    from torchvision import datasets

    kind = getattr(datasets, dataset.upper())
    if _broken(kind, root):
        _download(kind, root)
    parts: dict[str, list[Item]] = {}
    opens: dict[str, Open] = {}
    for part in ("train", "test"):
        published = kind(str(root), train=part == "train")
        names = published.classes
        if len(names) != classes:
            raise UserError(
                f"{root / kind.base_folder}: found {len(names)} classes, allowed are {classes}; mend `classes` in the "
                "config"
            )
        parts[part] = [Item(position, names[label]) for position, label in enumerate(published.targets)]
        opens[part] = _from_memory(published.data)
    return Source(str(root / kind.base_folder), parts, opens, fingerprint(parts | {"files": _sums(kind)}))


def _from_memory(images: Any) -> Callable[[Reference], Image.Image]:
    """images : (N, 32, 32, 3) uint8."""

    def open_(reference: Reference) -> Image.Image:
        return Image.fromarray(images[int(reference)])

    return open_


def _sums(kind: Any) -> list[Item]:
    """The files of a data set of torchvision and their md5 sums."""
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    return [Item(name, md5) for name, md5 in files]


def _broken(kind: Any, root: Path) -> list[str]:
    """Files that are missing or damaged, with which of the two."""
    from torchvision.datasets.utils import check_integrity

    folder = root / kind.base_folder
    return [
        f"{file.reference} {'damaged' if (folder / str(file.reference)).exists() else 'missing'}"
        for file in _sums(kind)
        if not check_integrity(str(folder / str(file.reference)), file.label)
    ]


def _download(kind: Any, root: Path) -> None:
    """Two jobs may call this at once. An archive that is there already and whole is only unpacked."""
    from torchvision.datasets.utils import download_and_extract_archive

    failure = ""
    try:
        with space_for(root / kind.filename):
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f"{kind.filename}.lock"):
                if _broken(kind, root):
                    download_and_extract_archive(kind.url, str(root), filename=kind.filename, md5=kind.tgz_md5)
    except (OSError, RuntimeError, ValueError) as error:
        failure = f", and not to be had from {kind.url} ({' '.join(str(error).split())})"
    if broken := _broken(kind, root):
        raise UserError(
            f"{root / kind.base_folder}: {some(broken)}{failure}; put {kind.filename} (md5 {kind.tgz_md5}) into "
            f"{root}/ and run again"
        )
