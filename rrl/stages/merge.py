"""Stage `merge`: the settings of fine-tuning one representation on one target as one record, one picked per rule.

Settings are compared in the order of the config by top-1 and loss as the cards of the runs hold them, with six
decimals: what is equal in these is a tie, which goes to the setting that the config names first.
"""

import time
from collections.abc import Sequence
from typing import Any

from rrl.job import Card, begin, run
from rrl.selection import Best
from rrl.store.logits import Labels, Scores, logits_path, read_logits, write_logits
from rrl.store.record import Subject, write_record


def pick(cards: Sequence[Card]) -> Card:
    """The best run of one rule, by the picked epoch of each."""
    best, picked = Best(), cards[0]
    for card in cards:
        (curves,), epoch = card.facts["result"]["grid"], card.facts["result"]["selected"]["epoch"] - 1
        if best.offer(curves["top1"][epoch], curves["loss"][epoch]):
            picked = card
    return picked


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
        picked = pick(cards)
        grid = [row for card in cards for row in card.facts["result"]["grid"]]
        entries.append({**picked.facts["result"], "grid": grid})
        logits, labels = read_logits(picked.path.with_suffix(".h5"), picked)
        scores |= logits
    digest = write_logits(logits_path(job.output), scores, labels)
    write_record(job, Subject(**job.inputs[0].facts["subject"]), "finetune", entries, digest, started)


if __name__ == "__main__":
    run(main)
