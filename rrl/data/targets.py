"""Targets: a data set with its images split into train, val and test, as an index of images and facts."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rrl.config.settings import DemoSource, ImageSource, PaperSource
from rrl.data.sources import DATASETS
from rrl.job import Card
from rrl.store.files import complete

SPLITS = ("train", "val", "test")
Row = tuple[str, str, int | str, int]  # split, part, image, label


@dataclass(frozen=True)
class Target:
    """rows : split by split; labels count from 0 in the order of the classes.
    image : how the index names its column of images: `position` in a part, or `image` where each has a name.
    facts : of the card, besides the counts.
    """

    rows: Sequence[Row]
    image: str
    facts: dict[str, Any]


def make_target(
    source: DemoSource | PaperSource | ImageSource, pins: Mapping[str, str], data_root: Path, threads: int
) -> Target:
    """Open a data set and split it.

    pins : sha256 of each of its files, if it is fetched.
    threads : folders or images that are looked at at once.
    Raises UserError if the data are not there, or not as they should be.
    """
    made: Target = import_module(DATASETS[source.dataset].kind).make(source, pins, data_root, threads)
    counts = Counter(row[0] for row in made.rows)
    return Target(made.rows, made.image, made.facts | {"counts": {split: counts[split] for split in SPLITS}})


def write_index(path: Path, target: Target) -> None:
    """A line per image: split, part, image, label."""
    quoting: Any = csv.QUOTE_NONNUMERIC if target.image == "image" else csv.QUOTE_MINIMAL  # names have line breaks
    with complete(path) as partial, open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=quoting)
        writer.writerow(["split", "part", target.image, "label"])
        writer.writerows(target.rows)


def source_of(card: Card) -> dict[str, Any]:
    """The data set of a target and how it is split."""
    source: dict[str, Any] = card.settings["source"]
    return source
