"""Stage `table`: one declared table, as CSV with full precision, Markdown and LaTeX.

A row is a method; a cell is the mean over the representations of its group (seeds, or windows of
seeds) and their standard deviation (ddof 1). The records are given by name, never searched for.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rrl.command import Command, run
from rrl.files import sha256_of_file, write_text
from rrl.provenance import Card
from rrl.record import rows


def label(method: str, transfer: str) -> str:
    """The paper's notation: ^sub for the ensemble of separately trained heads."""
    return f"{method}^sub" if transfer == "ensemble" else method


def column_label(column: dict[str, Any]) -> str:
    return column["target"] if column["shots"] == "all" else f"{column['target']} {column['shots']}-shot"


def summarise(layout: dict[str, Any], records: Sequence[Card]) -> pd.DataFrame:
    """Tidy cells: selection, method, arch, parameters, column, mean, std, n; top1 in percent.

    std is that of the group with ddof 1, missing where n = 1.
    """
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
                    {
                        "selection": selection,
                        "method": label(row["method"], row["transfer"]),
                        "architecture": row["architecture"],
                        "parameters": group[0]["parameters"],
                        "n": len(group),
                        "spread": row["spread"],
                        "column": column_label(column),
                        "mean": statistics.fmean(top1),
                        "std": statistics.stdev(top1) if len(top1) > 1 else float("nan"),
                    }
                )
    return pd.DataFrame(cells)


def wide(cells: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """One row per selection and method; `<column> mean` and `<column> std` side by side, in the declared order."""
    keys = ["selection", "method", "architecture", "parameters", "n", "spread"]
    table = cells.pivot_table(index=keys, columns="column", values=["mean", "std"], sort=False, dropna=False)
    table.columns = [f"{column} {value}" for value, column in table.columns]
    ordered = [f"{column} {value}" for column in columns for value in ("mean", "std")]
    return table[ordered].reset_index()


def shown(cells: pd.DataFrame, columns: list[str], plus_minus: str) -> pd.DataFrame:
    """Strings for people: percent with one decimal, the spread behind `plus_minus` where there is one."""
    texts = cells.assign(
        cell=[
            f"{mean:.1f}" if pd.isna(std) else f"{mean:.1f} {plus_minus} {std:.1f}"
            for mean, std in zip(cells["mean"], cells["std"], strict=True)
        ],
        parameters=[parameters_text(count) for count in cells["parameters"]],
        n=[f"{count} {spread}" for count, spread in zip(cells["n"], cells["spread"], strict=True)],
    )
    keys = ["method", "architecture", "parameters", "n"]
    table = texts.pivot_table(index=keys, columns="column", values="cell", sort=False, aggfunc="first")
    return table[columns].reset_index().rename_axis(columns=None)


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


def markdown(cells: pd.DataFrame, columns: list[str], caption: str) -> str:
    parts = [f"**{caption}** {NOTE}"]
    for selection, block in cells.groupby("selection", sort=False):
        parts.append(f"Selection `{selection}` ({SELECTION_TEXT[str(selection)]}):")
        parts.append(shown(block, columns, "±").to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def latex(cells: pd.DataFrame, columns: list[str], caption: str) -> str:
    """A booktabs table per selection rule."""
    parts = []
    for selection, block in cells.groupby("selection", sort=False):
        table = shown(block, columns, "±")
        escaped = table.rename(columns=_escape).map(_escape)
        text = f"{caption} {NOTE} Selection {selection}: {SELECTION_TEXT[str(selection)]}."
        body = escaped.to_latex(index=False, caption=_escape(text), column_format="ll" + "r" * (table.shape[1] - 2))
        parts.append(body)
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
    columns = [column_label(column) for column in layout["columns"]]
    write_text(arguments.csv, wide(cells, columns).to_csv(index=False, lineterminator="\n"))
    write_text(arguments.csv.with_suffix(".md"), markdown(cells, columns, layout["caption"]))
    write_text(arguments.csv.with_suffix(".tex"), latex(cells, columns, layout["caption"]))
    facts = {"records": {record.artifact: sha256_of_file(record.path) for record in arguments.records}}
    job.write_card(arguments.output, arguments.csv.stem, sha256_of_file(arguments.csv), facts)


if __name__ == "__main__":
    run(main)
