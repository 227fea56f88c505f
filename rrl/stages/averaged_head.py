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
from rrl.heads.stage_one import StageOne, Tried, write_best
from rrl.job import begin, run
from rrl.selection import SELECTED_ON, Best
from rrl.store.read_features import read_split


def cross_entropy(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """Mean over images; logits (N, C), labels (N,)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]).mean())


def untrained(start: StageOne) -> Tried:
    """Score the averaged head as it is. Raises UserError if its loss is not finite."""
    scores, labels = {}, {}
    weight, bias = start.head
    for split in ("val", "test"):
        features, labels[split] = read_split(start.representation, split)
        scores[split] = features[0].astype(np.float32) @ weight.T + bias
    split = SELECTED_ON[start.settings.selection]
    top1 = float((scores[split].argmax(1) == labels[split]).mean())
    loss = cross_entropy(scores[split], labels[split])
    if not math.isfinite(loss):
        rule = start.settings.selection
        raise UserError(f"{start.setting}, {rule}: the loss on {split} is {loss}; leave this setting out")
    return Tried(Best(top1, loss), {}, [{"top1": [round(top1, 6)], "loss": [round(loss, 6)]}], labels, lambda: scores)


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("averaged_head", argv, __doc__)
    with threadpool_limits(job.threads):  # another number may round otherwise
        write_best(job, "averaged_head", untrained, started)


if __name__ == "__main__":
    run(main)
