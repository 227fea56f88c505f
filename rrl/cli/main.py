"""The command line: `rrl --help`. Each command imports what it needs when it runs, so that none waits for others."""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from rrl.errors import UserError
from rrl.job import in_words

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Commands(click.Group):
    """A mistake of the user, or what the operating system refuses, ends in an error message, never in a traceback."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # not by the alphabet

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except UserError as error:
            raise click.ClickException(printable(str(error))) from None
        except BrokenPipeError:
            raise  # click itself ends quietly then
        except OSError as error:
            raise click.ClickException(printable(in_words(error))) from None


def printable(text: str) -> str:
    """Text that no terminal obeys, whatever letters the name of a file has."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)


def config_argument(default: str | None = "config.yaml") -> Callable[[Any], Any]:
    return click.argument("config", type=FILE, required=default is None, default=default)


def show_result(as_json: bool, content: Any, lines: Callable[[Any], Iterable[str]]) -> None:
    click.echo(json.dumps(content, indent=1) if as_json else "\n".join(lines(content)))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run experiments, look at their results, and compare networks on images.

    CONFIG is the YAML file of an experiment. Errors are printed to standard error, with exit status 1, or 2 for a wrong
    option.
    """


@main.command(short_help="Run an experiment.")
@config_argument(None)
@click.argument("targets", metavar="[TARGET]... [-- OPTION...]", nargs=-1)
@click.option("--cores", type=click.IntRange(min=1), metavar="N", help="Jobs at once.  [default: all cores]")
@click.option("--dry-run", "-n", is_flag=True, help="List the jobs, run none.")
@click.option("--profile", metavar="FOLDER", help="Profile of Snakemake, such as slurm.")
@click.option("--json", "as_json", is_flag=True, help="Print what `rrl status --json` does when the run has ended.")
def run(
    config: Path, targets: tuple[str, ...], cores: int | None, dry_run: bool, profile: str | None, as_json: bool
) -> None:
    """Make all results of CONFIG, or the files TARGET, with Snakemake. After a kill the same command goes on.

    Options of Snakemake can follow after `--`, as in: rrl run config.yaml -- --keep-going
    """
    from rrl.cli import run as running

    if dry_run and as_json:
        raise click.UsageError("--json: a dry run lists jobs as text; leave out --dry-run or --json")
    status = running.run(running.options(config, targets, cores, dry_run, profile))
    if as_json:
        from rrl.cli.status import status as state_of

        click.echo(json.dumps(state_of(config), indent=1))
    sys.exit(status)


@main.command(short_help="What an experiment costs before it runs.")
@config_argument()
@click.option("--missing", is_flag=True, help="Leave out what exists already.")
@JSON
def plan(config: Path, missing: bool, as_json: bool) -> None:
    """Jobs, GPU-hours, CPU-hours and disk of an experiment, per table and in all.

    Where lists of CONFIG differ by grid, both are shown: recommended / published. With --json hours and bytes.
    """
    from rrl.cli import plan as costs

    show_result(as_json, costs.estimate(config, missing), costs.lines)


@main.command(short_help="Which results exist, are stale or are missing.")
@config_argument()
@JSON
def status(config: Path, as_json: bool) -> None:
    """Per table which records are current, stale (made under another config or code) or missing, row by row where some
    are not current. `rrl run CONFIG --dry-run` lists the jobs to run."""
    from rrl.cli import status as states

    show_result(as_json, states.status(config), states.lines)


@main.command(short_help="What would be made again, and why.")
@config_argument()
@click.option("--paths", is_flag=True, help="Print only the files made under another config or code, a line each.")
@JSON
def why(config: Path, paths: bool, as_json: bool) -> None:
    """The settings, code and inputs in which results differ from what CONFIG plans.

    It also names results that Snakemake alone would take for current: those that it has no records of.
    """
    from rrl.cli import why as reasons

    if paths:
        files = [str(path) for path in reasons.stale_paths(config)]
        click.echo(json.dumps(files, indent=1) if as_json else "".join(f"{file}\n" for file in files), nl=as_json)
    else:
        show_result(as_json, reasons.why(config), reasons.lines)


@main.command(short_help="What a file is, and what it was made from.")
@click.argument("path", type=FILE)
@click.option("--row", help="With --column: a cell of the table at PATH, by the method it shows, such as CAT4^sub.")
@click.option("--column", help="Its column, by the heading.")
@click.option("--selection", help="heldout or paper.  [default: the table's first]")
@JSON
def show(path: Path, row: str | None, column: str | None, selection: str | None, as_json: bool) -> None:
    """What a file is: from which seeds, data, settings and code it was made, and its accuracies.

    PATH is any file in a results folder: a record, logits, features, a network, a target, a table.
    """
    from rrl.cli import show as showing

    card = showing.card_of(path)
    if row and column:
        show_result(as_json, showing.cell(card, row, column, selection), showing.cell_lines)
    elif row or column or selection:
        raise UserError("--row, --column: a cell needs both")
    elif card.stage == "table" and not as_json:
        click.echo("\n".join(showing.table_lines(card)))
    else:
        show_result(as_json, showing.describe(card), showing.lines)


@main.command(short_help="Your networks on your images: does concatenating them help?")
@click.argument("networks", nargs=-1, required=True)
@click.option(
    "--data",
    required=True,
    help="Folder with a folder of images per class (or train, val and test of such folders); CSV with columns path and "
    "label; .npz or .h5 with images and labels; torchvision/<data set>.",
)
@click.option("--output", type=FILE, help="Results folder.  [default: results/<name of the data>]")
@click.option(
    "--preprocess",
    nargs=2,
    multiple=True,
    metavar="NETWORK KEY=VALUE,...",
    help="Replace what the library says of a network: size, resize, interpolation, mean, std; numbers per channel as "
    "0.5/0.5/0.5.",
)
@click.option("--leave-out", is_flag=True, help="Leave out and list images that cannot be used, instead of stopping.")
@click.option("--data-root", type=FILE, default="data", show_default=True, help="Folder of torchvision's data sets.")
@click.option("--cores", type=click.IntRange(min=1), metavar="N", help="Jobs at once.  [default: all cores]")
@JSON
def compare(
    networks: tuple[str, ...],
    data: str,
    output: Path | None,
    preprocess: tuple[tuple[str, str], ...],
    leave_out: bool,
    data_root: Path,
    cores: int | None,
    as_json: bool,
) -> None:
    """Each network alone, all concatenated, their ensemble, and the best subset: linear probes on your images.

    NETWORKS, two or more, are timm/<name>, torchvision/<name> (published weights, downloaded), files of weights, or
    <arch>=FILE where the file does not reveal its architecture.
    """
    from rrl.cli import compare as comparing
    from rrl.cli.compare_config import experiment, results_folder, understand

    known = understand(networks, preprocess)
    config = experiment(known, data, data_root, output or results_folder(data), leave_out)
    if not as_json:
        click.echo("\n".join(comparing.network_lines(known)))
    path = comparing.run(config, cores)
    show_result(as_json, comparing.result(path, config, known), comparing.lines)


@main.command("compare-records", short_help="Do records differ by more than chance?")
@click.argument("first", type=FILE)
@click.argument("others", type=FILE, nargs=-1, required=True)
@JSON
def compare_records(first: Path, others: tuple[Path, ...], as_json: bool) -> None:
    """The difference of two records on the same test images: 95 % interval (Tango's), and McNemar's exact test.

    With several OTHERS the difference to the mean of their accuracies, and an interval from resampled images.
    """
    from rrl.cli.compare_records import lines
    from rrl.cli.show import card_of
    from rrl.differences import compare_records as compared

    card, cards = card_of(first), [card_of(path) for path in others]
    show_result(as_json, compared(card, cards), lambda entries: lines(card, cards, entries))


@main.command(short_help="Download data sets and published networks.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--data-root", type=FILE, default="data", show_default=True, help="Folder of the data sets.")
@click.option("--checkpoints", type=FILE, default="checkpoints", show_default=True, help="Folder of the networks.")
@JSON
def fetch(names: tuple[str, ...], data_root: Path, checkpoints: Path, as_json: bool) -> None:
    """Download what is missing, check what is there, and print where it lies. No job runs again for it.

    NAME is a data set (fashion-mnist, mnist-5k), a published network (docs/checkpoints.md), a pattern for several
    ('supervised-*') or one of their files. A file of a network is pinned when it is first used: its size and sha256 are
    written to rrl/networks/checkpoint_pins.json. No file is replaced or deleted.
    """
    from rrl.cli.fetch import fetch_all

    places = []
    for name, path in fetch_all(names, data_root, checkpoints):
        places.append({"name": name, "path": str(path)})
        if not as_json:
            click.echo(path)
    if as_json:
        click.echo(json.dumps(places, indent=1))


@main.command(short_help="Do the claims of an experiment hold on its results?")
@config_argument("workflow/config/claims.yaml")
@click.option("--results", type=FILE, help="Results folder.  [default: that of CONFIG]")
@click.option("--output", type=FILE, help="Folder to write claims.md, claims.json and claims.csv to.")
@JSON
def claims(config: Path, results: Path | None, output: Path | None, as_json: bool) -> None:
    """For each claim of CONFIG whether it holds, does not hold or is undecided, with the intervals that say so.

    claims.csv has the accuracy of every replicate.
    """
    from rrl.cli import claims as claimed
    from rrl.cli import claims_text as text

    plan, top1, missing = claimed.results_of(config, results)
    checked = claimed.check(plan, top1)
    click.echo(text.as_json(checked) if as_json else "\n".join(text.lines(checked)), nl=not as_json)
    for line in text.missing_lines(missing, config):
        click.echo(line, err=True)
    for path in text.write(output, plan, top1) if output else ():
        click.echo(f"Written: {path}", err=True)


@main.command(short_help="All results in one HTML file.")
@config_argument()
@JSON
def report(config: Path, as_json: bool) -> None:
    """Write report.html into the results folder: figures, tables, and a page for all that is behind them.

    It needs a browser and no network. What is stale, missing or damaged is named, and its numbers are left out.
    """
    from rrl.cli import report as page

    show_result(as_json, page.write(config), page.lines)


@main.command(short_help="What a config says of a data set or a file of weights.")
@click.argument("path")
@click.option(
    "--data-root", type=FILE, default=".", help="Folder that PATH is in; for torchvision/<data set> the data folder."
)
@JSON
def fingerprint(path: str, data_root: Path, as_json: bool) -> None:
    """The `fingerprint` of a target: a digest of the names and sizes in a data set. The `sha256` of a network: the
    digest of a file, whatever its name. Both for an .npz or .h5 file of images and labels."""
    from rrl.cli.fingerprint import digests

    show_result(as_json, digests(path, data_root), lambda entries: [f"{key}: {text}" for key, text in entries.items()])
