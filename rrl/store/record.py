"""Records: one transfer of one representation to one target, with every setting that was tried.

A record is a card whose facts hold the results, one entry per number of shots and selection rule.
Its digest is that of the logits. Times and host are kept apart, in {transfer}.run.json, so that the
record itself is the same, byte for byte, whenever and wherever it is made again.
"""

import platform
import socket
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rrl.errors import UserError
from rrl.job import Card, Job
from rrl.selection import SELECTED_ON, training_splits
from rrl.store.files import write_json

ROWS = 4096  # of logits that are read at once


@dataclass(frozen=True)
class Subject:
    """What a record is about. members: networks or column ranges of them; seeds and parameters: of the networks."""

    target: str
    representation: str
    members: list[str]
    seeds: list[int]
    parameters: int
    feature_dim: int


def subject_of(representation: Card, members: Collection[int] | None = None) -> Subject:
    """A representation as the subject of a record, or some of its members, by their positions."""
    target, name = representation.artifact.split("/")[1:]
    chosen = [
        member for number, member in enumerate(representation.facts["members"]) if members is None or number in members
    ]
    networks = {member["features"]: member for member in chosen}.values()  # each once, whatever columns are taken
    return Subject(
        target=target,
        representation=name,
        members=[member["member"] for member in chosen],
        seeds=[network["seed"] for network in networks],
        parameters=sum(network["parameters"] for network in networks),
        feature_dim=sum(member["columns"][1] - member["columns"][0] for member in chosen),
    )


def representation_of(job: Job) -> str:
    """The name of the representation that a record is about."""
    return job.artifact.split("/")[2]


def entry(
    shots: int | str, rule: str, n_train: int, scores: dict[str, Any], labels: dict[str, Any], selected: Any, grid: Any
) -> dict[str, Any]:
    """One result: a number of shots and a selection rule.

    scores : val and test -> logits (N, C) of what was picked; labels : the same -> (N,); arrays, or the logits as
    datasets of a file.
    selected : the setting and epoch that were picked, of an ensemble those of each member; grid : every setting
    with a curve per epoch, of L-BFGS with the end alone; None for an ensemble.
    Raises UserError if a logit is not finite: which class has the largest would mean nothing.
    """
    correct = dict.fromkeys(scores, 0)
    for split, logits in scores.items():
        for start in range(0, len(logits), ROWS):
            rows = logits[start : start + ROWS]
            if not np.isfinite(rows).all():
                image = start + int(np.argwhere(~np.isfinite(rows))[0][0])
                raise UserError(
                    f"shots {shots}, {rule}: the logits of image {image} of {split} are not finite; lower learning_rate"
                )
            correct[split] += int((rows.argmax(1) == labels[split][start : start + ROWS]).sum())
    top1 = {split: correct[split] / len(labels[split]) for split in labels}
    return {
        "shots": shots,
        "selection": rule,
        "selected_on": SELECTED_ON[rule],
        "n_train": n_train,
        "n_val": len(labels["val"]),
        "n_test": len(labels["test"]),
        "selected": selected,
        "top1": top1["test"],
        "val_top1": None if "val" in training_splits(rule, shots) else top1["val"],
        "grid": grid,
    }


def write_run(path: Path, started: float) -> None:
    """Times, host and versions of the libraries, of the job whose card is at `path`; started: by time.monotonic."""
    run = {
        "seconds": round(time.monotonic() - started, 3),  # also where the clock was set meanwhile
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "torchvision", "numpy", "h5py", "safetensors")},
    }
    write_json(path.with_suffix(".run.json"), run)


def write_record(
    job: Job,
    subject: Subject,
    transfer: str,
    results: list[dict[str, Any]],
    digest: str,
    started: float,
    members_transfer: str | None = None,
) -> None:
    """results : of `entry`.
    members_transfer : of an ensemble, how its members were trained.
    """
    facts = {**asdict(subject), "transfer": transfer, "of": members_transfer, "results": results}
    write_run(job.output, started)
    job.write_card(digest, facts)


def rows(record: Card) -> list[dict[str, Any]]:
    """A flat row per number of shots and selection rule; `seeds` as one word, `top1` a fraction of n_test images."""
    facts = record.facts
    return [
        {
            "target": facts["target"],
            "shots": entry["shots"],
            "representation": facts["representation"],
            "transfer": facts["transfer"],
            "of": facts["of"],
            "selection": entry["selection"],
            "top1": entry["top1"],
            "n_train": entry["n_train"],
            "n_test": entry["n_test"],
            "parameters": facts["parameters"],
            "feature_dim": facts["feature_dim"],
            "seeds": "+".join(str(seed) for seed in facts["seeds"]),
            "record": f"{record.artifact}.json",
        }
        for entry in facts["results"]
    ]
