"""Stage `table`: one declared table, as CSV with full precision, Markdown and LaTeX.

A row is a method; a cell is the mean over the representations of its group (seeds, or windows of
seeds) and their standard deviation (ddof 1). The records are given by name, never searched for.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rrl.command import Command, run
from rrl.files import sha256_of_file, write_text
from rrl.provenance import Card
from rrl.record import rows


@dataclass(frozen=True)
class Cell:
    """mean and std (ddof 1, None where n = 1) of top-1 in percent over the n representations of a group."""

    selection: str
    method: str
    architecture: str
    parameters: int
    n: int
    spread: str
    column: str
    mean: float
    std: float | None


def label(method: str, transfer: str) -> str:
    """The paper's notation: ^sub for the ensemble of separately trained heads."""
    return f"{method}^sub" if transfer == "ensemble" else method


def column_label(column: dict[str, Any]) -> str:
    return column["target"] if column["shots"] == "all" else f"{column['target']} {column['shots']}-shot"


def summarise(layout: dict[str, Any], records: Sequence[Card]) -> list[Cell]:
    """Every cell of every row, in the order of the layout, once per selection rule."""
    found = {
        (row["target"], str(row["shots"]), row["representation"], row["transfer"], row["selection"]): row
        for record in records
        for row in rows(record)
    }
    cells = []
    for selection in layout["selections"]:
        for row in layout["rows"]:
            for column in layout["columns"]:
                group = [
                    found[column["target"], str(column["shots"]), name, row["transfer"], selection]
                    for name in row["representations"]
                ]
                top1 = [100 * entry["top1"] for entry in group]
                cells.append(
                    Cell(
                        selection=selection,
                        method=label(row["method"], row["transfer"]),
                        architecture=row["architecture"],
                        parameters=group[0]["parameters"],
                        n=len(group),
                        spread=row["spread"] if len(group) > 1 else row["spread"].removesuffix("s"),
                        column=column_label(column),
                        mean=statistics.fmean(top1),
                        std=statistics.stdev(top1) if len(top1) > 1 else None,
                    )
                )
    return cells


def wide(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row per selection and method; `<column> mean` and `<column> std` side by side; percent, unrounded."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in cells:
        row = table.setdefault((cell.selection, cell.method), {"selection": cell.selection, "method": cell.method})
        row |= {"architecture": cell.architecture, "parameters": cell.parameters, "n": cell.n, "spread": cell.spread}
        row |= {f"{cell.column} mean": cell.mean, f"{cell.column} std": cell.std}
    return pd.DataFrame(table.values())


def shown(cells: Sequence[Cell]) -> pd.DataFrame:
    """Strings for people: percent with one decimal, the spread behind ± where there is one."""
    table: dict[str, dict[str, str]] = {}
    for cell in cells:
        row = table.setdefault(cell.method, {"method": cell.method, "architecture": cell.architecture})
        row |= {"parameters": parameters_text(cell.parameters), "n": f"{cell.n} {cell.spread}"}
        row[cell.column] = f"{cell.mean:.1f}" if cell.std is None else f"{cell.mean:.1f} ± {cell.std:.1f}"
    return pd.DataFrame(table.values())


def by_selection(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    return {name: [cell for cell in cells if cell.selection == name] for name in {cell.selection: 0 for cell in cells}}


def parameters_text(count: int) -> str:
    """Parameters of the trunks, for people: 19.5k, 23.5M."""
    return f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count / 1e3:.1f}k"


SELECTION_TEXT = {
    "heldout": "setting and epoch picked on val, test read once",
    "paper": "setting and epoch picked on test, as published",
}
NOTE = (
    "Top-1 accuracy in percent: mean ± standard deviation (ddof 1) over n seeds or windows of seeds. "
    "Windows share networks, so their spread is not that of independent runs. "
    "parameters: of the trunks. ^sub: mean logits of heads trained separately on each member."
)


def markdown(cells: Sequence[Cell], caption: str) -> str:
    parts = [f"**{caption}** {NOTE}"]
    for selection, block in by_selection(cells).items():
        parts.append(f"Selection `{selection}` ({SELECTION_TEXT[selection]}):")
        parts.append(shown(block).to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def latex(cells: Sequence[Cell], caption: str) -> str:
    """A booktabs table per selection rule."""
    parts = []
    for selection, block in by_selection(cells).items():
        table = shown(block)
        text = _escape(f"{caption} {NOTE} Selection {selection}: {SELECTION_TEXT[selection]}.")
        escaped = table.rename(columns=_escape).map(_escape)
        parts.append(escaped.to_latex(index=False, caption=text, column_format="ll" + "r" * (table.shape[1] - 2)))
    return "\n".join(parts)


def _escape(text: str) -> str:
    for plain, tex in (("%", r"\%"), ("_", r"\_"), ("^sub", r"$^{\mathrm{sub}}$"), ("±", r"$\pm$")):
        text = text.replace(plain, tex)
    return text


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("table", __doc__)
    command.card("--records", "the records of all cells", many=True)
    command.setting("--layout", json.loads, "JSON: caption, selections, columns and rows of the table")
    command.place("--csv", Path, "table to write; Markdown and LaTeX are written beside it")
    command.place("--output", Path, "card to write")
    arguments, job = command.parse(argv)

    layout = arguments.layout
    cells = summarise(layout, arguments.records)
    write_text(arguments.csv, wide(cells).to_csv(index=False, lineterminator="\n"))
    write_text(arguments.csv.with_suffix(".md"), markdown(cells, layout["caption"]))
    write_text(arguments.csv.with_suffix(".tex"), latex(cells, layout["caption"]))
    facts = {"records": {record.artifact: sha256_of_file(record.path) for record in arguments.records}}
    job.write_card(arguments.output, arguments.csv.stem, sha256_of_file(arguments.csv), facts)


if __name__ == "__main__":
    run(main)
