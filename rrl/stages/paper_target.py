"""Stage `paper_target`: one of the paper's data sets as it is published: check its layout, fix train, val and test.

The published val images of ImageNet and iNaturalist 2018 are `test`; val is drawn from the training images. Images are
not opened here: one that cannot be read stops the job that reads it, with its name.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rrl.command import Command, run
from rrl.data.image_splits import RULE, SPLIT_NAMES, splits_of, write_index
from rrl.data.paper_datasets import CLASSES, batches_of, class_names, describe, open_paper_dataset
from rrl.store.files import sha256_of_file


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("paper_target", __doc__)
    command.setting("--dataset", str, f"one of {', '.join(CLASSES)}")
    command.setting("--classes", int, "that it must have")
    command.setting("--val-fraction", float, "of the training images of each class, for val")
    command.setting("--split-seed", int, "changes which images are drawn")
    command.place("--data-root", Path, "folder of the data sets")
    command.place("--threads", int, "folders that are read at once")
    command.place("--name", str, "name of the target")
    command.place("--output", Path, "card to write; the index is written beside it")
    arguments, job = command.parse(argv)

    source = open_paper_dataset(arguments.dataset, arguments.data_root, arguments.threads, arguments.classes)
    print(*describe(arguments.dataset, source), sep="\n", file=sys.stderr)
    splits = splits_of(source.parts, arguments.val_fraction, 0.0, arguments.split_seed)
    classes = class_names(source)
    index = arguments.output.with_suffix(".csv")
    write_index(index, splits, classes)
    facts = {
        "classes": len(classes),
        "class_names": classes,
        "counts": {split: len(splits[split]) for split in SPLIT_NAMES},
        "rule": RULE,
        "fingerprint": source.fingerprint,
        "batches": batches_of(arguments.dataset),
    }
    job.write_card(arguments.output, f"targets/{arguments.name}", sha256_of_file(index), facts)


if __name__ == "__main__":
    run(main)
