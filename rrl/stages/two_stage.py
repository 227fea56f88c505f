"""Stage `two_stage`: a head on the concatenated features of networks that were fine-tuned one by one.

It starts from their averaged head and is trained briefly, without batch norm, for each setting of the first
stage with the weight decay of that setting; trunks stay as they are. The setting and epoch are picked by the
rule that the networks were fine-tuned under.
"""

import time
from collections.abc import Sequence

import torch

from rrl.config.settings import HeadGrid
from rrl.heads.cached import join, read_data
from rrl.heads.picking import EVALUATED, all_logits
from rrl.heads.stage_one import StageOne, Tried, write_best
from rrl.heads.training import grid_of, grid_rows, selected, train_heads
from rrl.job import begin, run
from rrl.selection import training_images
from rrl.training.device import multiply_by_onednn, prepare


def second_stage(start: StageOne, heads: HeadGrid, device: torch.device) -> Tried:
    """Train the averaged head at every learning rate."""
    rule, shots = start.settings.selection, start.settings.shots
    settings = grid_of(heads.learning_rates, [start.settings.weight_decay])
    data = read_data(start.representation, device)
    weight, bias = (torch.from_numpy(part) for part in start.head)
    images = training_images(data, rule, shots, join)
    selections, curves = train_heads((weight, bias), images, data, [rule], settings, heads, batch_norm=False)
    selection = selections[rule]
    labels = {split: data[split].labels.cpu().numpy() for split in EVALUATED}
    rows = grid_rows(settings, curves[selection.split], len(labels[selection.split]))
    return Tried(selection.best, selected(selection, settings), rows, labels, lambda: all_logits(selection.head, data))


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("two_stage", argv, __doc__)
    device = prepare(job.threads, job.settings.arithmetic)
    multiply_by_onednn(device)
    write_best(job, "two_stage", lambda start: second_stage(start, job.settings.heads, device), started)


if __name__ == "__main__":
    run(main)
