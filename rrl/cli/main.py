"""Commands for people: `rrl --help`."""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from rrl.cli import compare_records as comparison
from rrl.cli import show as showing
from rrl.errors import UserError
from rrl.job import in_words
from rrl.store.files import sha256_of_file

FILE = click.Path(path_type=Path)


def in_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """A mistake of the user, or what the operating system refuses, ends in one line."""

    @wraps(command)
    def called(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except UserError as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            raise  # click itself ends quietly then
        except OSError as error:
            raise click.ClickException(in_words(error)) from None

    return called


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Compare networks on images, and look at what the workflow made."""


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


@main.command("compare-records", short_help="Do records differ by more than chance?")
@click.argument("first", type=FILE)
@click.argument("others", type=FILE, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@in_one_line
def compare_records(first: Path, others: tuple[Path, ...], as_json: bool) -> None:
    """The difference of two records on the same test images: 95 % interval (Tango's), and McNemar's exact test.

    With several OTHERS the difference to the mean of their accuracies, and an interval from resampled images.
    """
    card, cards = showing.card_of(first), [showing.card_of(path) for path in others]
    entries = comparison.compare_records(card, cards)
    click.echo(json.dumps(entries, indent=1) if as_json else "\n".join(comparison.lines(card, cards, entries)))


@main.command(short_help="Do the claims of an experiment hold on its results?")
@click.argument("results", type=FILE, required=False)
@click.option(
    "--config",
    type=FILE,
    default="workflow/config/claims.yaml",
    show_default=True,
    help="Config of the experiment, with its claims.",
)
@click.option("--output", type=FILE, help="Folder to write claims.md, claims.json and claims.csv to.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@in_one_line
def claims(results: Path | None, config: Path, output: Path | None, as_json: bool) -> None:
    """For each claim of a config whether it holds, does not hold or is undecided, with the intervals that say so.

    RESULTS is the results folder; that of the config if left out. claims.csv has the accuracy of every replicate.
    """
    from rrl.cli import claims as claimed

    plan, top1, missing = claimed.results_of(config, results)
    checked = claimed.check(plan, top1)
    click.echo(claimed.as_json(checked) if as_json else "\n".join(claimed.lines(checked)), nl=not as_json)
    for line in claimed.missing_lines(missing, config):
        click.echo(line, err=True)
    for path in claimed.write(output, plan, top1) if output else ():
        click.echo(f"Written: {path}", err=True)


@main.command(short_help="Your networks on your images: does concatenating them help?")
@click.argument("networks", nargs=-1, required=True)
@click.option(
    "--data",
    required=True,
    help="Folder with a folder of images per class (or train, val and test of such "
    "folders); CSV with columns path and label; .npz or .h5 with images and labels; torchvision/<data set>.",
)
@click.option("--output", type=FILE, help="Results folder.  [default: results/<name of the data>]")
@click.option(
    "--preprocess",
    nargs=2,
    multiple=True,
    metavar="NETWORK KEY=VALUE,...",
    help="In place of what the library says of a network: size, resize, interpolation, mean, std; numbers "
    "per channel as 0.5/0.5/0.5.",
)
@click.option(
    "--leave-out", is_flag=True, help="Leave out images that cannot be used, and list them, instead of stopping."
)
@click.option(
    "--data-root", type=FILE, default="data", show_default=True, help="Where torchvision's data sets are kept."
)
@click.option("--cores", type=click.IntRange(min=1), help="Jobs at once.  [default: all cores]")
@in_one_line
def compare(
    networks: tuple[str, ...],
    data: str,
    output: Path | None,
    preprocess: tuple[tuple[str, str], ...],
    leave_out: bool,
    data_root: Path,
    cores: int | None,
) -> None:
    """Each network alone, all concatenated, their ensemble, and the best subset: linear probes on your images.

    NETWORKS, two or more, are timm/<name>, torchvision/<name> (published weights, downloaded), files of weights, or
    <arch>=FILE where the file does not tell its architecture.
    """
    from rrl.cli import compare as comparing

    for line in comparing.compare(
        networks, data, data_root=data_root, output=output, preprocess=preprocess, leave_out=leave_out, cores=cores
    ):
        click.echo(line)


@main.command(short_help="What a config says of a data set or a file of weights.")
@click.argument("path")
@click.option(
    "--data-root", type=FILE, default=".", help="What PATH is below; for torchvision/<data set> the data folder."
)
@in_one_line
def fingerprint(path: str, data_root: Path) -> None:
    """For `fingerprint` of a target in a config the digest of a data set's names and sizes; for `sha256` of a network
    the digest of the file, whatever its name. Of an .npz or .h5 file that holds images and labels, both."""
    from rrl.data.image_sources import ARRAYS, KINDS, LIBRARY, open_source

    file = data_root / path
    if file.is_file() and file.suffix != ".csv":
        click.echo(f"sha256: {sha256_of_file(file)}")
        if file.suffix not in ARRAYS:
            return
        try:
            source = open_source(path, data_root)
        except UserError:  # a network, or data that are of no use; the sha256 is that of the file all the same
            return
    elif path.startswith(LIBRARY) or file.exists():
        source = open_source(path, data_root)
    else:
        raise UserError(f"{file}: missing; allowed is {KINDS}; or the file of a network, with any name")
    click.echo(f"fingerprint: {source.fingerprint}")


if __name__ == "__main__":
    main()
