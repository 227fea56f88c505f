"""The numbers of tables and figures, from records that are given by name and never searched for."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rrl.job import Card
from rrl.statistics import interval
from rrl.store.record import rows

SELECTION_TEXT = {
    "heldout": "setting and epoch picked on val, test read once",
    "paper": "setting and epoch picked on test, as published",
}


@dataclass(frozen=True)
class Cell:
    """mean and std (ddof 1, None where n = 1) of top-1 in percent over the n representations of a group.

    interval : 95 % interval of the mean in percent, from the number of test images alone.
    paper : the paper's value in percent and how far off it may be; None where it has none, or picks by another rule.
    """

    selection: str
    method: str
    architecture: str
    parameters: int
    n: int
    spread: str
    column: str
    mean: float
    std: float | None
    interval: tuple[float, float]
    paper: tuple[float, float] | None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, percent points."""
        return None if self.paper is None else self.mean - self.paper[0]

    @property
    def beyond(self) -> bool:
        """Whether the difference exceeds what the paper's value may be off, and our standard deviation (0 of one)."""
        return self.difference is not None and abs(self.difference) > self.paper_error + (self.std or 0.0)

    @property
    def paper_error(self) -> float:
        return 0.0 if self.paper is None else self.paper[1]


def label(method: str, ensemble: bool) -> str:
    """The paper's notation: ^sub for members trained separately."""
    return f"{method}^sub" if ensemble else method


TRANSFER_LABEL = {
    "linear_probe": "",
    "finetune": "initial fine-tuning: ",
    "averaged_head": "fine-tuned elsewhere: ",
    "two_stage": "two-stage: ",
}


def column_label(column: dict[str, Any]) -> str:
    shots = "" if column["shots"] == "all" else f" {column['shots']}-shot"
    transfer = column["transfer"]
    named = TRANSFER_LABEL.get(transfer, transfer.replace("_", " ") + ": ")
    return f"{named}{column['target']}{shots}"


def top1_of(records: Sequence[Card]) -> dict[tuple[str, str, str, str, str], tuple[float, int]]:
    """(target, shots, representation, transfer as in the record's name, selection) -> top-1, a fraction, and the
    number of test images."""
    accuracies = {}
    for record in records:
        _, target, representation, transfer = record.artifact.split("/")
        for row in rows(record):
            accuracies[target, str(row["shots"]), representation, transfer, row["selection"]] = (
                row["top1"],
                row["n_test"],
            )
    return accuracies


def summarise(layout: dict[str, Any], records: Sequence[Card]) -> list[Cell]:
    """Every cell of every row, in the order of the layout and once per selection rule; blank ones left out."""
    accuracies = top1_of(records)
    parameters = {record.facts["representation"]: record.facts["parameters"] for record in records}
    cells = []
    for selection in layout["selections"]:
        for row in layout["rows"]:
            names = row["representations"]
            for column, transfer, paper in zip(layout["columns"], row["transfers"], row["paper"], strict=True):
                if transfer is None:
                    continue
                where = column["target"], str(column["shots"])
                top1 = [100 * accuracies[*where, name, transfer, selection][0] for name in names]
                _, images = accuracies[*where, names[0], transfer, selection]
                mean = statistics.fmean(top1)
                low, high = interval(mean / 100, images)
                cells.append(
                    Cell(
                        selection=selection,
                        method=label(row["method"], row["ensemble"]),
                        architecture=row["architecture"],
                        parameters=parameters[names[0]],
                        n=len(names),
                        spread=row["spread"] if len(names) > 1 else row["spread"].removesuffix("s"),
                        column=column_label(column),
                        mean=mean,
                        std=statistics.stdev(top1) if len(top1) > 1 else None,
                        interval=(100 * low, 100 * high),
                        paper=(paper["top1"], paper["error"]) if paper and selection == "paper" else None,
                    )
                )
    return cells


def parameters_text(count: int) -> str:
    """Parameters of the trunks, for people: 19.5k, 23.5M."""
    return f"{count / 1e6:.3g}M" if count >= 1e6 else f"{count / 1e3:.3g}k"
