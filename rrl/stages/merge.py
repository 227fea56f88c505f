"""Stage `merge`: the settings of fine-tuning one representation on one target as one record, one picked per rule.

Best is most images correct on the split that the rule picks on; of equals, the lower cross-entropy; of
equals, the setting that the config names first.
"""

import time
from collections.abc import Sequence
from typing import Any

from rrl.job import Card, begin, run
from rrl.store.logits import Labels, Scores, logits_path, read_logits, write_logits
from rrl.store.record import Subject, write_record


def score(card: Card) -> tuple[float, float]:
    """Of the picked epoch of a run: top-1 and minus the loss, on the split that its rule picks on."""
    result = card.facts["result"]
    epoch = result["selected"]["epoch"] - 1
    return result["grid"][0]["top1"][epoch], -result["grid"][0]["loss"][epoch]


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("merge", argv, __doc__)
    rules: dict[str, list[Card]] = {}
    for card in job.inputs:
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
    digest = write_logits(logits_path(job.output), scores, labels)
    write_record(job, Subject(**job.inputs[0].facts["subject"]), "finetune", entries, digest, started)


if __name__ == "__main__":
    run(main)
