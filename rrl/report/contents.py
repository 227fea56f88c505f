"""What the report of an experiment holds, as plain data: every artifact of the plan, and the tables' cells.

A number comes from a record that was made under the plan of today, or it is not there: of a stale, missing or damaged
artifact the report has the state, the reason, and what is planned.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from rrl.cells import Cell, column_label, label, parameters_text, summarise
from rrl.cli.show import entry_of, remarks, results_of, without_grid
from rrl.cli.status import CURRENT, STALE, Status
from rrl.cli.why import card_path
from rrl.config.schema import Column, Row, Table
from rrl.errors import UserError
from rrl.job import Card, read_card
from rrl.jobs import Planned, behind
from rrl.plan import Plan
from rrl.store.files import canonical_json, read_json

DAMAGED = "damaged"
PRODUCTS = ("table", "figure", "collect")  # stages of what the report shows on its front, not on a page of its own
CURVES = ("top1", "loss")  # of a setting, per epoch
LEFT_OUT = {"digests"}  # of facts: those of single splits; that of the whole artifact is told


class Artifacts:
    """Every artifact of a plan, by the cards on disk as they are when they are first looked at."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.status = Status(plan)
        self.results = plan.config.results
        self._cards: dict[str, Card] = {}

    def state(self, job: Planned) -> str:
        state = self.status.state(job)
        return DAMAGED if state == STALE and self._damaged(job) else state

    def reason(self, job: Planned) -> str:
        return self.status.reason(job)

    def _damaged(self, job: Planned) -> bool:
        try:
            read_card(card_path(self.results, job))
        except UserError:
            return True
        return False

    def card(self, job: Planned) -> Card:
        """The card of a current artifact."""
        if job.artifact not in self._cards:
            self._cards[job.artifact] = read_card(card_path(self.results, job))
        return self._cards[job.artifact]

    def cards(self, jobs: Iterable[Planned]) -> list[Card]:
        return [self.card(job) for job in jobs]

    def all_current(self, jobs: Iterable[Planned]) -> bool:
        return all(self.state(job) == CURRENT for job in jobs)


@dataclasses.dataclass(frozen=True)
class Shown:
    """A cell of a table as the report has it.

    cell : its numbers, None where a record behind it is not current; then `missing` says how many are.
    page : the address of its own page, which lists the records.
    """

    cell: Cell | None
    missing: str
    page: str
    records: list[str]


@dataclasses.dataclass(frozen=True)
class ShownRow:
    """parameters, n : None, and nothing, where no record says it. cells : None where nothing is planned."""

    method: str
    architecture: str
    parameters: int | None
    parameters_text: str
    n: int
    spread: str
    cells: list[Shown | None]


def table_rows(artifacts: Artifacts, name: str, selection: str) -> Iterator[ShownRow]:
    """The rows of a table under one selection rule, from the records themselves."""
    table = artifacts.plan.config.tables[name]
    layout = artifacts.plan.table(name).settings.layout
    for row, planned in zip(table.rows, layout["rows"], strict=True):
        method = label(row.method, row.ensemble)
        cells = [
            _shown(artifacts, name, table, row, planned, number, selection) for number in range(len(table.columns))
        ]
        known = next((shown.cell for shown in cells if shown and shown.cell), None)
        count = len(planned["representations"])
        yield ShownRow(
            method=method,
            architecture=planned["architecture"],
            parameters=known.parameters if known else None,
            parameters_text=parameters_text(known.parameters) if known else "",
            n=count,
            spread=planned["spread"] if count > 1 else planned["spread"].removesuffix("s"),
            cells=cells,
        )


def _shown(
    artifacts: Artifacts, name: str, table: Table, row: Row, planned: dict[str, Any], number: int, selection: str
) -> Shown | None:
    column: Column = table.columns[number]
    records = artifacts.status.cell(table, row, column)
    if not records:
        return None
    place = name, selection, label(row.method, row.ensemble), column_label(column.model_dump())
    page = "/".join(["cells", *(quote(part, safe="") for part in place)])
    names = [record.artifact for record in records]
    if not artifacts.all_current(records):
        states = counts(artifacts, records)
        others = "".join(f", {states[state]} {state}" for state in (STALE, DAMAGED) if states[state])
        return Shown(None, f"{states[CURRENT]}/{len(records)} current{others}", page, names)
    one = {
        "selections": [selection],
        "columns": [column.model_dump()],
        "rows": [planned | {key: [planned[key][number]] for key in ("transfers", "paper")}],
    }
    (cell,) = summarise(one, artifacts.cards(records))
    return Shown(cell, "", page, names)


class Pool:
    """Values that many artifacts share, each held once; a value is named by its place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        text = canonical_json(value)
        if text not in self._places:
            self._places[text] = len(self.values)
            self.values.append(value)
        return self._places[text]


def described(artifacts: Artifacts) -> dict[str, Any]:
    """All artifacts but tables and figures, for the pages of the report; made small, as there are thousands.

    pool : values, named elsewhere by their place. artifacts : name -> what is known of it.
    """
    pool = Pool()
    jobs = [job for job in artifacts.plan.jobs if job.stage not in PRODUCTS]
    places = {job.artifact: number for number, job in enumerate(jobs)}
    described = {job.artifact: _artifact(artifacts, job, pool, places) for job in jobs}
    return {"artifacts": described, "pool": pool.values}


def _artifact(artifacts: Artifacts, job: Planned, pool: Pool, places: dict[str, int]) -> dict[str, Any]:
    """stage, settings, code, facts, libraries, host : places in the pool. inputs : places of artifacts."""
    state = artifacts.state(job)
    shown: dict[str, Any] = {"place": places[job.artifact], "stage": pool.place(job.stage)}
    shown |= {"inputs": [places[source.artifact] for source in job.inputs]}
    if state != CURRENT:
        planned = {"settings": pool.place(job.keyed), "code": pool.place(job.code_version)}
        return shown | {"state": state, "why": artifacts.reason(job)} | planned
    card = artifacts.card(job)
    described = entry_of(card)
    shown |= {"settings": pool.place(described["settings"]), "code": pool.place(described["code_version"])}
    facts = {name: card.facts[name] for name in ("rule",) if name in card.facts} | described["facts"]
    shown |= {"facts": pool.place(_small(facts)), "key": described["key"], "digest": described["digest"]}
    if results := [_result(result, pool) for result in results_of(card)]:
        shown["results"] = results
        shown["remarks"] = remarks(job.artifact, results, behind(job.inputs))
    return shown | _run(card, pool)


def _small(value: Any) -> Any:
    """Facts without what is told elsewhere."""
    if isinstance(value, dict):
        return {name: _small(item) for name, item in value.items() if name not in LEFT_OUT}
    return [_small(item) for item in value] if isinstance(value, list) else value


def _result(result: dict[str, Any], pool: Pool) -> dict[str, Any]:
    """Of one number of shots and selection rule; columns : of the grid, a place in the pool; grid : a row for each
    setting that was tried."""
    shown = without_grid(result)
    shown["top1_interval"] = [round(bound, 6) for bound in shown["top1_interval"]]
    grid = [_tried(row) for row in result["grid"] or []]
    if grid:
        columns = list(dict.fromkeys(name for row in grid for name in row))
        shown |= {"columns": pool.place(columns), "grid": [[row.get(name) for name in columns] for row in grid]}
        picked = [number for number, row in enumerate(result["grid"]) if _is_picked(row, result["selected"])]
        if len(picked) == 1:
            shown["picked"] = picked[0]
            top1 = result["grid"][picked[0]].get("top1")
            shown |= {"top1_curve": top1} if isinstance(top1, list) else {}
    return shown


def _is_picked(row: dict[str, Any], selected: Any) -> bool:
    names = (row.keys() & selected.keys()) - set(CURVES) if isinstance(selected, dict) else set()
    return bool(names) and all(row[name] == selected[name] for name in names)


def _tried(row: dict[str, Any]) -> dict[str, Any]:
    """A setting, and of its curves the best epoch with its values, and the last values."""
    shown = {name: value for name, value in row.items() if name not in CURVES}
    curves = {name: row[name] for name in CURVES if name in row}
    if not isinstance(curves.get("top1"), list):
        return shown | curves
    best = max(range(len(curves["top1"])), key=lambda epoch: (curves["top1"][epoch], -curves["loss"][epoch]))
    shown |= {"best epoch": best + 1}
    shown |= {f"{name} at best epoch": values[best] for name, values in curves.items()}
    return shown | {f"last {name}": values[-1] for name, values in curves.items()}


def _run(card: Card, pool: Pool) -> dict[str, Any]:
    """Times, host and libraries of the job, where it wrote them."""
    path = card.path.with_suffix(".run.json")
    try:
        run = read_json(path)
        where = pool.place({"host": run["host"], "python": run["python"], "libraries": run["libraries"]})
        return {"run": [run["seconds"], run["finished"], where]}
    except (UserError, KeyError, TypeError):
        return {}  # told as not known


def counts(artifacts: Artifacts, jobs: Sequence[Planned]) -> Counter[str]:
    """State -> number of artifacts."""
    return Counter(map(artifacts.state, jobs))
