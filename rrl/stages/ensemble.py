"""Stage `ensemble`: the mean logits of heads, or whole networks, that were trained separately, one per member.

The control that the paper writes ^sub: the same networks as the concatenation, never trained together.
Each member brings the setting and epoch that it picked for itself.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rrl.command import Command, run
from rrl.errors import UserError
from rrl.store.cards import Card
from rrl.store.logits import read_logits, write_logits
from rrl.store.members import parse_member
from rrl.store.record import Subject, entry, write_record


def together(name: str, records: Sequence[Card]) -> Subject:
    """The subject of the ensemble, the representation `name`. A network of which several members are columns
    counts once."""
    facts = [record.facts for record in records]
    members = [member for fact in facts for member in fact["members"]]
    networks = {parse_member(fact["members"][0]).network: fact for fact in facts}
    return Subject(
        target=facts[0]["target"],
        representation=name,
        members=members,
        seeds=[seed for fact in networks.values() for seed in fact["seeds"]],
        parameters=sum(fact["parameters"] for fact in networks.values()),
        feature_dim=sum(fact["feature_dim"] for fact in facts),
    )


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("ensemble", __doc__)
    command.card("--records", "record of each member alone, in order", many=True)
    command.place("--name", str, "name of the representation")
    command.place("--logits", Path, "logits to write")
    command.place("--output", Path, "record to write")
    arguments, job = command.parse(argv)
    started = time.monotonic()

    members = []
    for record in arguments.records:
        path = record.root / f"{record.artifact.replace('records/', 'logits/', 1)}.h5"
        members.append(read_logits(path, record))
    labels = members[0][1]
    for record, (_, found) in zip(arguments.records, members, strict=True):
        if any(not np.array_equal(found[split], labels[split]) for split in labels):
            raise UserError(f"{record.path}: its images are not those of {arguments.records[0].path}")
    entries: list[dict[str, Any]] = []
    scores = {}
    for position, alone in enumerate(arguments.records[0].facts["results"]):
        shots, rule = alone["shots"], alone["selection"]
        mean: dict[str, npt.NDArray[np.float32]] = {
            split: np.stack([logits[f"{shots}/{rule}"][split] for logits, _ in members])
            .mean(0, dtype=np.float64)
            .astype(np.float32)
            for split in labels
        }
        selected = [record.facts["results"][position]["selected"] for record in arguments.records]
        entries.append(entry(shots, rule, alone["n_train"], mean, labels, selected, grid=None))
        scores[f"{shots}/{rule}"] = mean
    digest = write_logits(arguments.logits, scores, labels)
    about = together(arguments.name, arguments.records)
    of = arguments.records[0].facts["transfer"]
    write_record(arguments.output, job, about, "ensemble", entries, digest, started, members_transfer=of)


if __name__ == "__main__":
    run(main)
