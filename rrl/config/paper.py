"""The paper's numbers, from paper_values.csv: what the cells of the tables are compared with."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rrl.config.transfers import SEPARATE
from rrl.errors import UserError

FILE = Path(__file__).with_name("paper_values.csv")
COLUMNS = (
    "table", "method", "target", "transfer", "top1", "std", "reading_error", "rounding", "source", "line", "excluded"
)  # fmt: skip
TABLES = {1: "fine-tuning", 2: "linear probing", 3: "vision transformers", 4: "self-supervised"}
TARGETS = ("imagenet", "imagenet-384", "imagenet-384-vit", "inaturalist18", "cifar10", "cifar100")
TRANSFERS = (*SEPARATE, *SEPARATE.values())
PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class PaperValue:
    """One published number, in the words of our tables: method without ^sub, transfer as in a record's name.

    top1, std : percent; std is None where none is published.
    reading_error : percent points, of a value that is read from a figure; 0 for text.
    rounding : half a unit of the last printed digit, of text; 0 for a figure, whose reading error covers it.
    line : the published entry. excluded : why no cell of ours stands beside it; empty where one does.
    """

    table: int
    method: str
    target: str
    transfer: str
    top1: float
    std: float | None
    reading_error: float
    rounding: float
    source: str
    line: str
    excluded: str

    @property
    def error(self) -> float:
        """How far off the published number may be, in percent points."""
        return self.reading_error + self.rounding


Key = tuple[int, str, str, str]


def paper_value(table: int, method: str, target: str, transfer: str) -> PaperValue | None:
    """None where the paper has no number."""
    return paper_values().get((table, method, target, transfer))


@cache
def paper_values() -> dict[Key, PaperValue]:
    """(table, method, target, transfer) -> value, in the order of the file."""
    return read(FILE)


def read(path: Path) -> dict[Key, PaperValue]:
    """Raises UserError for a line that is no value, or the second one of a cell."""
    values: dict[Key, PaperValue] = {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        if (header := next(rows, [])) != list(COLUMNS):
            raise UserError(f"{path}: found columns {','.join(header)}; must be {','.join(COLUMNS)}")
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            value = _value(row, place)
            key = value.table, value.method, value.target, value.transfer
            if key in values:
                raise UserError(f"{place}: found {key} a second time; each cell must have one value")
            values[key] = value
    return values


def _value(row: list[str], place: str) -> PaperValue:
    if len(row) != len(COLUMNS):
        raise UserError(f"{place}: found {len(row)} fields; must be {len(COLUMNS)}: {','.join(COLUMNS)}")
    fields = dict(zip(COLUMNS, row, strict=True))
    for column, names in (("table", [*map(str, TABLES)]), ("target", TARGETS), ("transfer", TRANSFERS)):
        _one_of(fields[column], names, f"{place}: {column}")
    for column in ("method", "source", "line"):
        if not fields[column]:
            raise UserError(f"{place}: {column}: found nothing; must be a text")
    if fields["method"].endswith("^sub"):
        raise UserError(
            f"{place}: method: found {fields['method']!r}; must be a name without ^sub, which is a transfer of its own"
        )
    return PaperValue(
        table=int(fields["table"]),
        method=fields["method"],
        target=fields["target"],
        transfer=fields["transfer"],
        top1=_percent(fields["top1"], f"{place}: top1"),
        std=_percent(fields["std"], f"{place}: std") if fields["std"] else None,
        reading_error=_percent(fields["reading_error"], f"{place}: reading_error"),
        rounding=_percent(fields["rounding"], f"{place}: rounding"),
        source=fields["source"],
        line=fields["line"],
        excluded=fields["excluded"],
    )


def _one_of(text: str, names: Sequence[str], place: str) -> None:
    if text not in names:
        raise UserError(f"{place}: found {text!r}; must be one of: {', '.join(names)}")


def _percent(text: str, place: str) -> float:
    if not PLAIN.fullmatch(text) or float(text) > 100:
        raise UserError(f"{place}: found {text!r}; must be a number from 0 to 100, such as 75.58")
    return float(text)
