"""Commands for people: `rrl --help`."""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from rrl import compare_records as comparison
from rrl import show as showing
from rrl.errors import UserError

FILE = click.Path(path_type=Path)


def in_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """A mistake of the user ends in one line."""

    @wraps(command)
    def called(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except UserError as error:
            raise click.ClickException(str(error)) from None

    return called


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Look at what the workflow made."""


@main.command(short_help="What a file is, and what it was made from.")
@click.argument("path", type=FILE)
@click.option("--row", help="With --column: a cell of the table at PATH, by the method it shows, such as CAT4^sub.")
@click.option("--column", help="Its column, by the heading.")
@click.option("--selection", help="heldout or paper; the table's first if left out.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with everything.")
@in_one_line
def show(path: Path, row: str | None, column: str | None, selection: str | None, as_json: bool) -> None:
    """What a file is: from which seeds, data, settings and code it was made, and its accuracies.

    PATH is any file below a results folder: a record, logits, features, a network, a target, a table.
    """
    card = showing.card_of(path)
    if row and column:
        if "layout" not in card.settings or "rows" not in card.settings["layout"]:
            raise UserError(f"{path}: not a table; --row and --column name a cell of one")
        about = showing.cell(card, row, column, selection)
        text = showing.cell_lines(about)
    elif row or column or selection:
        raise UserError("--row, --column: a cell needs both")
    else:
        about = showing.describe(card)
        text = showing.table_lines(card) if card.stage == "table" else showing.lines(about)
    click.echo(json.dumps(about, indent=1, sort_keys=True) if as_json else "\n".join(text))


@main.command("compare-records", short_help="Do two records differ by more than chance?")
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@in_one_line
def compare_records(first: Path, second: Path, as_json: bool) -> None:
    """The difference of two records on the same test images: 95 % interval by resampling, and McNemar's exact test."""
    cards = showing.card_of(first), showing.card_of(second)
    entries = comparison.compare_records(*cards)
    click.echo(json.dumps(entries, indent=1) if as_json else "\n".join(comparison.lines(*cards, entries)))


if __name__ == "__main__":
    main()
