"""From a config to jobs: what each artifact is made by, from what, with which settings and key.

Nothing here reads a result; the workflow's rules and the keys that stages check come from this alone.
"""

from functools import cached_property
from typing import Any

from rrl.caveats import known_val, of_val
from rrl.config.paper import paper_value
from rrl.config.schema import (
    Column,
    Panel,
    Row,
    Series,
    SimilarityFigure,
    Table,
)
from rrl.config.transfers import transfer_name
from rrl.jobs import Jobs, Planned, behind


class Plan(Jobs):
    @cached_property
    def jobs(self) -> list[Planned]:
        """All jobs of the experiment, each behind its inputs."""
        tables = [self.table(table) for table in self.config.tables]
        figures = [self.figure(figure) for figure in self.config.figures]
        return behind([*tables, *figures, self.collection()])

    def table(self, table: str) -> Planned:
        of = self.config.tables[table]
        rows = [
            {
                "method": row.method,
                "ensemble": row.ensemble,
                "representations": self.shown(of, row.group),
                "transfers": [self.cell(row, column) for column in of.columns],
                "paper": [self.paper(of, row, column) for column in of.columns],
                "architecture": self.architecture(self.groups[row.group][0]),
                "spread": self.spread(row.group),
            }
            for row in of.rows
        ]
        layout = {
            "caption": of.caption,
            "selections": of.selections,
            "grid": self.config.grid,
            "views": self.config.features.views,
            "columns": [column.model_dump() for column in of.columns],
            "rows": rows,
        }
        if known := self._known_val(of):
            layout["remarks"] = [of_val(known)]
        return self._job("table", table, *self.cells(of), layout=layout)

    def _known_val(self, table: Table) -> list[str]:
        """The methods of a table whose networks were trained on images that the rule heldout picks on."""
        if "heldout" not in table.selections:
            return []
        return [
            row.method
            for row in table.rows
            for cell in self.cells(table.model_copy(update={"rows": [row]}))
            if known_val(cell.artifact, behind([cell]))
        ]

    def paper(self, table: Table, row: Row, column: Column) -> dict[str, float] | None:
        """The paper's value of a cell in percent, and how far off it may be."""
        transfer = self.cell(row, column)
        if table.paper is None or transfer is None:
            return None
        value = paper_value(table.paper, row.method, column.target, transfer)
        return None if value is None or value.excluded else {"top1": value.top1, "error": value.error}

    def cells(self, table: Table) -> list[Planned]:
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
        of = self.config.figures[figure]
        if isinstance(of, SimilarityFigure):
            return self._similarity_figure(figure, of)
        records: dict[str, Planned] = {}
        rows = []
        for row in of.rows:
            shown = []
            for series in row.series:
                groups = [self.shown(self.config.tables[row.table], group) for group in series.groups]
                transfers = [transfer_name(series.transfer, self.separate(series, group)) for group in series.groups]
                for panel in row.panels:
                    for names, transfer in zip(groups, transfers, strict=True):
                        for name in names:
                            job = self.record(panel.target, name, transfer)
                            records[job.artifact] = job
                about: dict[str, Any] = {"label": series.label, "ensemble": series.ensemble, "transfers": transfers}
                about |= {"groups": groups, "networks": [self.networks_in(names[0]) for names in groups]}
                if of.kind == "gains":
                    about |= {"pairs": [[list(pair) for pair in pairs] for pairs in self.gains(groups)]}
                else:
                    about |= {"paper": [self._paper_points(row.table, panel, series) for panel in row.panels]}
                shown.append(about)
            rows.append({"title": row.title, "panels": [panel.model_dump() for panel in row.panels], "series": shown})
        drawn = [group for row in of.rows for series in row.series for group in series.groups]
        overlap = any(self.spread(group) == "windows" for group in drawn)
        layout = {"kind": of.kind, "caption": of.caption, "selection": of.selection, "overlap": overlap, "rows": rows}
        return self._job("figure", f"figures/{figure}", *records.values(), layout=layout)

    def _paper_points(self, table: str, panel: Panel, series: Series) -> list[float | None]:
        """The paper's value, in percent, of each group of a series."""
        of = self.config.tables[table]
        column = Column(transfer=series.transfer, target=panel.target, shots=panel.shots)
        rows = {(row.group, row.ensemble): row for row in of.rows}
        values = [self.paper(of, rows[group, self.separate(series, group)], column) for group in series.groups]
        return [None if value is None else value["top1"] for value in values]

    @cached_property
    def similarities(self) -> list[Planned]:
        """Of all figures."""
        return [job for job in self.jobs if job.stage == "similarity"]

    def _similarity_figure(self, figure: str, of: SimilarityFigure) -> Planned:
        panels = []
        for target in of.targets:
            groups = [group for group in of.groups if self.compared(target, group)]
            panels.append(
                {
                    "target": target,
                    "networks": [f"{group.label} {seed}" for group in groups for seed in group.seeds],
                    "groups": [len(group.seeds) for group in groups],
                }
            )
        layout = {"kind": of.kind, "caption": of.caption, "panels": panels}
        similarities = [self.similarity(target, figure) for target in of.targets]
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
