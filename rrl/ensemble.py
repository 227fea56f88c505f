"""Stage `ensemble`: the mean logits of heads that were trained separately, one per member.

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
from rrl.logits import read_logits, write_logits
from rrl.record import write_record


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("ensemble", __doc__)
    command.card("--representation", "card of the representation")
    command.card("--records", "record of each member alone, in order", many=True)
    command.place("--logits", Path, "logits to write")
    command.place("--output", Path, "record to write")
    arguments, job = command.parse(argv)
    started = time.time()

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
        name = f"{alone['shots']}/{alone['selection']}"
        mean: dict[str, npt.NDArray[np.float32]] = {
            split: np.stack([logits[name][split] for logits, _ in members]).mean(0, dtype=np.float64).astype(np.float32)
            for split in labels
        }
        top1 = {split: float((mean[split].argmax(1) == labels[split]).mean()) for split in labels}
        kept = {key: alone[key] for key in ("shots", "selection", "selected_on", "n_train", "n_val", "n_test")}
        selected = [record.facts["results"][position]["selected"] for record in arguments.records]
        val_top1 = None if alone["val_top1"] is None else top1["val"]
        entries.append({**kept, "selected": selected, "top1": top1["test"], "val_top1": val_top1})
        scores[name] = mean
    digest = write_logits(arguments.logits, scores, labels)
    write_record(arguments.output, job, arguments.representation, "ensemble", entries, digest, started)


if __name__ == "__main__":
    run(main)
