"""Stage `two_stage`: a head on the concatenated features of networks that were fine-tuned one by one.

It starts from their averaged head and is trained briefly, without batch norm, for each setting of the first
stage with the weight decay of that setting; trunks stay as they are. The setting and epoch are picked by the
rule that the networks were fine-tuned under.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from rrl.heads.cached import join, read_data
from rrl.heads.sgd import Setting, all_scores, grid_rows, train_heads
from rrl.heads.stage_one import about, stage_one
from rrl.job import begin, run
from rrl.selection import Best, training_images
from rrl.store.logits import Labels, Scores, logits_path, write_logits
from rrl.store.record import entry, representation_of, write_record
from rrl.training.device import multiply_by_onednn, prepare


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("two_stage", argv, __doc__)
    cards, networks = job.cards("representations"), job.cards("networks")
    device = prepare(job.threads, job.settings.arithmetic)
    multiply_by_onednn(device)
    training = job.settings.heads
    best: dict[str, Best] = {}
    entries: dict[str, dict[str, Any]] = {}
    grids: dict[str, list[dict[str, Any]]] = {}
    kept: Scores = {}
    labels: Labels = {}
    for start in stage_one(cards, networks, job.settings.stage_one):
        rule, shots = start.settings.selection, start.settings.shots
        settings = [Setting(rate, start.settings.weight_decay) for rate in training.learning_rates]
        data = read_data(start.representation, device)
        labels = {split: data[split].labels.cpu().numpy() for split in ("val", "test")}
        weight, bias = (torch.from_numpy(part) for part in start.head)
        images = training_images(data, rule, shots, join)
        selections, curves = train_heads((weight, bias), images, data, [rule], settings, training, batch_norm=False)
        selection = selections[rule]
        rows = grid_rows(settings, curves[selection.split], len(labels[selection.split]))
        grid = grids.setdefault(rule, [])
        grid += [{"stage_one": start.setting, **row} for row in rows]
        if best.setdefault(rule, Best()).offer(selection.best.correct, selection.best.loss):
            setting = asdict(settings[selection.setting])
            selected = {"stage_one": start.setting, **setting, "epoch": selection.epoch + 1}
            scores = kept[f"{shots}/{rule}"] = all_scores(selection, data)
            entries[rule] = entry(shots, rule, start.n_train, scores, labels, selected, grid)
    for result in entries.values():
        print(f"{result['selection']}: {json.dumps(result['selected'])} top1 {result['top1']:.4f}", file=sys.stderr)
    digest = write_logits(logits_path(job.output), kept, labels)
    subject = about(representation_of(job), cards[0], networks)
    write_record(job, subject, "two_stage", list(entries.values()), digest, started)


if __name__ == "__main__":
    run(main)
