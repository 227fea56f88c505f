"""Stage `best_subset`: which of several networks to concatenate, found greedily on val; test is read once, at the end.

Starts with the network whose probe is best on val, adds the one that helps most, and so on to all of them; the best
set on the way is picked. Probes are those of the stage `probe`; the selection rule is heldout alone.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rrl.config.settings import HeadTraining
from rrl.heads.cached import Data, join, read_data
from rrl.heads.sgd import (
    Selection,
    Setting,
    all_scores,
    initial_head,
    train_heads,
)
from rrl.heads.sweep import BatchNorm
from rrl.job import Card, Job
from rrl.selection import Best, training_images
from rrl.store.logits import logits_path, write_logits
from rrl.store.record import Subject, entry, subject, write_record
from rrl.training.device import multiply_by_onednn, prepare


@dataclass(frozen=True)
class Search:
    """Probes of subsets of the members of a representation, by their positions."""

    representation: Card
    data: dict[str, Data]
    training_images: Data
    settings: list[Setting]
    training: HeadTraining
    batch_norm: BatchNorm

    def part(self, data: Data, members: Sequence[int]) -> Data:
        """The features of some members."""
        ends = [0]
        for member in self.representation.facts["members"]:
            start, stop, _ = member["columns"]
            ends.append(ends[-1] + stop - start)
        return data.with_columns([(ends[member], ends[member + 1]) for member in members])

    def probe(self, members: Sequence[int]) -> Selection:
        train = self.part(self.training_images, members)
        val = {"val": self.part(self.data["val"], members)}
        head = initial_head(self.representation.facts["classes"], train.features.shape[2], self.training.seed)
        selections, _ = train_heads(head, train, val, ["heldout"], self.settings, self.training, self.batch_norm)
        return selections["heldout"]

    def run(self) -> tuple[list[int], Selection, list[dict[str, Any]]]:
        """The members picked, their probe, and the steps: each best set by its size."""
        left = list(range(len(self.representation.facts["members"])))
        members: list[int] = []
        steps: list[dict[str, Any]] = []
        best, picked = Best(), (members, Selection("heldout"))
        while left:
            best_step, added, selection = Best(), -1, picked[1]
            for candidate in left:
                tried = self.probe([*members, candidate])
                if best_step.offer(tried.best.correct, tried.best.loss):
                    added, selection = candidate, tried
            members.append(added)
            left.remove(added)
            steps.append({"members": self.names(members), **self.found(selection)})
            if best.offer(best_step.correct, best_step.loss):
                picked = list(members), selection
        return *picked, steps

    def names(self, members: Sequence[int]) -> list[str]:
        return [self.representation.facts["members"][member]["member"] for member in members]

    def found(self, selection: Selection) -> dict[str, Any]:
        best, images = selection.best, len(self.data["val"].labels)
        about = asdict(self.settings[selection.setting]) | {"epoch": selection.epoch + 1}
        return about | {"val_top1": round(best.correct / images, 6), "val_loss": round(best.loss, 6)}


def picked_subject(representation: Card, picked: set[str]) -> Subject:
    whole = subject(representation)
    members = [member for member in representation.facts["members"] if member["member"] in picked]
    networks = {member["features"]: member for member in members}.values()  # each once, as of a representation
    return Subject(
        target=whole.target,
        representation=whole.representation,
        members=[member["member"] for member in members],
        seeds=[network["seed"] for network in networks],
        parameters=sum(network["parameters"] for network in networks),
        feature_dim=sum(member["columns"][1] - member["columns"][0] for member in members),
    )


def probe(job: Job, started: float) -> None:
    device = prepare(job.threads, job.settings.arithmetic)
    multiply_by_onednn(device)
    (representation,), training = job.inputs, job.settings.probe
    data = read_data(representation, device)
    labels = {split: data[split].labels.cpu().numpy() for split in ("val", "test")}
    settings = [Setting(rate, decay) for rate in training.learning_rates for decay in training.weight_decays]
    entries, scores, picked = [], {}, set()
    for shots in job.settings.shots:
        images = training_images(data, "heldout", shots, join)
        search = Search(representation, data, images, settings, training, training.batch_norm)
        members, selection, steps = search.run()
        selected = {"members": search.names(members), **search.found(selection)}
        result = all_scores(selection, {split: search.part(data[split], members) for split in labels})
        entries.append(entry(shots, "heldout", len(images.labels), result, labels, selected, steps))
        scores[f"{shots}/heldout"] = result
        picked |= set(selected["members"])
        print(f"shots {shots}: {json.dumps(selected)} top1 {entries[-1]['top1']:.4f}", file=sys.stderr)
    digest = write_logits(logits_path(job.output), scores, labels)
    write_record(job, picked_subject(representation, picked), "linear_probe", entries, digest, started)
