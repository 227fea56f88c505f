"""What the stages of linear probes share: their flags, and the way from a representation to a record."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rrl.heads.cached import Data, join, read_data
from rrl.heads.sgd import Selection, write_scores
from rrl.job import Job
from rrl.selection import SELECTED_ON, rules_by_training, training_images
from rrl.store.logits import logits_file, logits_path
from rrl.store.record import entry, subject, write_record
from rrl.training.device import multiply_by_onednn, prepare


@dataclass(frozen=True)
class Picked:
    """What a selection rule picked. selected : the setting, and where in its training; grid : all that were tried."""

    selection: Selection
    selected: dict[str, Any]
    grid: list[dict[str, Any]]


# Trains heads on images, for some rules, which pick among them on a split of the representation.
Fit = Callable[[Data, list[str], dict[str, Data]], dict[str, Picked]]


def write_probes(job: Job, fit: Fit, started: float) -> None:
    """Probes of all numbers of shots by both rules; their logits and the record are written."""
    device = prepare(job.threads, job.settings.arithmetic)
    multiply_by_onednn(device)
    (representation,) = job.inputs
    data = read_data(representation, device)
    labels = {split: data[split].labels.cpu().numpy() for split in ("val", "test")}
    classes, entries, every = representation.facts["classes"], [], job.settings.shots
    with logits_file(logits_path(job.output), len(SELECTED_ON) * len(every), classes, labels) as file:
        for shots in every:
            for rules in rules_by_training(shots):
                images = training_images(data, rules[0], shots, join)
                for rule, picked in fit(images, rules, data).items():
                    scores = write_scores(file, f"{shots}/{rule}", picked.selection, data, classes)
                    number = len(images.labels)
                    entries.append(entry(shots, rule, number, scores, labels, picked.selected, picked.grid))
                    result = f"{json.dumps(picked.selected)} top1 {entries[-1]['top1']:.4f}"
                    print(f"shots {shots} {rule}: {result}", file=sys.stderr)
        digest = file.finish(labels)
    write_record(job, subject(representation), "linear_probe", entries, digest, started)
