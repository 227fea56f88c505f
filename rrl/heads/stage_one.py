"""After networks were fine-tuned one by one: their concatenated features under their averaged head, for each setting.

What two-stage fine-tuning starts from, and what its control, the averaged head itself, is scored by.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from rrl.config.settings import FirstStage
from rrl.errors import UserError
from rrl.job import Card, Job
from rrl.networks.network_file import read_network_file
from rrl.selection import Best, training_count
from rrl.store.logits import Labels, Scores, logits_path, write_logits
from rrl.store.record import Subject, entry, representation_of, subject_of, write_record

Head = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # weight (C, D) and bias (C,)


def averaged_head(cards: Sequence[Card]) -> Head:
    """The heads of networks as one head on their concatenated features, whose logits are the mean of theirs.

    Weights side by side, divided by their number, and the mean of the biases. Raises UserError if a network has no
    head, or they differ in the number of classes.
    Source: paper, section on two-stage fine-tuning; reference code.
    """
    heads = [load(read_network_file(card)) for card in cards]
    for card, head in zip(cards, heads, strict=True):
        if "head.weight" not in head:
            raise UserError(f"{card.path}: a network without a head; needed are networks fine-tuned on the target")
    classes = {card.artifact: len(head["head.bias"]) for card, head in zip(cards, heads, strict=True)}
    if len(set(classes.values())) > 1:
        raise UserError(f"heads of {classes} classes; must be the same number")
    weight = np.concatenate([head["head.weight"] for head in heads], axis=1) / len(heads)
    bias = np.mean([head["head.bias"] for head in heads], axis=0)
    return weight.astype(np.float32), bias.astype(np.float32)


@dataclass(frozen=True)
class StageOne:
    """One setting of the first stage.

    settings : learning_rate, weight_decay, epochs, shots and selection that the networks were fine-tuned with. Of
    networks that others fine-tuned learning_rate and epochs are None, and the weight decay is that of the second stage.
    n_train : images that they were fine-tuned on; of networks of others, those that the selection trains on here.
    """

    representation: Card
    settings: FirstStage
    n_train: int
    head: Head

    @property
    def setting(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in ("learning_rate", "weight_decay", "epochs")}


@dataclass(frozen=True)
class Tried:
    """What was made of one setting of the first stage.

    best : score on the split that the rule picks on.
    selected, grid : of a record's entry, without the setting of the first stage.
    labels : of val and test, (N,); logits : makes those of the same splits, (N, C).
    """

    best: Best
    selected: dict[str, Any]
    grid: list[dict[str, Any]]
    labels: Labels
    logits: Callable[[], dict[str, npt.NDArray[np.float32]]]


def stage_one(
    representations: Sequence[Card], networks: Sequence[Card], settings: Sequence[FirstStage]
) -> Iterator[StageOne]:
    """The settings of the first stage, one representation each.

    networks : those of the first representation, in the order of its members, then those of the second, ...
    """
    at = 0
    for card, setting in zip(representations, settings, strict=True):
        names = [f"networks/{member['member']}" for member in card.facts["members"]]
        members = networks[at : at + len(names)]
        at += len(names)
        given = [member.artifact for member in members]
        if names != given:
            raise UserError(f"--inputs: found networks {given}; {card.path} has members {names}")
        counts, classes = card.facts["counts"], card.facts["classes"]
        n_train = members[0].facts.get("n_train")
        if n_train is None:
            n_train = training_count(setting.selection, setting.shots, counts, classes)
        yield StageOne(card, setting, int(n_train), averaged_head(members))


def write_best(job: Job, transfer: str, attempt: Callable[[StageOne], Tried], started: float) -> None:
    """Try every setting of the first stage; write the record, and the logits, of the best one by each rule."""
    representations, networks = job.cards("representations"), job.cards("networks")
    best: dict[str, Best] = {}
    grids: dict[str, list[dict[str, Any]]] = {}
    results: dict[str, dict[str, Any]] = {}
    logits: Scores = {}
    labels: Labels = {}
    for start in stage_one(representations, networks, job.settings.stage_one):
        rule, shots = start.settings.selection, start.settings.shots
        tried = attempt(start)
        grid = grids.setdefault(rule, [])  # of the entry too, which settings that are tried later still enter
        grid += [{"stage_one": start.setting, **row} for row in tried.grid]
        if best.setdefault(rule, Best()).offer(tried.best.correct, tried.best.loss):
            labels, scores = tried.labels, tried.logits()
            logits[f"{shots}/{rule}"] = scores
            selected = {"stage_one": start.setting, **tried.selected}
            results[rule] = entry(shots, rule, start.n_train, scores, labels, selected, grid)
    for result in results.values():
        print(f"{result['selection']}: {json.dumps(result['selected'])} top1 {result['top1']:.4f}", file=sys.stderr)
    digest = write_logits(logits_path(job.output), logits, labels)
    subject = before_fine_tuning(representation_of(job), representations[0], networks)
    write_record(job, subject, transfer, list(results.values()), digest, started)


def before_fine_tuning(name: str, representation: Card, networks: Sequence[Card]) -> Subject:
    """The subject of the record: the representation `name`, of the networks as they were before fine-tuning."""
    subject = subject_of(representation)
    members = [card.facts.get("representation", card.name) for card in networks[: len(subject.members)]]
    return replace(subject, representation=name, members=members)
