"""Stage `image_target`: look at every image of a user's data once, fix train, val and test, write index and card."""

import csv
import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rrl.command import Command, run
from rrl.errors import UserError
from rrl.files import complete, sha256_of_file
from rrl.image_sources import WHOLE, Item, Source, opened
from rrl.pictures import Unreadable, conversions, upright

RULE = (
    "where the data have no test part (of train and val alone, val is the test part) or no val part, each class gives "
    "the first images in the order of sha256 of 'split_seed/image': test_fraction of its images to test, then "
    "val_fraction to val, at least one each; the rest is train"
)
NAMED = 10  # images in a message; the log has them all
Row = tuple[str, str, str, int]  # split, part, image, label


def look(source: Source, threads: int) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    """How many images each conversion was needed for, and, by part, the images that cannot be used with the reason."""

    def one(part: str, item: Item) -> list[str] | str:
        try:
            picture = source.open[part](item.reference)
            found = list(conversions(picture))
            upright(picture, channels=3)
            return found
        except Unreadable as error:
            return str(error)

    counts: Counter[str] = Counter()
    unreadable: dict[str, dict[str, str]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for part, items in source.parts.items():
            for item, found in zip(items, pool.map(lambda item, part=part: one(part, item), items), strict=True):
                if isinstance(found, str):
                    unreadable.setdefault(part, {})[str(item.reference)] = found
                else:
                    counts.update(found)
    return dict(sorted(counts.items())), unreadable


def splits_of(
    parts: dict[str, list[Item]], val_fraction: float, test_fraction: float, split_seed: int
) -> dict[str, list[tuple[str, Item]]]:
    """Split -> part and item, by RULE. Raises UserError if a class or split would be empty, or there is one class."""
    held = {name: [(name, item) for item in items] for name, items in parts.items()}
    if "test" not in held and "val" in held:
        held["test"] = held.pop("val")
    train = held.pop("train", None) or held.pop(WHOLE)
    wanted = {"test": test_fraction, "val": val_fraction}
    wanted = {split: fraction for split, fraction in wanted.items() if split not in held}
    by_class: dict[str, list[tuple[str, Item]]] = {}
    for part, item in train:
        by_class.setdefault(item.label, []).append((part, item))
    _check_classes(by_class, held, wanted)
    splits: dict[str, list[tuple[str, Item]]] = {"train": [], **held}
    for label in sorted(by_class):
        images = sorted(by_class[label], key=lambda entry: _order(entry[1], split_seed))
        at = 0
        for split, fraction in wanted.items():
            count = max(1, int(fraction * len(images) + 0.5))
            splits.setdefault(split, []).extend(images[at : at + count])
            at += count
        splits["train"] += images[at:]
    return splits


def _order(item: Item, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{item.reference}".encode(errors="surrogateescape")).digest()


def _check_classes(
    by_class: dict[str, list[tuple[str, Item]]], held: dict[str, list[tuple[str, Item]]], wanted: dict[str, float]
) -> None:
    if len(by_class) < 2:
        raise UserError(f"one class only ({', '.join(by_class) or 'none'}); at least two are needed")
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
            raise UserError(f"{split}: class {unknown[0]!r} and {len(unknown) - 1} more have no image in train")
        if not images:
            raise UserError(
                f"{split}: no image in it; add some, or take the empty part away and it is drawn from train"
            )


def leave_out(source: Source, unreadable: dict[str, dict[str, str]], policy: str) -> dict[str, list[Item]]:
    """The parts without what cannot be used. Raises UserError, with the names, if the policy is to stop."""
    lines = [f"{image}: {reason}" for images in unreadable.values() for image, reason in images.items()]
    total = sum(map(len, source.parts.values()))
    if lines:
        print(*lines, sep="\n", file=sys.stderr)
    if lines and policy == "stop":
        some = "; ".join(lines[:NAMED]) + (f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else "")
        raise UserError(
            f"{source.name}: {len(lines)} of {total} images cannot be used: {some}. Mend or remove them, "
            "or have them left out (unreadable: leave_out in the config, --leave-out for rrl compare)"
        )
    return {
        part: [item for item in items if str(item.reference) not in unreadable.get(part, {})]
        for part, items in source.parts.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("image_target", __doc__)
    command.setting("--source", str, "folder, CSV or arrays below the data folder, or torchvision/<data set>")
    command.setting("--fingerprint", str, "of the data that the config was written for")
    command.setting("--unreadable", str, "stop or leave_out: what to do about images that cannot be used")
    command.setting("--val-fraction", float, "of the images of each class")
    command.setting("--test-fraction", float, "of the images of each class")
    command.setting("--split-seed", int, "changes which images are drawn")
    command.place("--data-root", Path, "folder of the data sets")
    command.place("--threads", int, "images that are looked at at once")
    command.place("--name", str, "name of the target")
    command.place("--output", Path, "card to write; the index is written beside it")
    arguments, job = command.parse(argv)

    source = opened(arguments.source, arguments.data_root)
    if source.fingerprint != arguments.fingerprint:
        raise UserError(
            f"{source.name}: its fingerprint is {source.fingerprint}, the config says {arguments.fingerprint}: "
            "files were added, removed or changed since; write the former into the config if you mean these files"
        )
    converted, unreadable = look(source, arguments.threads)
    parts = leave_out(source, unreadable, arguments.unreadable)
    try:
        splits = splits_of(parts, arguments.val_fraction, arguments.test_fraction, arguments.split_seed)
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from None
    classes = sorted({item.label for _, item in splits["train"]}, key=_numbers_by_size)
    rows: list[Row] = [
        (split, part, str(item.reference), classes.index(item.label))
        for split in ("train", "val", "test")
        for part, item in splits[split]
    ]
    index = arguments.output.with_suffix(".csv")
    with complete(index) as partial, open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["split", "part", "image", "label"])
        writer.writerows(rows)
    facts = {
        "classes": len(classes),
        "class_names": classes,
        "counts": {split: len(splits[split]) for split in ("train", "val", "test")},
        "rule": RULE,
        "converted": converted,
        "left_out": {image: reason for images in unreadable.values() for image, reason in images.items()},
        "no_images_by_name": source.other,
    }
    for kind, count in converted.items():
        print(f"{count} images: {kind}", file=sys.stderr)
    job.write_card(arguments.output, f"targets/{arguments.name}", sha256_of_file(index), facts)


def _numbers_by_size(label: str) -> tuple[int, str]:
    return (int(label), label) if label.isdecimal() else (-1, label)


if __name__ == "__main__":
    run(main)
