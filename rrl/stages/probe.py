"""Stage `probe`: linear heads on a representation; every setting, number of shots and both selection rules in one job.

Pixels and trunks are never touched. The solver says how heads are trained (rrl.heads.solvers), the rules on which
images and what is picked (rrl.selection).
"""

import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rrl.config.settings import LbfgsProbe, Probe
from rrl.heads.cached import Data, join, read_data
from rrl.heads.picking import EVALUATED, Picked, blocks_of_logits, features_of
from rrl.heads.solvers import SOLVERS
from rrl.job import Card, begin, run
from rrl.selection import rules_by_training, training_images
from rrl.store.logits import LogitsFile, logits_file, logits_path
from rrl.store.record import Subject, entry, subject_of, write_record
from rrl.training.device import multiply_by_onednn, prepare


def probe(
    representation: Card,
    shots_tried: Sequence[int | str],
    solver_name: str,
    settings: Probe | LbfgsProbe,
    path: Path,
    device: torch.device,
) -> tuple[Subject, list[dict[str, Any]], str]:
    """Probes for all numbers of shots by each rule that the solver has; their logits are written to `path`.

    Returns the subject of the record, its results, and the digest of the logits.
    """
    solver = importlib.import_module(SOLVERS[solver_name])
    data = read_data(representation, device)
    labels = {split: data[split].labels.cpu().numpy() for split in EVALUATED}
    everyone = range(len(representation.facts["members"]))
    results: list[dict[str, Any]] = []
    members: set[int] = set()
    with logits_file(path, len(solver.RULES) * len(shots_tried), representation.facts["classes"], labels) as file:
        for shots in shots_tried:
            for rules in rules_by_training(shots, solver.RULES):
                images = training_images(data, rules[0], shots, join)
                for rule, picked in solver.fit(images, rules, data, representation, settings).items():
                    scores = write_logits(file, f"{shots}/{rule}", picked, data, representation)
                    n_train = len(images.labels)
                    results.append(entry(shots, rule, n_train, scores, labels, picked.selected, picked.grid))
                    members.update(everyone if picked.members is None else picked.members)
                    summary = f"{json.dumps(picked.selected)} top1 {results[-1]['top1']:.4f}"
                    print(f"shots {shots} {rule}: {summary}", file=sys.stderr)
        digest = file.finish(labels)
    return subject_of(representation, members), results, digest


def write_logits(
    file: LogitsFile, name: str, picked: Picked, data: dict[str, Data], representation: Card
) -> dict[str, Any]:
    """Write the logits of val and test by the head that was picked; returns them as datasets of the file."""
    scores = {}
    for split in EVALUATED:
        part = data[split] if picked.members is None else features_of(picked.members, data[split], representation)
        shape = len(part.labels), representation.facts["classes"]
        scores[split] = file.add(name, split, shape, blocks_of_logits(picked.head, part))
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("probe", argv, __doc__)
    device = prepare(job.threads, job.settings.arithmetic)
    multiply_by_onednn(device)
    subject, results, digest = probe(
        job.inputs[0], job.settings.shots, job.settings.solver, job.settings.probe, logits_path(job.output), device
    )
    write_record(job, subject, "linear_probe", results, digest, started)


if __name__ == "__main__":
    run(main)
