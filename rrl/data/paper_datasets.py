"""The data sets of the paper, as they are published, as sources of images with the parts train and test.

The label of an image is the position of its class in `class_names`: class folders sorted as text for ImageNet and
iNaturalist 2018 (category 10 comes before 9), the published order for CIFAR, which is alphabetical. What the paper
tests on is the part `test`: the published val images of ImageNet and iNaturalist 2018. Images are not opened when a
target is made: one that cannot be read stops the job that reads it, with its name.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from rrl.config.settings import PaperSource
from rrl.data.image_splits import RULE, rows_of, splits_of
from rrl.data.items import Item, Source, by_reference
from rrl.data.paper_folders import some
from rrl.data.sources import DATASETS, PAPER, names
from rrl.data.targets import Target, source_of
from rrl.errors import UserError
from rrl.job import Card


def make(source: PaperSource, pins: Mapping[str, str], data_root: Path, threads: int) -> Target:
    """The target of a whole data set; val is drawn from its training images."""
    dataset = source.dataset
    opened = open_paper_dataset(dataset, data_root, threads, source.classes)
    print(*describe(dataset, opened), sep="\n", file=sys.stderr)
    splits = splits_of(opened.parts, source.val_fraction, 0.0, source.split_seed)
    classes = class_names(opened)
    facts = {"classes": len(classes), "class_names": classes, "rule": RULE}
    facts |= {"fingerprint": opened.fingerprint, "batches": opened.batches}
    return Target(rows_of(splits, classes), "image", facts)


def images(target: Card, rows: list[dict[str, str]], data_root: Path) -> tuple[Any, Any]:
    """References of rows of the index, and what opens one.

    Folders are not read again: of a million images that would take longer than to open those that are needed.
    Raises UserError if one of CIFAR's files is missing or another than when the target was made.
    """
    dataset = source_of(target)["dataset"]
    return by_reference(
        rows, dataset, resolve_name(DATASETS[dataset].reopener)(dataset, data_root, target.facts["batches"])
    )


def open_paper_dataset(dataset: str, data_root: Path, threads: int, classes: int | None = None) -> Source:
    """A data set in its published layout.

    data_root : holds imagenet/, inaturalist18/ and, for CIFAR, torchvision/. threads : folders that are read at once.
    classes : how many there must be; None for as many as published; another number declares a miniature.
    Raises UserError if the files are not there, or not as they should be.
    """
    if dataset not in names(PAPER):
        raise UserError(f"data set {dataset!r}: must be one of {', '.join(names(PAPER))}")
    entry = DATASETS[dataset]
    try:
        opened: Source = resolve_name(entry.opener)(data_root / dataset, classes or entry.classes, threads)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); make it readable") from None
    return opened


def class_names(source: Source) -> list[str]:
    """The classes of the training images, sorted as text: position is label, in every part."""
    return sorted({item.label for item in source.parts["train"]})


def describe(dataset: str, source: Source) -> list[str]:
    """A line per part with its counts and what differs from the published ones; none of it is an error."""
    published_classes = len(class_names(source)) == DATASETS[dataset].classes
    return [_describe_part(dataset, part, source.parts[part], published_classes) for part in source.parts]


def _describe_part(dataset: str, part: str, items: list[Item], published_classes: bool) -> str:
    counts = Counter(item.label for item in items)
    few, many = min(counts.values()), max(counts.values())
    line = f"{dataset} {part}: {len(items):,} images of {len(counts):,} classes, {few:,} to {many:,} each"
    count, fewest = DATASETS[dataset].published[part]
    if not published_classes:
        return f"{line}; published are {count:,} images of {DATASETS[dataset].classes:,} classes"
    if len(items) != count:
        line += f"; published are {count:,} images"
    if short := [f"{label} has {count:,}" for label, count in sorted(counts.items()) if count < fewest]:
        line += f"; {len(short):,} classes have fewer than the published {fewest:,} ({some(short)})"
    return line
