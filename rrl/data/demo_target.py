"""Stage `target`: get or check the data, fix train, val and test, write the index and its card."""

import csv
import hashlib
from collections.abc import Sequence

from rrl.data.datasets import PARTS, open_part
from rrl.data.fetch import fetch
from rrl.errors import UserError
from rrl.job import Job
from rrl.store.files import complete, sha256_of_file

RULE = (
    "images are ordered by sha256 of 'split_seed/part/position'; in that order each class gives its first "
    "train_per_class images to train and the next val_per_class to val; test is the published test part, "
    "or all images that are left where there is none"
)
Row = tuple[str, str, int, int]  # split, part, position in the part, label


def split_images(
    labels: dict[str, Sequence[int]], classes: list[int], train_per_class: int, val_per_class: int, split_seed: int
) -> list[Row]:
    """Rows of the index by RULE, split by split.

    labels : published label of every image, per part ("train" and "test", or "all").
    Labels in the rows count 0..C-1 in the order of `classes`.
    Raises UserError if a class has too few images.
    """
    (first, *rest) = labels
    splits: dict[str, list[Row]] = {"train": [], "val": [], "test": []}
    taken = dict.fromkeys(classes, 0)
    for position in _order(first, len(labels[first]), split_seed):
        published = labels[first][position]
        if published in taken:
            count = taken[published]
            split = "train" if count < train_per_class else "val" if count < train_per_class + val_per_class else "test"
            taken[published] += 1
            if split != "test" or not rest:
                splits[split].append((split, first, position, classes.index(published)))
    needed = train_per_class + val_per_class + (0 if rest else 1)
    for published, count in taken.items():
        if count < needed:
            raise UserError(
                f"class {published}: found {count} images, the split needs at least {needed}; "
                "lower train_per_class or val_per_class, or take another class"
            )
    for part in rest:
        for position, published in enumerate(labels[part]):
            if published in taken:
                splits["test"].append(("test", part, position, classes.index(published)))
    return [row for split in splits.values() for row in split]


def _order(part: str, count: int, seed: int) -> list[int]:
    """A permutation that no library version can change."""
    return sorted(range(count), key=lambda position: hashlib.sha256(f"{seed}/{part}/{position}".encode()).digest())


def make(job: Job) -> None:
    settings, pins = job.settings.source, job.settings.pins
    folder = fetch(settings.dataset, pins, job.data_root)
    labels = {
        part: open_part(settings.dataset, part, job.data_root).labels.tolist() for part in PARTS[settings.dataset]
    }
    rows = split_images(labels, settings.classes, settings.train_per_class, settings.val_per_class, settings.split_seed)
    index = job.output.with_suffix(".csv")
    with complete(index) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["split", "part", "position", "label"])
        writer.writerows(rows)
    facts = {
        "classes": len(settings.classes),
        "counts": {split: sum(row[0] == split for row in rows) for split in ("train", "val", "test")},
        "rule": RULE,
        "fingerprint": [[name, (folder / name).stat().st_size] for name in sorted(pins)],
    }
    job.write_card(sha256_of_file(index), facts)
