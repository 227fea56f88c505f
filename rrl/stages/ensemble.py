"""Stage `ensemble`: the mean logits of heads, or whole networks, that were trained separately, one per member.

The control that the paper writes ^sub: the same networks as the concatenation, never trained together.
Each member brings the setting and epoch that it picked for itself.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rrl.errors import UserError
from rrl.job import Card, begin, run
from rrl.store.logits import logits_path, read_logits, write_logits
from rrl.store.members import parse_member
from rrl.store.record import Subject, entry, representation_of, write_record


def together(name: str, records: Sequence[Card]) -> Subject:
    """The subject of the ensemble, the representation `name`; a network counts once, however many members are of it."""
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
    started = time.monotonic()
    job = begin("ensemble", argv, __doc__)
    records = job.inputs
    members = [read_logits(logits_path(record.path), record) for record in records]
    labels = members[0][1]
    for record, (_, own) in zip(records, members, strict=True):
        if any(not np.array_equal(own[split], labels[split]) for split in labels):
            raise UserError(f"{record.path}: its images are not those of {records[0].path}")
    entries: list[dict[str, Any]] = []
    scores = {}
    for position, alone in enumerate(records[0].facts["results"]):
        shots, rule = alone["shots"], alone["selection"]
        mean: dict[str, npt.NDArray[np.float32]] = {
            split: np.stack([logits[f"{shots}/{rule}"][split] for logits, _ in members])
            .mean(0, dtype=np.float64)
            .astype(np.float32)
            for split in labels
        }
        selected = [record.facts["results"][position]["selected"] for record in records]
        entries.append(entry(shots, rule, alone["n_train"], mean, labels, selected, grid=None))
        scores[f"{shots}/{rule}"] = mean
    digest = write_logits(logits_path(job.output), scores, labels)
    subject = together(representation_of(job), records)
    trained = records[0].facts["transfer"]
    write_record(job, subject, "ensemble", entries, digest, started, members_transfer=trained)


if __name__ == "__main__":
    run(main)
