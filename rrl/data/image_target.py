"""Stage `image_target`: look at every image of a user's data once, fix train, val and test, write index and card."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from rrl.bars import Bar
from rrl.data.image_sources import Item, Source, opened
from rrl.data.image_splits import NAMED, RULE, SPLIT_NAMES, splits_of, write_index
from rrl.data.pictures import Unreadable, conversions, upright
from rrl.errors import UserError
from rrl.job import Job
from rrl.store.files import sha256_of_file


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
    total = sum(map(len, source.parts.values()))
    with Bar("looked at", "image", total) as bar, ThreadPoolExecutor(threads) as pool:
        for part, items in source.parts.items():
            for item, found in zip(items, pool.map(lambda item, part=part: one(part, item), items), strict=True):
                bar.add()
                if isinstance(found, str):
                    unreadable.setdefault(part, {})[str(item.reference)] = found
                else:
                    counts.update(found)
    return dict(sorted(counts.items())), unreadable


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


def make(job: Job) -> None:
    settings = job.settings.source
    source = opened(settings.source, job.data_root)
    if source.fingerprint != settings.fingerprint:
        raise UserError(
            f"{source.name}: its fingerprint is {source.fingerprint}, the config says {settings.fingerprint}: "
            "files were added, removed or changed since; write the former into the config if you mean these files"
        )
    converted, unreadable = look(source, job.threads)
    parts = leave_out(source, unreadable, settings.unreadable)
    try:
        splits = splits_of(parts, settings.val_fraction, settings.test_fraction, settings.split_seed)
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from None
    classes = sorted({item.label for _, item in splits["train"]}, key=_numbers_by_size)
    index = job.output.with_suffix(".csv")
    write_index(index, splits, classes)
    facts = {
        "classes": len(classes),
        "class_names": classes,
        "counts": {split: len(splits[split]) for split in SPLIT_NAMES},
        "rule": RULE,
        "converted": converted,
        "left_out": {image: reason for images in unreadable.values() for image, reason in images.items()},
        "no_images_by_name": source.other,
    }
    for kind, count in converted.items():
        print(f"{count} images: {kind}", file=sys.stderr)
    job.write_card(sha256_of_file(index), facts)


def _numbers_by_size(label: str) -> tuple[int, str]:
    return (int(label), label) if label.isdecimal() else (-1, label)
