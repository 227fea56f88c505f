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
from dataclasses import asdict
from pathlib import Path

from rrl.cached import read_data
from rrl.command import Command, boolean, build, count_or_all, run
from rrl.device import multiply_by_onednn, prepare
from rrl.heads import (
    HEAD_TRAINING_FLAGS,
    HeadTraining,
    Setting,
    grid_rows,
    initial_head,
    train_heads,
    trainings,
    write_scores,
)
from rrl.logits import logits_file
from rrl.record import SELECTED_ON, entry, subject, write_record


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("probe", __doc__)
    command.card("--representation", "card of the representation")
    command.setting("--shots", count_or_all, "training images per class, each a probe of its own, or all", many=True)
    command.setting("--learning-rates", float, "base learning rates of the grid", many=True)
    command.setting("--weight-decays", float, "weight decays of the grid", many=True)
    command.fields(HeadTraining, HEAD_TRAINING_FLAGS)
    command.setting("--batch-norm", boolean, "batch norm in front of the linear layer: true or false")
    command.place("--threads", int, "threads of each process")
    command.place("--logits", Path, "logits to write")
    command.place("--output", Path, "record to write")
    arguments, job = command.parse(argv)
    started = time.monotonic()

    device = prepare(arguments.threads)
    multiply_by_onednn()
    representation, training = arguments.representation, build(HeadTraining, arguments)
    data = read_data(representation, device)
    labels = {split: data[split].labels.cpu().numpy() for split in ("val", "test")}
    settings = [Setting(rate, decay) for rate in arguments.learning_rates for decay in arguments.weight_decays]
    head = initial_head(representation.facts["classes"], representation.facts["feature_dim"], training.seed)
    classes = representation.facts["classes"]
    entries = []
    with logits_file(arguments.logits, len(SELECTED_ON) * len(arguments.shots), classes, labels) as file:
        for shots in arguments.shots:
            for rules, images in trainings(data, shots):
                selections, curves = train_heads(head, images, data, rules, settings, training, arguments.batch_norm)
                for rule, selection in selections.items():
                    grid = grid_rows(settings, curves[selection.split], len(labels[selection.split]))
                    selected = asdict(settings[selection.setting]) | {"epoch": selection.epoch + 1}
                    scores = write_scores(file, f"{shots}/{rule}", selection, data, classes)
                    entries.append(entry(shots, rule, len(images.labels), scores, labels, selected, grid))
                    picked = f"{json.dumps(selected)} top1 {entries[-1]['top1']:.4f}"
                    print(f"shots {shots} {rule}: {picked}", file=sys.stderr)
        digest = file.finish(labels)
    write_record(arguments.output, job, subject(representation), "linear_probe", entries, digest, started)


if __name__ == "__main__":
    run(main)
