"""How far an experiment is: per table, which records exist, what is missing, and what is still to run.

    python -m rrl.cli.progress config.yaml

A record is current if it was made under the plan of today, stale if under another one, else missing; `python -m
rrl.cli.why` says what differs. Jobs to run are those that Snakemake would run.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rrl.cells import column_label, label
from rrl.cli.costs import markdown
from rrl.cli.estimate import ALL, distinct, identity
from rrl.cli.why import NOT_MADE, reason
from rrl.config.load import load_plan
from rrl.config.schema import Column, Row, Table
from rrl.job import run
from rrl.jobs import Planned, behind
from rrl.plan import Plan
from rrl.store.members import SPLITS

CURRENT, STALE, MISSING = "current", "stale", "missing"
SPLIT_FILES = tuple(f"/{split}.h5" for split in SPLITS)
# Files beside a card, without which the job runs again where they are needed: by stage, else by folder.
FILES = {
    "table": (".csv", ".md", ".tex"),
    "figure": (".svg", ".png"),
    "features": SPLIT_FILES,
    "representations": SPLIT_FILES,
    "networks": (".safetensors",),
    "finetuned": (".h5",),
    "targets": (".csv",),
}


class Progress:
    """Of one plan, by the cards on disk as they are when they are first looked at."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.results = plan.config.results
        self._reasons: dict[str, str] = {}

    def reason(self, job: Planned) -> str:
        """Why a job would run; empty if its card is the planned one and its files are there too."""
        if job.artifact not in self._reasons:
            suffixes = FILES.get(job.stage) or FILES.get(job.artifact.partition("/")[0], ())
            whole = all(Path(self.results, job.artifact + suffix).exists() for suffix in suffixes)
            self._reasons[job.artifact] = reason(self.results, job) if whole else NOT_MADE
        return self._reasons[job.artifact]

    def state(self, job: Planned) -> str:
        why = self.reason(job)
        return MISSING if why == NOT_MADE else STALE if why else CURRENT

    def cell(self, table: Table, row: Row, column: Column) -> list[Planned]:
        """The records of a cell; none where there is no such cell."""
        transfer = self.plan.cell(row, column)
        names = self.plan.shown(table, row.group) if transfer else []
        return [self.plan.record(column.target, name, str(transfer)) for name in names]

    def to_run(self, jobs: Sequence[Planned], wanted: Sequence[Planned]) -> list[Planned]:
        """Jobs that would run to have the `wanted` ones, each once.

        jobs : those and all behind them, each behind its inputs.
        A job runs if it has a reason and something that runs, or is wanted, needs it; and if one of its inputs is made
        again. So features that were deleted are made again only where something is to be made of them.
        """
        running: set[str] = set()
        before = -1
        while len(running) > before:
            before = len(running)
            needed = {job.artifact for job in wanted}
            for job in reversed(jobs):
                if job.artifact in needed and self.reason(job):
                    running.add(job.artifact)
                if job.artifact in running:
                    needed.update(source.artifact for source in read_by(job))
            made = {identity(job) for job in jobs if job.artifact in running}
            for job in jobs:
                if identity(job) in made or any(source.artifact in running for source in job.inputs):
                    running.add(job.artifact)
        return distinct(job for job in jobs if job.artifact in running)


def read_by(job: Planned) -> list[Planned]:
    """What a job reads: its inputs, and the features that representations among them are only references to."""
    joined = [source for source in job.inputs if source.stage == "represent"]
    return [*job.inputs, *(features for source in joined for features in source.inputs)]


def counts_text(counts: Counter[str], total: int) -> str:
    """`3/10`, `3/10, 2 stale`."""
    stale = f", {counts[STALE]} stale" if counts[STALE] else ""
    return f"{counts[CURRENT]}/{total}{stale}"


def cell_text(progress: Progress, records: Sequence[Planned]) -> str:
    """Of one cell: how many of its records are current."""
    return counts_text(Counter(map(progress.state, records)), len(records)) if records else "–"


def unfinished(progress: Progress, table: Table) -> Iterator[str]:
    """A row for each method with a record that is not current; nothing where all records of the table are alike."""
    if len({progress.state(record) for record in progress.plan.cells(table)}) == 1:
        return
    rows = []
    for row in table.rows:
        cells = [progress.cell(table, row, column) for column in table.columns]
        if any(progress.state(record) != CURRENT for records in cells for record in records):
            rows.append([label(row.method, row.ensemble), *(cell_text(progress, records) for records in cells)])
    yield from markdown(["current records", *(column_label(column.model_dump()) for column in table.columns)], rows)


def to_run_text(jobs: Sequence[Planned]) -> str:
    """`Jobs to run: 3 (1 probe, 2 table).`"""
    stages = Counter(job.stage for job in jobs)
    named = ", ".join(f"{count:,} {stage}" for stage, count in stages.items())
    return f"Jobs to run: {len(jobs):,} ({named})." if jobs else "Jobs to run: none."


def table_lines(progress: Progress, name: str) -> Iterator[str]:
    """Of one table: its state, its records, the rows that are not finished, and the jobs to run."""
    table, job = progress.plan.config.tables[name], progress.plan.table(name)
    records = progress.plan.cells(table)
    states = Counter(map(progress.state, records))
    yield (
        f"{name}: {progress.state(job)}. Of {len(records):,} records {states[CURRENT]:,} are current, "
        f"{states[STALE]:,} stale, {states[MISSING]:,} missing."
    )
    yield from unfinished(progress, table)
    yield to_run_text(progress.to_run(behind([job]), [job, *records]))


def report(plan: Plan) -> Iterator[str]:
    """Lines for people; rows that are finished are left out."""
    progress = Progress(plan)
    for name in plan.config.tables:
        yield from table_lines(progress, name)
        yield ""
    shown = [*plan.collection().inputs, *plan.similarities]
    ends = [*map(plan.table, plan.config.tables), *map(plan.figure, plan.config.figures), plan.collection(), *shown]
    yield f"{ALL.capitalize()}, each job once. {to_run_text(progress.to_run(plan.jobs, ends))}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m rrl.cli.progress", description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"), help="default: config.yaml")
    for line in report(load_plan(parser.parse_args(argv).config)):
        print(line)


if __name__ == "__main__":
    run(main)
