"""Stage `table`: one declared table, as CSV with full precision, Markdown and LaTeX.

A row is a method; a cell is the mean over the representations of its group (seeds, or windows of
seeds), their standard deviation (ddof 1), and apart from it the 95 % interval from the number of test images. The
records are given by name, never searched for.
"""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rrl.cells import SELECTION_TEXT, Cell, column_label, parameters_text, summarise
from rrl.job import begin, run
from rrl.store.files import sha256_of_file, write_text


def wide(layout: dict[str, Any], cells: Sequence[Cell]) -> pd.DataFrame:
    """One row per selection and method; mean, std, and the ends of the test images' interval of each column side by
    side; percent, unrounded."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in cells:
        row = table.setdefault((cell.selection, cell.method), {"selection": cell.selection, "method": cell.method})
        row |= {"architecture": cell.architecture, "parameters": cell.parameters, "n": cell.n, "spread": cell.spread}
        row |= {f"{cell.column} mean": cell.mean, f"{cell.column} std": cell.std}
        row |= {f"{cell.column} test {end}": bound for end, bound in zip(ENDS, cell.interval, strict=True)}
        if cell.paper is not None:
            row |= {f"{cell.column} paper": cell.paper[0], f"{cell.column} paper error": cell.paper_error}
            row |= {f"{cell.column} difference": cell.difference, f"{cell.column} beyond": cell.beyond}
    leading = ["selection", "method", "architecture", "parameters", "n", "spread"]
    kinds = ["mean", "std", *(f"test {end}" for end in ENDS)]
    if any(cell.paper is not None for cell in cells):
        kinds += ["paper", "paper error", "difference", "beyond"]
    values = [f"{column_label(column)} {kind}" for column in layout["columns"] for kind in kinds]
    return pd.DataFrame(table.values(), columns=leading + values)


def shown(layout: dict[str, Any], cells: Sequence[Cell]) -> pd.DataFrame:
    """Strings for people: percent with one decimal, the spread behind ± where there is one, the interval in brackets,
    – for no cell."""
    table: dict[str, dict[str, str]] = {}
    for cell in cells:
        row = table.setdefault(cell.method, {"method": cell.method, "architecture": cell.architecture})
        row |= {"parameters": parameters_text(cell.parameters), "n": f"{cell.n} {cell.spread}"}
        spread = "" if cell.std is None else f" ± {cell.std:.1f}"
        low, high = cell.interval
        row[cell.column] = f"{cell.mean:.1f}{spread} [{low:.1f}, {high:.1f}]{beside(cell)}"
    columns = ["method", "architecture", "parameters", "n", *map(column_label, layout["columns"])]
    return pd.DataFrame(table.values(), columns=columns).fillna("–")


def beside(cell: Cell) -> str:
    """The paper's value and ours minus it, with a mark where that is beyond error and spread; or nothing."""
    if cell.paper is None or cell.difference is None:
        return ""
    return f"; paper {cell.paper[0]:.2f}, {cell.difference:+.2f}{'*' if cell.beyond else ''}"


def by_selection(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    return {name: [cell for cell in cells if cell.selection == name] for name in {cell.selection: 0 for cell in cells}}


ENDS = ("low", "high")
NOTE = (
    "Top-1 accuracy in percent: mean ± standard deviation (ddof 1) over n seeds or windows of seeds. "
    "In brackets the 95 % interval of the "
    "mean from the number of test images (Wilson), which says nothing of other seeds. parameters: of the trunks."
)
SPREAD_NOTE = {
    "windows": "Windows share networks, so their spread is not that of independent runs.",
    "independent windows": "Independent windows share no network.",
}
TRANSFER_NOTE = {
    "linear_probe": "^sub: mean logits of heads trained separately on each member.",
    "finetune": "Initial fine-tuning: everything at once, with a fresh head; "
    "^sub there: mean logits of networks fine-tuned separately.",
    "averaged_head": "Fine-tuned elsewhere: published networks with their own heads, averaged where there are several.",
    "two_stage": "Two-stage: networks fine-tuned separately, then a head on their features, from their averaged heads; "
    "^sub there: the averaged heads, untrained.",
}


PAPER_NOTE = (
    "Behind a semicolon, under the rule paper: the published value, and ours minus it; * where that exceeds the error "
    "of reading the published value plus our standard deviation (0 where n = 1). The paper gives no spread."
)
GRID_NOTE = {
    "recommended": "Grid `recommended`: the learning rate and number of epochs that the published code advises and "
    "two-stage fine-tuning starts from, all weight decays; the published values are the best of more settings.",
    "published": "Grid `published`: all settings that the paper tried.",
}


def note(layout: dict[str, Any], caption: str) -> str:
    transfers = dict.fromkeys(column["transfer"] for column in layout["columns"])
    spreads = {row["spread"] for row in layout["rows"]}
    parts = [caption, NOTE, *(text for spread, text in SPREAD_NOTE.items() if spread in spreads)]
    parts += [TRANSFER_NOTE[transfer] for transfer in transfers if transfer in TRANSFER_NOTE]
    if any(value for row in layout["rows"] for value in row["paper"]):
        parts.append(PAPER_NOTE)
        parts.append(f"Heads are trained on {layout['views']} cached views; the paper augments anew in each epoch.")
    if layout["grid"] != "own" and set(transfers) & {"finetune", "two_stage"}:
        parts.append(GRID_NOTE[layout["grid"]])
    parts += layout.get("remarks", [])
    return " ".join(parts)


def markdown(layout: dict[str, Any], cells: Sequence[Cell]) -> str:
    parts = [note(layout, as_markdown(layout["caption"]))]
    for selection, block in by_selection(cells).items():
        parts.append(f"Selection `{selection}` ({SELECTION_TEXT[selection]}):")
        table = shown(layout, block)
        table["method"] = table["method"].map(as_markdown)
        parts.append(table.to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def as_markdown(text: str) -> str:
    """Text as it is: no other cell, no HTML, no link or picture, no code."""
    return re.sub(r"[\\|<`\[]", r"\\\g<0>", text)


def latex(layout: dict[str, Any], cells: Sequence[Cell]) -> str:
    """A booktabs table per selection rule."""
    parts = []
    for selection, block in by_selection(cells).items():
        table = shown(layout, block)
        text = _escape(f"{note(layout, layout['caption'])} Selection {selection}: {SELECTION_TEXT[selection]}.")
        escaped = table.rename(columns=_escape).map(_escape)
        parts.append(escaped.to_latex(index=False, caption=text, column_format="ll" + "r" * (table.shape[1] - 2)))
    return "\n".join(parts)


TEX = {letter: f"\\{letter}" for letter in "&%$#_{}"}
TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
TEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
TEX |= {"^sub": r"$^{\mathrm{sub}}$", "±": r"$\pm$", "–": "--"}


def _escape(text: str) -> str:
    """Text as it is, in LaTeX. What begins with [ or * would be an option of the row before."""
    text = re.sub(r"\^sub|[&%$#_{}\\~^<>|±–]", lambda match: TEX[match[0]], text)
    return re.sub(r"^[\[*]", r"{\g<0>}", text)


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("table", argv, __doc__)
    layout, table = job.settings.layout, job.output.with_suffix(".csv")
    cells = summarise(layout, job.inputs)
    write_text(table, wide(layout, cells).to_csv(index=False, lineterminator="\n"))
    write_text(table.with_suffix(".md"), markdown(layout, cells))
    write_text(table.with_suffix(".tex"), latex(layout, cells))
    job.write_card(
        sha256_of_file(table), {"records": {card.artifact: sha256_of_file(card.path) for card in job.inputs}}
    )


if __name__ == "__main__":
    run(main)
