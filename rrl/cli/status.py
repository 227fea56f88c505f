"""How far an experiment is, from the cards on disk: per table, which records are current, stale or missing.

A record is current if it was made under the plan of today, stale if under another one, else missing. Which jobs are to
run is Snakemake's to say; here are those that have a reason of their own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rrl.cells import column_label, label
from rrl.cli.run import command_for
from rrl.cli.text import counted, markdown
from rrl.cli.why import NOT_MADE, reason, roots
from rrl.config.load import load_plan
from rrl.config.schema import Column, Row, Table
from rrl.jobs import Planned
from rrl.plan import Plan

CURRENT, STALE, MISSING = STATES = "current", "stale", "missing"


class Status:
    """States of the artifacts of a plan, by their cards as they are when they are first read."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._reasons: dict[str, str] = {}

    def reason(self, job: Planned) -> str:
        """Why a job would run; empty if its card is the planned one."""
        if job.artifact not in self._reasons:
            self._reasons[job.artifact] = reason(self.plan.config.results, job)
        return self._reasons[job.artifact]

    def state(self, job: Planned) -> str:
        why = self.reason(job)
        return MISSING if why == NOT_MADE else STALE if why else CURRENT

    def counts(self, jobs: Sequence[Planned]) -> dict[str, int]:
        """Number of artifacts in each state."""
        counts = Counter(map(self.state, jobs))
        return {state: counts[state] for state in STATES}

    def cell(self, table: Table, row: Row, column: Column) -> list[Planned]:
        """The records of a cell; none where there is no such cell."""
        transfer = self.plan.cell(row, column)
        names = self.plan.shown(table, row.group) if transfer else []
        return [self.plan.record(column.target, name, str(transfer)) for name in names]

    def unfinished(self, table: Table) -> Iterator[dict[str, Any]]:
        """Each method with a record that is not current, and the states of the records of each of its cells."""
        for row in table.rows:
            cells = {column_label(column.model_dump()): self.cell(table, row, column) for column in table.columns}
            states = {column: self.counts(records) for column, records in cells.items() if records}
            if any(counts[STALE] or counts[MISSING] for counts in states.values()):
                yield {"method": label(row.method, row.ensemble), "cells": states}


def status(config: Path) -> dict[str, Any]:
    """What `rrl status --json` prints."""
    plan = load_plan(config)
    states = Status(plan)
    tables = {
        name: {
            "state": states.state(plan.table(name)),
            "records": states.counts(plan.cells(table)),
            "unfinished": list(states.unfinished(table)),
        }
        for name, table in plan.config.tables.items()
    }
    return {
        "config": str(config),
        "results": plan.config.results,
        "tables": tables,
        "figures": {name: states.state(plan.figure(name)) for name in plan.config.figures},
        "artifacts": len(plan.jobs),
        "own_reason": dict(Counter(job.stage for job, _ in roots(plan.config.results, plan.jobs))),
    }


def reasons_text(stages: dict[str, int]) -> str:
    """`3 artifacts have a reason of their own to be made (1 probe, 2 table); what depends on them follows.`"""
    if not stages:
        return "Every artifact is as planned."
    listed = ", ".join(f"{count:,} {stage}" for stage, count in stages.items())
    count = sum(stages.values())
    its = "has a reason of its own" if count == 1 else "have a reason of their own"
    return f"{counted(count, 'artifact')} {its} to be made ({listed}); what depends on it follows."


def cell_text(counts: dict[str, int] | None) -> str:
    """`3/10 (2 stale)`: current records out of all; a dash for an empty cell."""
    if counts is None:
        return "–"
    stale = f" ({counts[STALE]} stale)" if counts[STALE] else ""
    return f"{counts[CURRENT]}/{sum(counts.values())}{stale}"


def lines(content: dict[str, Any]) -> Iterator[str]:
    for name, table in content["tables"].items():
        records = table["records"]
        states = ", ".join(f"{records[state]:,} {state}" for state in STATES)
        yield f"{name}: {table['state']}. Of {counted(sum(records.values()), 'record')}: {states}."
        columns = list(dict.fromkeys(column for row in table["unfinished"] for column in row["cells"]))
        rows = [
            [row["method"], *(cell_text(row["cells"].get(column)) for column in columns)] for row in table["unfinished"]
        ]
        if rows and max(records.values()) < sum(records.values()):  # else all records are alike
            yield from markdown(["current records", *columns], rows)
        yield ""
    if content["figures"]:
        counts = Counter(content["figures"].values())
        yield f"Figures: {', '.join(f'{counts[state]} {state}' for state in STATES if counts[state])}."
    yield reasons_text(content["own_reason"])
    if content["own_reason"]:
        config = Path(content["config"])
        yield f"Reasons: {command_for('why', config)}; all jobs: {command_for('run', config)} --dry-run"
