"""Stage `merge`: the settings of fine-tuning one representation on one target as one record, one picked per rule.

Best is most images correct on the split that the rule picks on; of equals, the lower cross-entropy; of
equals, the setting that the config names first.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrl.command import Command, run
from rrl.store.cards import Card
from rrl.store.logits import Labels, Scores, read_logits, write_logits
from rrl.store.record import Subject, write_record


def score(card: Card) -> tuple[float, float]:
    """Of the picked epoch of a run: top-1 and minus the loss, on the split that its rule picks on."""
    result = card.facts["result"]
    epoch = result["selected"]["epoch"] - 1
    return result["grid"][0]["top1"][epoch], -result["grid"][0]["loss"][epoch]


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("merge", __doc__)
    command.card("--runs", "card of each setting", many=True)
    command.place("--logits", Path, "logits to write")
    command.place("--output", Path, "record to write")
    arguments, job = command.parse(argv)
    started = time.monotonic()

    rules: dict[str, list[Card]] = {}
    for card in arguments.runs:
        rules.setdefault(card.facts["result"]["selection"], []).append(card)
    entries: list[dict[str, Any]] = []
    scores: Scores = {}
    labels: Labels = {}
    for cards in rules.values():
        picked = max(cards, key=score)  # the first of equals
        grid = [row for card in cards for row in card.facts["result"]["grid"]]
        entries.append({**picked.facts["result"], "grid": grid})
        logits, labels = read_logits(picked.path.with_suffix(".h5"), picked)
        scores |= logits
    digest = write_logits(arguments.logits, scores, labels)
    about = Subject(**arguments.runs[0].facts["subject"])
    write_record(arguments.output, job, about, "finetune", entries, digest, started)


if __name__ == "__main__":
    run(main)
