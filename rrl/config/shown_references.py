"""Checks of figures and claims: every point and every side of a comparison must be a cell of a table.

What is shown is checked in steps, each of which relies on the steps before it. Every check yields lines: the place,
what was found, what is valid.
"""

import itertools
from collections.abc import Iterator

from rrl.config.names import several
from rrl.config.nearest import unknown
from rrl.config.schema import (
    AccuracyFigure,
    Claim,
    Column,
    Config,
    Method,
    NetworkGroup,
    Panel,
    PanelRow,
    Row,
    Series,
    SimilarityFigure,
    Table,
)
from rrl.config.shown import Shown
from rrl.config.table_references import (
    FILLS_A_CELL,
    brings_transform,
    first_step,
    mistakes_of_table,
    unknown_group,
    unknown_targets,
)
from rrl.config.transfers import OF_NETWORKS, transfer_name


def mistakes(config: Config, names: Shown | None) -> Iterator[str]:
    """Mistakes in tables, figures and claims.

    names : None if what they are made of has mistakes; then only the names of tables, targets and families are checked.
    """
    wrong = set()  # tables: what relies on one is not checked on
    for name, table in config.tables.items():
        if lines := mistakes_of_table(f"tables.{name}", table, config, names):
            wrong.add(name)
            yield from lines
    for name, figure in config.figures.items():
        if isinstance(figure, SimilarityFigure):
            yield from _similarity_figure(f"figures.{name}", figure, config, names)
        else:
            yield from _accuracy_figure(f"figures.{name}", figure, config, names, wrong)
    for name, claim in config.claims.items():
        yield from _claim(f"claims.{name}", claim, config, None if claim.table in wrong else names)


def _accuracy_figure(
    place: str, figure: AccuracyFigure, config: Config, names: Shown | None, wrong: set[str]
) -> Iterator[str]:
    """Every point of a figure is a cell of the table that its row names."""
    for number, row in enumerate(figure.rows):
        at = f"{place}.rows[{number}]"
        panels = [(f"{at}.panels[{count}]", panel) for count, panel in enumerate(row.panels)]
        lines = [*unknown(f"{at}.table", row.table, config.tables), *unknown_targets(panels, config)]
        series = [(f"{at}.series[{count}]", series) for count, series in enumerate(row.series)]
        for inside, part in series:
            for group in part.groups:
                lines += unknown_group(f"{inside}.groups", group, names)
        if names is None or lines or row.table in wrong:
            yield from lines
            continue
        table = config.tables[row.table]
        yield from first_step(
            _panels(panels, row.table, table),
            itertools.chain.from_iterable(_series(inside, part, row, table, names) for inside, part in series),
            itertools.chain.from_iterable(_points(inside, part, row, names) for inside, part in series),
            itertools.chain.from_iterable(
                _gains(inside, part, table, names) for inside, part in series if figure.kind == "gains"
            ),
        )


def _panels(panels: list[tuple[str, Panel]], name: str, table: Table) -> Iterator[str]:
    valid = dict.fromkeys(f"{column.target} {column.shots}" for column in table.columns)
    for place, panel in panels:
        if f"{panel.target} {panel.shots}" not in valid:
            found = f"found target {panel.target}, shots {panel.shots}"
            yield f"{place}: {found}; must be one of those of tables.{name}: {', '.join(valid)}"


def _series(place: str, series: Series, row: PanelRow, table: Table, names: Shown) -> Iterator[str]:
    valid = {(entry.group, entry.ensemble) for entry in table.rows}
    for group in series.groups:
        ensemble = names.separate(series, group)
        members = names.representations[names.groups[group][0]]
        if transfer_name(series.transfer, ensemble) in OF_NETWORKS and not several(members):
            yield f"{place}.groups: found {group}; must be a group of two or more networks"
        elif (group, ensemble) not in valid:
            found = f"found {group}, ensemble {_yaml(ensemble)}"
            yield f"{place}.groups: {found}; must be a row of tables.{row.table}"
    for panel in row.panels:
        yield from _in_columns(place, series.transfer, panel, row.table, table)


def _in_columns(place: str, transfer: str, panel: Panel, name: str, table: Table) -> Iterator[str]:
    if (transfer, panel.target, panel.shots) not in [(c.transfer, c.target, c.shots) for c in table.columns]:
        found = f"found {transfer} on {panel.target}, shots {panel.shots}"
        yield f"{place}.transfer: {found}; must be a column of tables.{name}"


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
    for representations, group, pairs in zip(shown[1:], series.groups[1:], names.gains(shown), strict=True):
        extended = {after for _, after in pairs}
        if alone := [name for name in representations if name not in extended]:
            yield (
                f"{place}.groups: found {group}, whose {alone[0]} has not the networks of one in the group before it; "
                "must be the same networks and more"
            )


def _similarity_figure(place: str, figure: SimilarityFigure, config: Config, names: Shown | None) -> list[str]:
    lines: list[str] = []
    for number, target in enumerate(figure.targets):
        lines += unknown(f"{place}.targets[{number}]", target, config.targets)
    groups = [(f"{place}.groups[{number}]", group) for number, group in enumerate(figure.groups)]
    for at, group in groups:
        lines += unknown(f"{at}.family", group.family, config.networks)
    if names is None or lines:
        return lines
    return first_step(
        itertools.chain.from_iterable(_network_group(at, group, figure, config) for at, group in groups),
        _compared(place, figure, names),
    )


def _network_group(place: str, group: NetworkGroup, figure: SimilarityFigure, config: Config) -> Iterator[str]:
    declared = config.networks[group.family].seeds
    for seed in group.seeds:
        if seed not in declared:
            valid = ", ".join(map(str, declared))
            yield f"{place}.seeds: found {seed}; must be one of those of {group.family}: {valid}"
    for target in figure.targets:
        yield from brings_transform(f"{place}.family", group.family, [group.family], target, config)


def _compared(place: str, figure: SimilarityFigure, names: Shown) -> Iterator[str]:
    """Every group has networks on some target, whose weights are kept, and every target two or more."""
    for number, group in enumerate(figure.groups):
        networks = [network for target in figure.targets for network in names.compared(target, group)]
        if not networks or (group.finetuned and not set(networks) <= names.kept.keys()):
            found = f"found {_yaml(group.finetuned)}, {group.family}, seeds {', '.join(map(str, group.seeds))}"
            yield (
                f"{place}.groups[{number}].finetuned: {found}; must be networks of a concatenation that are fine-tuned "
                "on one of the targets"
            )
    for number, target in enumerate(figure.targets):
        if sum(len(names.compared(target, group)) for group in figure.groups) < 2:
            yield f"{place}.targets[{number}]: found {target}, with fewer than two networks; must have two or more"


def _claim(place: str, claim: Claim, config: Config, names: Shown | None) -> list[str]:
    """Every side of a comparison is a cell of the table that the claim names."""
    panels = [(f"{place}.panels[{number}]", panel) for number, panel in enumerate(claim.panels)]
    sides = [
        (f"{place}.pairs[{number}][{side}]", method)
        for number, pair in enumerate(claim.pairs)
        for side, method in enumerate(pair)
    ]
    lines = [*unknown(f"{place}.table", claim.table, config.tables), *unknown_targets(panels, config)]
    for at, method in sides:
        lines += unknown_group(f"{at}.group", method.group, names)
    if names is None or lines:
        return lines
    table = config.tables[claim.table]
    return first_step(
        itertools.chain(_selection(place, claim, table), _panels(panels, claim.table, table)),
        itertools.chain.from_iterable(_side(at, method, claim, table) for at, method in sides),
        itertools.chain.from_iterable(_compared_side(at, method, claim, table, names) for at, method in sides),
    )


def _selection(place: str, claim: Claim, table: Table) -> Iterator[str]:
    if claim.selection not in table.selections:
        valid = ", ".join(table.selections)
        yield f"{place}.selection: found {claim.selection}; must be one of those of tables.{claim.table}: {valid}"


def _side(place: str, method: Method, claim: Claim, table: Table) -> Iterator[str]:
    if (method.group, method.ensemble) not in [(row.group, row.ensemble) for row in table.rows]:
        found = f"found group {method.group}, ensemble {_yaml(method.ensemble)}"
        yield f"{place}: {found}; must be a row of tables.{claim.table}"
    for panel in claim.panels:
        yield from _in_columns(place, method.transfer, panel, claim.table, table)


def _compared_side(place: str, method: Method, claim: Claim, table: Table, names: Shown) -> Iterator[str]:
    """A side needs records, of representations that are independent replicates."""
    for panel in claim.panels:
        if not _filled(method, panel, names):
            found = f"found {method.group}, which has no {method.transfer} on {panel.target}"
            yield f"{place}: {found}; must be a cell of tables.{claim.table} that is not empty"
    if shared := names.shared(names.shown(table, method.group)):
        found = f"found {method.group}, of which {shared[0]} and {shared[1]} share networks"
        yield f"{place}.group: {found}; must be replicates that share none (windows: disjoint)"


def _yaml(value: bool) -> str:
    return str(value).lower()
