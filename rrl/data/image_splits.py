"""The split of a data set of images into train, val and test."""

import hashlib

from rrl.data.items import WHOLE, Item
from rrl.data.targets import SPLITS, Row
from rrl.errors import UserError

RULE = (
    "where the data have no test part (of train and val alone, val is the test part) or no val part, each class gives "
    "the first images in the order of sha256 of 'split_seed/image': test_fraction of its images to test, then "
    "val_fraction to val, at least one each; the rest, at least one too, is train"
)
NAMED = 10  # in a message
Splits = dict[str, list[tuple[str, Item]]]  # split -> part and item


def splits_of(parts: dict[str, list[Item]], val_fraction: float, test_fraction: float, split_seed: int) -> Splits:
    """Split -> part and item, by RULE. Raises UserError if a class or split would be empty, or there is one class."""
    held = {name: [(name, item) for item in items] for name, items in parts.items()}
    if "test" not in held and "val" in held:
        held["test"] = held.pop("val")
    train = held.pop("train" if "train" in held else WHOLE, [])
    wanted = {"test": test_fraction, "val": val_fraction}
    wanted = {split: fraction for split, fraction in wanted.items() if split not in held}
    by_class: Splits = {}
    for part, item in train:
        by_class.setdefault(item.label, []).append((part, item))
    _check_classes(by_class, held, wanted)
    splits: Splits = {"train": [], **held}
    for label in sorted(by_class):
        images = sorted(by_class[label], key=lambda entry: _order(entry[1], split_seed))
        at = 0
        for others, (split, fraction) in zip(range(len(wanted), 0, -1), wanted.items(), strict=True):
            count = min(max(1, int(fraction * len(images) + 0.5)), len(images) - at - others)
            splits.setdefault(split, []).extend(images[at : at + count])
            at += count
        splits["train"] += images[at:]
    return splits


def _order(item: Item, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{item.reference}".encode(errors="surrogateescape")).digest()


def _check_classes(by_class: Splits, held: Splits, wanted: dict[str, float]) -> None:
    if not by_class:
        raise UserError(f"no image to train on, only {' and '.join(held) or 'nothing'}; add a part train")
    if len(by_class) < 2:
        raise UserError(f"one class only ({', '.join(by_class)}); at least two are needed")
    needed = 1 + len(wanted)
    short = {label: len(images) for label, images in sorted(by_class.items()) if len(images) < needed}
    if short:
        some = ", ".join(f"{label!r} has {count}" for label, count in list(short.items())[:NAMED])
        what = " and ".join(wanted)
        raise UserError(
            f"{len(short)} of {len(by_class)} classes have fewer than {needed} images ({some}): nothing would be left "
            f"for {what}; add images, leave the classes out, or give parts train, val and test yourself"
            if wanted
            else f"{len(short)} of {len(by_class)} classes have no image to train on ({some})"
        )
    for split, images in held.items():
        if unknown := sorted({item.label for _, item in images} - set(by_class)):
            some = ", ".join(map(repr, unknown[:NAMED]))
            more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            raise UserError(f"{split}: train has no image of {some}{more}; add some, or take these classes out")
        if not images:
            raise UserError(
                f"{split}: no image in it; add some, or take the empty part away and it is drawn from train"
            )


def rows_of(splits: Splits, classes: list[str]) -> list[Row]:
    """A row per image for the index; as label the position of its class in `classes`."""
    numbers = {name: number for number, name in enumerate(classes)}
    return [(split, part, item.reference, numbers[item.label]) for split in SPLITS for part, item in splits[split]]
