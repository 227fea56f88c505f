"""Stage `averaged_head`: fine-tuned networks side by side under their averaged head, untrained.

Equal to the mean of the networks' logits: what two-stage fine-tuning starts from, and so the control that
says what its second stage adds. Of the settings of the first stage the best is picked by each rule.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from rrl.errors import UserError
from rrl.heads.stage_one import StageOne, about, stage_one
from rrl.job import begin, run
from rrl.selection import SELECTED_ON, Best
from rrl.store.logits import Labels, Scores, logits_path, write_logits
from rrl.store.read_features import read_split
from rrl.store.record import entry, representation_of, write_record


def cross_entropy(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """Mean over images; logits (N, C), labels (N,)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]).mean())


def evaluate(start: StageOne) -> tuple[dict[str, npt.NDArray[np.float32]], Labels]:
    """Logits (N, C) and labels (N,) of val and test."""
    scores, labels = {}, {}
    for split in ("val", "test"):
        features, labels[split] = read_split(start.representation, split)
        weight, bias = start.head
        scores[split] = features[0].astype(np.float32) @ weight.T + bias
    return scores, labels


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("averaged_head", argv, __doc__)
    cards, networks = job.cards("representations"), job.cards("networks")
    best: dict[str, Best] = {}
    entries: dict[str, dict[str, Any]] = {}
    grids: dict[str, list[dict[str, Any]]] = {}
    kept: Scores = {}
    labels: Labels = {}
    for start in stage_one(cards, networks, job.settings.stage_one):
        with threadpool_limits(job.threads):  # another number may round otherwise
            scores, labels = evaluate(start)
        rule, shots = start.settings.selection, start.settings.shots
        split = SELECTED_ON[rule]
        top1 = float((scores[split].argmax(1) == labels[split]).mean())
        loss = cross_entropy(scores[split], labels[split])
        if not math.isfinite(loss):
            raise UserError(f"{start.setting}, {rule}: the loss on {split} is {loss}; leave this setting out")
        grid = grids.setdefault(rule, [])
        grid.append({"stage_one": start.setting, "top1": [round(top1, 6)], "loss": [round(loss, 6)]})
        if best.setdefault(rule, Best()).offer(top1, loss):
            entries[rule] = entry(shots, rule, start.n_train, scores, labels, {"stage_one": start.setting}, grid)
            kept[f"{shots}/{rule}"] = scores
    digest = write_logits(logits_path(job.output), kept, labels)
    subject = about(representation_of(job), cards[0], networks)
    write_record(job, subject, "averaged_head", list(entries.values()), digest, started)


if __name__ == "__main__":
    run(main)
