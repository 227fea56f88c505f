"""What the stages of linear probes share: their flags, and the way from a representation to a record."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrl.command import Command, boolean_or, count_or_all
from rrl.heads.cached import Data, read_data
from rrl.heads.sgd import Selection, trainings, write_scores
from rrl.store.cards import Job
from rrl.store.logits import logits_file
from rrl.store.record import SELECTED_ON, entry, subject, write_record
from rrl.training.device import multiply_by_onednn, prepare


@dataclass(frozen=True)
class Picked:
    """What a selection rule picked. selected : the setting, and where in its training; grid : all that were tried."""

    selection: Selection
    selected: dict[str, Any]
    grid: list[dict[str, Any]]


# Trains heads on images, for some rules, which pick among them on a split of the representation.
Fit = Callable[[Data, list[str], dict[str, Data]], dict[str, Picked]]


def probe_command(stage: str, description: str | None) -> Command:
    """The flags that all have."""
    command = Command(stage, description)
    command.card("--representation", "card of the representation")
    command.setting("--shots", count_or_all, "training images per class, each a probe of its own, or all", many=True)
    command.setting("--weight-decays", float, "weight decays of the grid", many=True)
    norm = "batch norm in front of the linear layer: true, false, or decayed: with weight decay on it too"
    command.setting("--batch-norm", boolean_or("decayed"), norm)
    command.place("--threads", int, "threads of each process")
    command.place("--logits", Path, "logits to write")
    command.place("--output", Path, "record to write")
    return command


def write_probes(arguments: argparse.Namespace, job: Job, fit: Fit) -> None:
    """Probes of all numbers of shots by both rules; their logits and the record are written."""
    started = time.monotonic()
    device = prepare(arguments.threads, arguments.arithmetic)
    multiply_by_onednn(device)
    representation = arguments.representation
    data = read_data(representation, device)
    labels = {split: data[split].labels.cpu().numpy() for split in ("val", "test")}
    classes, entries = representation.facts["classes"], []
    with logits_file(arguments.logits, len(SELECTED_ON) * len(arguments.shots), classes, labels) as file:
        for shots in arguments.shots:
            for rules, images in trainings(data, shots):
                for rule, picked in fit(images, rules, data).items():
                    scores = write_scores(file, f"{shots}/{rule}", picked.selection, data, classes)
                    number = len(images.labels)
                    entries.append(entry(shots, rule, number, scores, labels, picked.selected, picked.grid))
                    told = f"{json.dumps(picked.selected)} top1 {entries[-1]['top1']:.4f}"
                    print(f"shots {shots} {rule}: {told}", file=sys.stderr)
        digest = file.finish(labels)
    write_record(arguments.output, job, subject(representation), "linear_probe", entries, digest, started)
