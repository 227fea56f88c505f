"""What two-stage fine-tuning starts from: for each setting of the first stage, the concatenated features of the
fine-tuned networks and their averaged head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from rrl.config.settings import FirstStage
from rrl.errors import UserError
from rrl.job import Card
from rrl.networks.network_file import read_network_file
from rrl.selection import training_count
from rrl.store.record import Subject, subject

Head = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # weight (C, D) and bias (C,)


def averaged_head(cards: Sequence[Card]) -> Head:
    """The heads of networks as one head on their concatenated features: weights side by side, divided by
    their number, and the mean of the biases. Its logits are the mean of the networks' logits.

    Source: paper, section on two-stage fine-tuning; reference code.
    """
    heads = [load(read_network_file(card)) for card in cards]
    for card, head in zip(cards, heads, strict=True):
        if "head.weight" not in head:
            raise UserError(f"{card.path}: a network without a head; needed are networks fine-tuned on the target")
    if len({head["head.bias"].shape for head in heads}) > 1:
        found = {card.artifact: len(head["head.bias"]) for card, head in zip(cards, heads, strict=True)}
        raise UserError(f"heads of {found} classes; allowed is the same number")
    weight = np.concatenate([head["head.weight"] for head in heads], axis=1) / len(heads)
    bias = np.mean([head["head.bias"] for head in heads], axis=0)
    return weight.astype(np.float32), bias.astype(np.float32)


@dataclass(frozen=True)
class StageOne:
    """settings : learning_rate, weight_decay, epochs, shots and selection that the networks were fine-tuned with,
    on n_train images. Of networks that others fine-tuned learning_rate and epochs are None, the weight decay is that of
    the second stage, and n_train is what the selection trains on here."""

    representation: Card
    settings: FirstStage
    n_train: int
    head: Head

    @property
    def setting(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in ("learning_rate", "weight_decay", "epochs")}


def stage_one(
    representations: Sequence[Card], networks: Sequence[Card], settings: Sequence[FirstStage]
) -> Iterator[StageOne]:
    """networks : those of the first representation, in the order of its members, then those of the second, ...

    settings : of each representation, as in StageOne.
    """
    at = 0
    for card, about in zip(representations, settings, strict=True):
        count = len(card.facts["members"])
        members = networks[at : at + count]
        at += count
        names = [f"networks/{member['member']}" for member in card.facts["members"]]
        if names != [member.artifact for member in members]:
            raise UserError(
                f"--inputs: found networks {[m.artifact for m in members]}; {card.path} has members {names}"
            )
        yield StageOne(card, about, _n_train(members[0], card, about), averaged_head(members))


def about(name: str, representation: Card, networks: Sequence[Card]) -> Subject:
    """The subject of the record: the representation `name`, of the networks as they were before fine-tuning."""
    found = subject(representation)
    alone = [card.artifact.removeprefix("networks/") for card in networks[: len(found.members)]]
    before = [card.facts.get("representation", own) for card, own in zip(networks, alone, strict=False)]
    return replace(found, representation=name, members=before)


def _n_train(network: Card, representation: Card, settings: FirstStage) -> int:
    if "n_train" in network.facts:
        return int(network.facts["n_train"])
    facts = representation.facts
    return training_count(settings.selection, settings.shots, facts["counts"], facts["classes"])
