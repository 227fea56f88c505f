"""Tables, figures and the collected records: settings of the stages that make them, and jobs from the config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rrl.config.transfers import transfer_name
from rrl.jobs.planned import Planned, behind
from rrl.jobs.records import RecordJobs
from rrl.jobs.stage import Stage, stage

if TYPE_CHECKING:
    from rrl.config.schema import Column, Panel, Row, Series, SimilarityFigure
    from rrl.config.schema import Table as TableEntry


@stage("collect")
class Collect(Stage):
    depth = 1
    methods: dict[str, str]
    """The method of each {representation}/{transfer}."""


@stage("table")
class Table(Stage):
    depth = 1
    layout: dict[str, Any]
    """Caption, selections, columns and rows: everything that is shown, by name."""


@stage("figure")
class Figure(Stage):
    layout: dict[str, Any]
    """Kind, caption, and what the kind's module draws."""


class TableJobs(RecordJobs):
    def table(self, table: str) -> Planned:
        entry = self.config.tables[table]
        rows = [
            {
                "method": row.method,
                "ensemble": row.ensemble,
                "representations": self.shown(entry, row.group),
                "transfers": [self.cell(row, column) for column in entry.columns],
                "paper": [self.paper(entry, row, column) for column in entry.columns],
                "architecture": self.architecture(self.groups[row.group][0]),
                "spread": self.spread(row.group),
            }
            for row in entry.rows
        ]
        layout = {
            "caption": entry.caption,
            "selections": entry.selections,
            "grid": self.config.grid,
            "views": self.config.features.views,
            "columns": [column.model_dump() for column in entry.columns],
            "rows": rows,
        }
        from rrl.caveats import of_val  # which stages need not load

        if known := self._known_val(entry):
            layout["remarks"] = [of_val(known)]
        return self._job("table", table, *self.cells(entry), layout=layout)

    def _known_val(self, table: TableEntry) -> list[str]:
        """The methods of a table whose networks were trained on images that the rule heldout picks on."""
        from rrl.caveats import known_val

        if "heldout" not in table.selections:
            return []
        return [
            row.method
            for row in table.rows
            for cell in self.cells(table.model_copy(update={"rows": [row]}))
            if known_val(cell.artifact, behind([cell]))
        ]

    def paper(self, table: TableEntry, row: Row, column: Column) -> dict[str, float] | None:
        """The paper's value of a cell in percent, and how far off it may be."""
        from rrl.config.paper import paper_value

        transfer = self.cell(row, column)
        if table.paper is None or transfer is None:
            return None
        value = paper_value(table.paper, row.method, column.target, transfer)
        return None if value is None or value.excluded else {"top1": value.top1, "error": value.error}

    def cells(self, table: TableEntry) -> list[Planned]:
        """The records of a table, in its order."""
        cells = {
            (column.target, name, transfer): None
            for row in table.rows
            for name in self.shown(table, row.group)
            for column in table.columns
            if (transfer := self.cell(row, column))
        }
        return [self.record(*cell) for cell in cells]

    def figure(self, figure: str) -> Planned:
        entry = self.config.figures[figure]
        if entry.kind == "similarity":
            return self._similarity_figure(figure, entry)
        records: dict[str, Planned] = {}
        rows = []
        for row in entry.rows:
            shown = []
            for series in row.series:
                groups = [self.shown(self.config.tables[row.table], group) for group in series.groups]
                transfers = [transfer_name(series.transfer, self.separate(series, group)) for group in series.groups]
                for panel in row.panels:
                    for names, transfer in zip(groups, transfers, strict=True):
                        for name in names:
                            job = self.record(panel.target, name, transfer)
                            records[job.artifact] = job
                marks: dict[str, Any] = {"label": series.label, "ensemble": series.ensemble, "transfers": transfers}
                marks |= {"groups": groups, "networks": [self.networks_in(names[0]) for names in groups]}
                if entry.kind == "gains":
                    marks |= {"pairs": [[list(pair) for pair in pairs] for pairs in self.gains(groups)]}
                else:
                    marks |= {"paper": [self._paper_points(row.table, panel, series) for panel in row.panels]}
                shown.append(marks)
            rows.append({"title": row.title, "panels": [panel.model_dump() for panel in row.panels], "series": shown})
        drawn = [group for row in entry.rows for series in row.series for group in series.groups]
        overlap = any(self.spread(group) == "windows" for group in drawn)
        layout = {
            "kind": entry.kind,
            "caption": entry.caption,
            "selection": entry.selection,
            "overlap": overlap,
            "rows": rows,
        }
        return self._job("figure", f"figures/{figure}", *records.values(), layout=layout)

    def _paper_points(self, table: str, panel: Panel, series: Series) -> list[float | None]:
        """The paper's value, in percent, of each group of a series."""
        entry = self.config.tables[table]
        place = series.transfer, panel.target, panel.shots
        column = next(one for one in entry.columns if (one.transfer, one.target, one.shots) == place)
        rows = {(row.group, row.ensemble): row for row in entry.rows}
        values = [self.paper(entry, rows[group, self.separate(series, group)], column) for group in series.groups]
        return [None if value is None else value["top1"] for value in values]

    def _similarity_figure(self, figure: str, entry: SimilarityFigure) -> Planned:
        panels = []
        for target in entry.targets:
            groups = [group for group in entry.groups if self.compared(target, group)]
            panels.append(
                {
                    "target": target,
                    "networks": [f"{group.label} {seed}" for group in groups for seed in group.seeds],
                    "groups": [len(group.seeds) for group in groups],
                }
            )
        layout = {"kind": entry.kind, "caption": entry.caption, "panels": panels}
        similarities = [self.similarity(target, figure) for target in entry.targets]
        return self._job("figure", f"figures/{figure}", *similarities, layout=layout)

    def collection(self) -> Planned:
        """All records that some table shows; those of figures are among them."""
        tables = self.config.tables.values()
        records = {job.artifact: job for table in tables for job in self.cells(table)}
        methods = {
            f"{name}/{transfer}": row.method
            for table in tables
            for row in table.rows
            for column in table.columns
            if (transfer := self.cell(row, column))
            for name in self.shown(table, row.group)
        }
        return self._job("collect", "records", *records.values(), methods=methods)
