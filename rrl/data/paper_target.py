"""Stage `paper_target`: one of the paper's data sets as it is published: check its layout, fix train, val and test.

The published val images of ImageNet and iNaturalist 2018 are `test`; val is drawn from the training images. Images are
not opened here: one that cannot be read stops the job that reads it, with its name.
"""

import sys

from rrl.data.image_splits import RULE, SPLIT_NAMES, splits_of, write_index
from rrl.data.paper_datasets import batches_of, class_names, describe, open_paper_dataset
from rrl.job import Job
from rrl.store.files import sha256_of_file


def make(job: Job) -> None:
    settings = job.settings.source
    source = open_paper_dataset(settings.dataset, job.data_root, job.threads, settings.classes)
    print(*describe(settings.dataset, source), sep="\n", file=sys.stderr)
    splits = splits_of(source.parts, settings.val_fraction, 0.0, settings.split_seed)
    classes = class_names(source)
    index = job.output.with_suffix(".csv")
    write_index(index, splits, classes)
    facts = {
        "classes": len(classes),
        "class_names": classes,
        "counts": {split: len(splits[split]) for split in SPLIT_NAMES},
        "rule": RULE,
        "fingerprint": source.fingerprint,
        "batches": batches_of(settings.dataset),
    }
    job.write_card(sha256_of_file(index), facts)
