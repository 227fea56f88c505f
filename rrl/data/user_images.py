"""Images of the user: each is looked at once, when the target is made, and opened again when it is needed."""

import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rrl.bars import Bar
from rrl.config.settings import ImageSource
from rrl.data.image_sources import opened
from rrl.data.image_splits import NAMED, RULE, rows_of, splits_of
from rrl.data.items import Item, Source, by_reference
from rrl.data.pictures import Unreadable, conversions, upright
from rrl.data.targets import Target, source_of
from rrl.errors import UserError
from rrl.job import Card


def make(source: ImageSource, pins: Mapping[str, str], data_root: Path, threads: int) -> Target:
    """The target of a user's data."""
    data = opened(source.source, data_root)
    if data.fingerprint != source.fingerprint:
        raise UserError(
            f"{data.name}: its fingerprint is {data.fingerprint}, the config says {source.fingerprint}: "
            "files were added, removed or changed since; write the former into the config if you mean these files"
        )
    converted, unreadable = look(data, threads)
    parts = leave_out(data, unreadable, source.unreadable)
    try:
        splits = splits_of(parts, source.val_fraction, source.test_fraction, source.split_seed)
    except UserError as error:
        raise UserError(f"{data.name}: {error}") from None
    classes = sorted({item.label for _, item in splits["train"]}, key=_numbers_by_size)
    for kind, count in converted.items():
        print(f"{count} images: {kind}", file=sys.stderr)
    facts = {
        "classes": len(classes),
        "class_names": classes,
        "rule": RULE,
        "converted": converted,
        "left_out": {image: reason for lines in unreadable.values() for image, reason in lines.items()},
        "no_images_by_name": data.other,
    }
    return Target(rows_of(splits, classes), "image", facts)


def _numbers_by_size(label: str) -> tuple[int, str]:
    return (int(label), label) if label.isdecimal() else (-1, label)


def look(source: Source, threads: int) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    """How many images each conversion was needed for, and, by part, the images that cannot be used with the reason."""

    def one(part: str, item: Item) -> list[str] | str:
        try:
            picture = source.open[part](item.reference)
            needed = list(conversions(picture))
            upright(picture, channels=3)
            return needed
        except Unreadable as error:
            return str(error)

    counts: Counter[str] = Counter()
    unreadable: dict[str, dict[str, str]] = {}
    total = sum(map(len, source.parts.values()))
    with Bar("looked at", "image", total) as bar, ThreadPoolExecutor(threads) as pool:
        for part, items in source.parts.items():
            for item, seen in zip(items, pool.map(lambda item, part=part: one(part, item), items), strict=True):
                bar.add()
                if isinstance(seen, str):
                    unreadable.setdefault(part, {})[str(item.reference)] = seen
                else:
                    counts.update(seen)
    return dict(sorted(counts.items())), unreadable


def leave_out(source: Source, unreadable: dict[str, dict[str, str]], policy: str) -> dict[str, list[Item]]:
    """The parts without what cannot be used. Raises UserError, with the names, if the policy is to stop."""
    lines = [f"{image}: {reason}" for part in unreadable.values() for image, reason in part.items()]
    total = sum(map(len, source.parts.values()))
    if lines:
        print(*lines, sep="\n", file=sys.stderr)
    if lines and policy == "stop":
        some = "; ".join(lines[:NAMED]) + (f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else "")
        raise UserError(
            f"{source.name}: {len(lines)} of {total} images cannot be used: {some}. Repair or remove them, "
            "or have them left out (unreadable: leave_out in the config, --leave-out for rrl compare)"
        )
    return {
        part: [item for item in items if str(item.reference) not in unreadable.get(part, {})]
        for part, items in source.parts.items()
    }


def images(target: Card, rows: list[dict[str, str]], data_root: Path) -> tuple[Any, Any]:
    """References of rows of the index, and what opens one. Raises UserError if the files have changed."""
    source = source_of(target)
    data, planned = opened(source["source"], data_root), source["fingerprint"]
    if data.fingerprint != planned:
        raise UserError(
            f"{data.name}: files were added, removed or changed since {target.path} was made (fingerprint "
            f"{data.fingerprint}, then {planned}); put the files back, or write the new "
            "fingerprint into the config: all that was made of the old files is then made again"
        )
    return by_reference(rows, data.name, data.open)
