"""Checks of figures and claims: every point and every side of a comparison must be a cell of a table.

What is shown is checked in steps, each of which relies on the steps before it. Every check yields lines: the place,
what was found, what is valid.
"""

import itertools
from collections.abc import Iterator

from rrl.config import schema
from rrl.config.names import several
from rrl.config.nearest import unknown
from rrl.config.schema import AccuracyFigure, Claim, Column, Config, Method, Panel, PanelRow, Row, Series, Table
from rrl.config.shown import Shown
from rrl.config.table_references import (
    FILLS_A_CELL,
    brings_transform,
    first_step,
    mistakes_of_table,
    placed,
    unknown_group,
    unknown_targets,
)
from rrl.config.transfers import OF_NETWORKS, transfer_name


def mistakes(config: Config, names: Shown | None) -> Iterator[str]:
    """Mistakes in tables, figures and claims.

    names : None if what they are made of has mistakes; then only the names of tables, targets and families are checked.
    """
    wrong = set()  # tables with mistakes, on which no further check can rely
    for name, table in config.tables.items():
        if lines := mistakes_of_table(f"tables.{name}", table, config, names):
            wrong.add(name)
            yield from lines
    for name, figure in config.figures.items():
        if isinstance(figure, schema.SimilarityFigure):
            yield from _similarity_figure(f"figures.{name}", figure, config, names)
        else:
            yield from _accuracy_figure(f"figures.{name}", figure, config, names, wrong)
    for name, claim in config.claims.items():
        yield from _claim(f"claims.{name}", claim, config, names, wrong)


def _accuracy_figure(
    place: str, figure: AccuracyFigure, config: Config, names: Shown | None, wrong: set[str]
) -> Iterator[str]:
    """Every point of a figure is a cell of the table that its row names."""
    for at, row in placed(f"{place}.rows", figure.rows):
        lines = [*unknown(f"{at}.table", row.table, config.tables)]
        lines += unknown_targets(f"{at}.panels", row.panels, config)
        series = placed(f"{at}.series", row.series)
        for inside, part in series:
            for group in part.groups:
                lines += unknown_group(f"{inside}.groups", group, names)
        if names is None or lines or row.table in wrong:
            yield from lines
            continue
        table = config.tables[row.table]
        gains = series if figure.kind == "gains" else []
        yield from first_step(
            [_panels(f"{at}.panels", row.panels, row.table, table)],
            (_series(inside, part, row, table, names) for inside, part in series),
            (_points(inside, part, row, names) for inside, part in series),
            (_gains(inside, part, table, names) for inside, part in gains),
        )


def _panels(place: str, panels: list[Panel], name: str, table: Table) -> Iterator[str]:
    valid = dict.fromkeys(f"{column.target} {column.shots}" for column in table.columns)
    for at, panel in placed(place, panels):
        if f"{panel.target} {panel.shots}" not in valid:
            shown = f"target {panel.target}, shots {panel.shots}"
            yield f"{at}: found {shown}; must be one of those of tables.{name}: {', '.join(valid)}"


def _series(place: str, series: Series, row: PanelRow, table: Table, names: Shown) -> Iterator[str]:
    valid = {(entry.group, entry.ensemble) for entry in table.rows}
    for group in series.groups:
        ensemble = names.separate(series, group)
        members = names.representations[names.groups[group][0]]
        if transfer_name(series.transfer, ensemble) in OF_NETWORKS and not several(members):
            yield f"{place}.groups: found {group}; must be a group of two or more networks"
        elif (group, ensemble) not in valid:
            shown = f"{group}, ensemble {_yaml(ensemble)}"
            yield f"{place}.groups: found {shown}; must be a row of tables.{row.table}"
    for panel in row.panels:
        yield from _in_columns(place, series.transfer, panel, row.table, table)


def _in_columns(place: str, transfer: str, panel: Panel, name: str, table: Table) -> Iterator[str]:
    if (transfer, panel.target, panel.shots) not in [(c.transfer, c.target, c.shots) for c in table.columns]:
        shown = f"{transfer} on {panel.target}, shots {panel.shots}"
        yield f"{place}.transfer: found {shown}; must be a column of tables.{name}"


def _points(place: str, series: Series, row: PanelRow, names: Shown) -> Iterator[str]:
    for group, panel in itertools.product(series.groups, row.panels):
        method = Method(group=group, ensemble=names.separate(series, group), transfer=series.transfer)
        if not _filled(method, panel, names):
            yield f"{place}.groups: found {group}, which has no {series.transfer} on {panel.target}; {FILLS_A_CELL}"


def _filled(method: Method, panel: Panel, names: Shown) -> bool:
    """Whether some record would fill the cell."""
    row = Row(method=method.group, group=method.group, ensemble=method.ensemble)
    column = Column(transfer=method.transfer, target=panel.target, shots=panel.shots)
    return names.cell(row, column) is not None


def _gains(place: str, series: Series, table: Table, names: Shown) -> Iterator[str]:
    """Each representation of a group must be one of the group before it, with networks added."""
    if len(series.groups) < 2:
        yield f"{place}.groups: found {series.groups[0]} alone; must be two or more, as a gain is from one to the next"
    shown = [names.shown(table, group) for group in series.groups]
    for (before, group), few, many in zip(itertools.pairwise(series.groups), shown, shown[1:], strict=False):
        extended = {after for _, after in names.gains([few, many])[0]}
        if alone := [name for name in many if name not in extended]:
            yield f"{place}.groups: found {group}; {alone[0]} must extend a representation of {before} by networks"


def _similarity_figure(place: str, figure: schema.SimilarityFigure, config: Config, names: Shown | None) -> list[str]:
    lines: list[str] = []
    for at, target in placed(f"{place}.targets", figure.targets):
        lines += unknown(at, target, config.targets)
    groups = placed(f"{place}.groups", figure.groups)
    for at, group in groups:
        lines += unknown(f"{at}.family", group.family, config.networks)
    if names is None or lines:
        return lines
    return first_step(
        (_network_group(at, group, figure, config) for at, group in groups),
        [_compared(place, figure, names)],
    )


def _network_group(
    place: str, group: schema.NetworkGroup, figure: schema.SimilarityFigure, config: Config
) -> Iterator[str]:
    declared = config.networks[group.family].seeds
    for seed in group.seeds:
        if seed not in declared:
            valid = ", ".join(map(str, declared))
            yield f"{place}.seeds: found {seed}; must be one of those of {group.family}: {valid}"
    for target in figure.targets:
        yield from brings_transform(f"{place}.family", group.family, [group.family], target, config)


def _compared(place: str, figure: schema.SimilarityFigure, names: Shown) -> Iterator[str]:
    """Every group has networks on some target, whose weights are kept, and every target two or more."""
    for at, group in placed(f"{place}.groups", figure.groups):
        networks = [network for target in figure.targets for network in names.compared(target, group)]
        if not networks or (group.finetuned and not set(networks) <= names.kept.keys()):
            yield (
                f"{at}.finetuned: found true; must be false, unless {group.family} is part of a "
                "concatenation and fine-tuned on one of the targets"
            )
    for at, target in placed(f"{place}.targets", figure.targets):
        if sum(len(names.compared(target, group)) for group in figure.groups) < 2:
            yield f"{at}: found {target}, with fewer than two networks; must have two or more"


def _claim(place: str, claim: Claim, config: Config, names: Shown | None, wrong: set[str]) -> list[str]:
    """Every side of a comparison is a cell of the table that the claim names."""
    lines = list(unknown(f"{place}.table", claim.table, config.tables))
    lines += unknown_targets(f"{place}.panels", claim.panels, config)
    sides = [side for at, pair in placed(f"{place}.pairs", claim.pairs) for side in placed(at, pair)]
    for at, method in sides:
        lines += unknown_group(f"{at}.group", method.group, names)
    if names is None or lines or claim.table in wrong:
        return lines
    table = config.tables[claim.table]
    return first_step(
        [_selection(place, claim, table), _panels(f"{place}.panels", claim.panels, claim.table, table)],
        (_side(at, method, claim, table) for at, method in sides),
        (_compared_side(at, method, claim, table, names) for at, method in sides),
    )


def _selection(place: str, claim: Claim, table: Table) -> Iterator[str]:
    if claim.selection not in table.selections:
        valid = ", ".join(table.selections)
        yield f"{place}.selection: found {claim.selection}; must be one of those of tables.{claim.table}: {valid}"


def _side(place: str, method: Method, claim: Claim, table: Table) -> Iterator[str]:
    if (method.group, method.ensemble) not in [(row.group, row.ensemble) for row in table.rows]:
        shown = f"group {method.group}, ensemble {_yaml(method.ensemble)}"
        yield f"{place}: found {shown}; must be a row of tables.{claim.table}"
    for panel in claim.panels:
        yield from _in_columns(place, method.transfer, panel, claim.table, table)


def _compared_side(place: str, method: Method, claim: Claim, table: Table, names: Shown) -> Iterator[str]:
    """A side needs records, of representations that are independent replicates."""
    for panel in claim.panels:
        if not _filled(method, panel, names):
            shown = f"{method.group}, which has no {method.transfer} on {panel.target}"
            yield f"{place}: found {shown}; must be a cell of tables.{claim.table} that is not empty"
    if shared := names.shared(names.shown(table, method.group)):
        shown = f"{method.group}, of which {shared[0]} and {shared[1]} share networks"
        yield f"{place}.group: found {shown}; must be replicates that share none (windows: disjoint)"


def _yaml(value: bool) -> str:
    return str(value).lower()
