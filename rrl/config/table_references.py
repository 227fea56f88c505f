"""Checks of tables: names that they refer to, and rows that no record would fill.

A table is checked in steps, each of which relies on the steps before it. Every check yields lines: the place, what was
found, what is valid.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rrl.config.nearest import unknown
from rrl.config.references import BRINGS_TRANSFORM
from rrl.config.schema import Column, Config, Library, Panel, Row, Table, User
from rrl.config.shown import Shown
from rrl.config.transfers import TRANSFERS

Entry = TypeVar("Entry")


def first_step(*steps: Iterable[Iterator[str]]) -> list[str]:
    """The lines of the first step that has any. A step is several checks."""
    return next((lines for step in steps if (lines := [line for check in step for line in check])), [])


def mistakes_of_table(place: str, table: Table, config: Config, names: Shown | None) -> list[str]:
    if place == "tables.records":
        return [f"{place}: found name 'records'; every experiment has a records.csv, take another name"]
    lines = list(unknown_targets(f"{place}.columns", table.columns, config))
    rows = placed(f"{place}.rows", table.rows)
    for at, row in rows:
        lines += unknown_group(f"{at}.group", row.group, names)
    if names is None or lines:
        return lines
    columns = [_column(at, column, names) for at, column in placed(f"{place}.columns", table.columns)]
    return first_step(
        [_methods(place, table), *columns, *(_row(at, row, table, names) for at, row in rows)],
        (_empty(at, row, table, names) for at, row in rows),
    )


def placed(place: str, entries: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Each entry of a list with its place: `tables.table1.rows[0]`."""
    return [(f"{place}[{number}]", entry) for number, entry in enumerate(entries)]


def unknown_targets(place: str, entries: Sequence[Column | Panel], config: Config) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield from unknown(f"{place}[{number}].target", entry.target, config.targets)


def unknown_group(place: str, group: str, names: Shown | None) -> Iterator[str]:
    yield from unknown(place, group, [group] if names is None else names.groups)


def _methods(place: str, table: Table) -> Iterator[str]:
    first: dict[str, int] = {}  # what the table calls a row -> its number
    for number, row in enumerate(table.rows):
        shown_as = f"{row.method}^sub" if row.ensemble else row.method
        if shown_as in first:
            yield f"{place}.rows[{number}].method: found {shown_as!r}, as in rows[{first[shown_as]}]; take another name"
        first.setdefault(shown_as, number)


def _column(place: str, column: Column, names: Shown) -> Iterator[str]:
    target = column.target
    finetuned = {
        name: (f"finetunings.{entry}", shots)
        for entry, finetuning in names.config.finetunings.items()
        for name, shots in finetuning.targets.items()
    }
    if TRANSFERS[column.transfer].cached:
        where, valid = f"targets.{target}", names.config.targets[target].shots
    elif target in finetuned:
        where, valid = finetuned[target][0], [finetuned[target][1]]
    else:
        others = ", ".join(finetuned) or "... there is none"
        yield f"{place}.target: found {target}, on which nothing is fine-tuned; must be one of: {others}"
        return
    if column.transfer == "finetune" and target in names.published:
        yield f"{place}.transfer: found finetune; must be two_stage or averaged_head, as others fine-tuned on {target}"
    if column.shots not in valid:
        yield f"{place}.shots: found {column.shots}; must be one of those of {where}: {', '.join(map(str, valid))}"


def _row(place: str, row: Row, table: Table, names: Shown) -> Iterator[str]:
    representation = names.groups[row.group][0]
    if row.ensemble and len(names.representations[representation]) == 1:
        yield f"{place}.ensemble: found true; {row.group} has one member, must be a group of two or more"
    if representation in names.searched:
        yield from _searched(place, row, table, names)
    for target in dict.fromkeys(column.target for column in table.columns if column.transfer == "linear_probe"):
        probes = names.probe_by_family(target, representation)
        if len(set(probes.values())) > 1:
            differ = ", ".join(f"{family}: {probe}" for family, probe in probes.items())
            yield (
                f"{place}.group: found {row.group}, of families whose probes on {target} differ ({differ}); "
                "must be of families with one probe"
            )
    for target in dict.fromkeys(column.target for column in table.columns):
        yield from brings_transform(f"{place}.group", row.group, names.families(representation), target, names.config)


def _searched(place: str, row: Row, table: Table, names: Shown) -> Iterator[str]:
    """Limits of a row whose linear probe is a search for the best subset."""
    if table.selections != ["heldout"]:
        at, rules = f"{place.rpartition('.rows')[0]}.selections", ", ".join(table.selections)
        yield f"{at}: found {rules}; must be heldout alone, as {row.group} is searched for on val"
    if row.ensemble:
        yield f"{place}.ensemble: found true; must be false, as {row.group} is a best subset, which is concatenated"
    if any(column.transfer != "linear_probe" for column in table.columns):
        yield f"{place}.group: found {row.group}, a best subset; must be in a table with columns of linear_probe alone"
    for target in dict.fromkeys(column.target for column in table.columns if column.target in names.by_lbfgs):
        yield (
            f"{place}.group: found {row.group}, a best subset, which is searched for by SGD, on {target}, whose probe "
            f"{names.probes(target)[0]} has a solver; must be on targets whose probe has none"
        )


def brings_transform(place: str, name: str, families: list[str], target: str, config: Config) -> Iterator[str]:
    """Networks that are shown on a target whose transform is `network` must bring one."""
    if config.targets[target].transform != "network":
        return
    for family in families:
        if not isinstance(config.networks[family], User | Library):
            networks = name if name == family else f"{name}, with {family}"
            yield f"{place}: found {networks}, on {target}, whose transform is `network`; {BRINGS_TRANSFORM}"


def _empty(place: str, row: Row, table: Table, names: Shown) -> Iterator[str]:
    if not any(names.cell(row, column) for column in table.columns):
        yield f"{place}.group: found {row.group}, which would be an empty row; {FILLS_A_CELL}"


FILLS_A_CELL = "must be a group of networks that are fine-tuned on the target, and of two or more of them for two_stage"
