"""What two-stage fine-tuning starts from: for each setting of the first stage, the concatenated features of the
fine-tuned networks and their averaged head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from rrl.errors import UserError
from rrl.network_file import read_network_file
from rrl.provenance import Card
from rrl.record import Subject, subject

Head = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # weight (C, D) and bias (C,)


def averaged_head(cards: Sequence[Card]) -> Head:
    """The heads of networks as one head on their concatenated features: weights side by side, divided by
    their number, and the mean of the biases. Its logits are the mean of the networks' logits.

    Source: paper, section on two-stage fine-tuning; reference code.
    """
    heads = [load(read_network_file(card)) for card in cards]
    weight = np.concatenate([head["head.weight"] for head in heads], axis=1) / len(heads)
    bias = np.mean([head["head.bias"] for head in heads], axis=0)
    return weight.astype(np.float32), bias.astype(np.float32)


@dataclass(frozen=True)
class StageOne:
    """settings : learning_rate, weight_decay, epochs, shots and selection that the networks were fine-tuned with,
    on n_train images."""

    representation: Card
    settings: dict[str, Any]
    n_train: int
    head: Head

    @property
    def setting(self) -> dict[str, Any]:
        return {name: self.settings[name] for name in ("learning_rate", "weight_decay", "epochs")}


def stage_one(representations: Sequence[Card], networks: Sequence[Card]) -> Iterator[StageOne]:
    """networks : those of the first representation, in the order of its members, then those of the second, ..."""
    at = 0
    for card in representations:
        count = len(card.facts["members"])
        members = networks[at : at + count]
        at += count
        names = [f"networks/{member['member']}" for member in card.facts["members"]]
        if names != [member.artifact for member in members]:
            raise UserError(f"--networks: found {[m.artifact for m in members]}; {card.path} has members {names}")
        yield StageOne(card, members[0].settings, members[0].facts["n_train"], averaged_head(members))


def about(name: str, representation: Card, networks: Sequence[Card]) -> Subject:
    """The subject of the record: the representation `name`, of the networks as they were before fine-tuning."""
    found = subject(representation)
    before = [card.facts["representation"] for card in networks[: len(found.members)]]
    return replace(found, representation=name, members=before)
