"""Stage `probe`: linear heads on a representation; every weight decay, learning rate, number of shots
and both selection rules in one job. Pixels and trunks are never touched.

paper   : trains on train and val (with shots: on the shots), picks setting and epoch on test, as published.
heldout : trains on train (with shots: on the shots), picks setting and epoch on val, then reads test.
With shots both rules train on the same images, so one training serves both.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rrl.command import Command, build, count_or_all, run
from rrl.features import read_split
from rrl.heads import PROBE_FLAGS, Data, Probe, Selection, Setting, train_heads, trainings
from rrl.logits import write_logits
from rrl.members import SPLITS
from rrl.record import write_record
from rrl.sweep import logits
from rrl.train import prepare


def result(
    rule: str,
    shots: int | str,
    selection: Selection,
    curves: Any,
    settings: list[Setting],
    data: dict[str, Data],
    n: int,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """One entry of the record, and the logits (N, C) of val and test by the head that was picked."""
    assert selection.head is not None
    scores = {
        split: torch.cat([logits(selection.head, part.float())[:, 0] for part in data[split].features[0].split(8192)])
        for split in ("val", "test")
    }
    top1 = {split: int((score.argmax(1) == data[split].labels).sum()) / len(score) for split, score in scores.items()}
    picked = settings[selection.setting]
    images = len(data[selection.split].labels)
    grid = [
        {
            "learning_rate": setting.learning_rate,
            "weight_decay": setting.weight_decay,
            "top1": [round(row[number] / images, 6) for row in curves[selection.split]["correct"]],
            "loss": [round(row[number], 6) for row in curves[selection.split]["loss"]],
        }
        for number, setting in enumerate(settings)
    ]
    entry = {
        "shots": shots,
        "selection": rule,
        "selected_on": selection.split,
        "n_train": n,
        "n_val": len(data["val"].labels),
        "n_test": len(data["test"].labels),
        "selected": {
            "learning_rate": picked.learning_rate,
            "weight_decay": picked.weight_decay,
            "epoch": selection.epoch + 1,
        },
        "top1": top1["test"],
        "val_top1": None if rule == "paper" and shots == "all" else top1["val"],  # val was trained on
        "grid": grid,
    }
    return entry, scores


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("probe", __doc__)
    command.card("--representation", "card of the representation")
    command.setting("--shots", count_or_all, "training images per class, each a probe of its own, or all", many=True)
    command.setting("--learning-rates", float, "base learning rates of the grid", many=True)
    command.setting("--weight-decays", float, "weight decays of the grid", many=True)
    command.fields(Probe, PROBE_FLAGS)
    command.place("--threads", int, "threads of torch")
    command.place("--logits", Path, "logits to write")
    command.place("--output", Path, "record to write")
    arguments, job = command.parse(argv)
    started = time.time()

    device = prepare(arguments.threads)
    representation, probe = arguments.representation, build(Probe, arguments)
    data = {}
    for split in SPLITS:
        features, labels = read_split(representation, split)
        data[split] = Data(torch.from_numpy(features).to(device), torch.from_numpy(labels).to(device))
    settings = [Setting(rate, decay) for rate in arguments.learning_rates for decay in arguments.weight_decays]
    entries, scores = [], {}
    for shots in arguments.shots:
        for rules, images in trainings(data, shots):
            classes = representation.facts["classes"]
            selections, curves = train_heads(images, data, rules, classes, settings, probe)
            for rule, selection in selections.items():
                entry, logits_of = result(rule, shots, selection, curves, settings, data, len(images.labels))
                print(
                    f"shots {shots} {rule}: {json.dumps(entry['selected'])} top1 {entry['top1']:.4f}", file=sys.stderr
                )
                entries.append(entry)
                scores[f"{shots}/{rule}"] = {split: score.cpu().numpy() for split, score in logits_of.items()}
    labels_of = {split: data[split].labels.cpu().numpy() for split in ("val", "test")}
    digest = write_logits(arguments.logits, scores, labels_of)
    write_record(arguments.output, job, representation, "linear_probe", entries, digest, started)


if __name__ == "__main__":
    run(main)
