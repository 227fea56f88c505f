"""The report of an experiment: one HTML file with its figures, its tables, and a page for whatever is behind them.

The file is {results}/report.html. It needs nothing but a browser, and no network. It can be made at any time: what is
stale, missing or damaged is named, and its numbers are left out. The same results give the same bytes.
"""

import base64
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2

from rrl.cells import SELECTION_TEXT, column_label
from rrl.cli.run import command_for
from rrl.cli.show import short
from rrl.cli.status import CURRENT, reasons_text
from rrl.cli.why import by_reason, card_path, roots
from rrl.config.load import load_plan
from rrl.config.settings import Recipe, keyed, narrow
from rrl.errors import UserError
from rrl.jobs import Planned, behind
from rrl.plan import Plan
from rrl.report.contents import PRODUCTS, Artifacts, counts, described, table_rows
from rrl.stages.table import beside, note
from rrl.store.files import read_json, sha256_of_file, write_text

FOLDER = Path(__file__).parents[1] / "report"
# What a figure draws of a point, in the order of the columns: where it stands, then its numbers; name -> heading.
POINTS = {
    "title": "transfer",
    "target": "target",
    "shots": "images per class",
    "series": "series",
    "parameters": "parameters",
    "networks": "networks",
    "from": "networks before",
    "to": "networks after",
    "before": "before",
    "after": "after",
    "top1": "top-1, %",
    "mean": "mean top-1, %",
    "std": "standard deviation",
    "gain": "gain, points",
    "interval": "95 % interval",
    "n_test": "test images",
}


def inline(name: str) -> str:
    """A file of the page, as it is."""
    return (FOLDER / name).read_text(encoding="utf-8")


def as_script(value: Any) -> str:
    """JSON that can stand in an HTML file: nothing in it ends the script or begins a comment."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def picture(path: Path, name: str) -> str:
    """A figure as part of a page; its ids are made the figure's own."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)


def first_comment(text: str) -> str:
    """What a config says of itself: the comment that it begins with."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.lstrip("# ") for line in lines)


def points_table(points: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[tuple[str, Any]]]]:
    """Headings and rows of the numbers that a figure draws; a number, or an interval, with the value that it is sorted
    by, text with None."""
    names = {name for point in points for name in point}
    columns = sorted(names, key=list(POINTS).index)
    return [POINTS[name] for name in columns], [[_shown_value(point.get(name)) for name in columns] for point in points]


def _shown_value(value: Any) -> tuple[str, Any]:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown_value(item)[0]}" for name, item in value.items()), None
    if isinstance(value, list):
        return f"[{', '.join(_shown_value(item)[0] for item in value)}]", value[0]
    if isinstance(value, float):
        return f"{value:.2f}".replace("-", "−"), value
    return f"{value:,}" if isinstance(value, int) else str(value), value if isinstance(value, int) else None


class Front:
    """What the first page shows, in the words of the template."""

    def __init__(self, artifacts: Artifacts):
        self.artifacts = artifacts
        self.plan = artifacts.plan

    def product(self, job: Planned, caption: str) -> dict[str, Any]:
        """Of a table or a figure: its state, and what is behind it."""
        networks = _names(job, "networks/")
        families: dict[str, list[int]] = {}
        for family, seed in (self.plan.networks[name] for name in networks if name in self.plan.networks):
            families.setdefault(family, []).append(seed)
        shown = [
            target
            for target in _names(job, "targets/")
            if any(f"/{target}/" in source.artifact for source in job.inputs)
        ]
        sources: dict[str, list[tuple[str, str]]] = {}
        for source in sorted(job.inputs, key=lambda source: source.artifact):
            kind, name, rest = [*source.artifact.split("/", 2), ""][:3]
            sources.setdefault(f"{kind}/{name}" if rest else kind, []).append((source.artifact, rest or name))
        return {
            "name": Path(job.artifact).name,
            "artifact": job.artifact,
            "caption": caption,
            "state": self.artifacts.state(job),
            "why": self.artifacts.reason(job),
            "code": job.code_version,
            "counts": counts(self.artifacts, job.inputs),
            "total": len(job.inputs),
            "sources": sources,
            "seeds": [(family, sorted(seeds)) for family, seeds in families.items()],
            "data": [(target, self.target(target)) for target in shown],
        }

    def target(self, name: str) -> str:
        """`10 classes; 1,000 images train, 300 val, 3,700 test`."""
        job = self.plan.target(name)
        if self.artifacts.state(job) != CURRENT:
            return self.artifacts.state(job)
        facts = self.artifacts.card(job).facts
        images = ", ".join(f"{facts['counts'][split]:,} {split}" for split in ("train", "val", "test"))
        return f"{facts['classes']} classes; images: {images}"

    def table(self, name: str) -> dict[str, Any]:
        job = self.plan.table(name)
        layout = job.settings.layout
        blocks = [
            (rule, SELECTION_TEXT[rule], list(table_rows(self.artifacts, name, rule))) for rule in layout["selections"]
        ]
        return self.product(job, layout["caption"]) | {
            "note": note(layout, "").strip(),
            "columns": [column_label(column) for column in layout["columns"]],
            "blocks": blocks,
        }

    def figure(self, name: str) -> dict[str, Any]:
        job, figure = self.plan.figure(name), self.plan.config.figures[name]
        rule = getattr(figure, "selection", "")
        product = self.product(job, figure.caption) | {"rule": rule, "rule_text": SELECTION_TEXT.get(rule, "")}
        drawn = self._picture(job, product)
        points = [] if drawn is None else self.artifacts.card(job).facts.get("points", [])
        return product | {"picture": drawn, "points": points_table(points)}

    def _picture(self, job: Planned, product: dict[str, Any]) -> str | None:
        """None where it is not what the records of today give; then `why` says so."""
        path = card_path(self.artifacts.results, job).with_suffix(".svg")
        if product["state"] != CURRENT:
            return None
        if not self.artifacts.all_current(job.inputs):
            product["why"] = "what it was made from is not all current"
        elif sha256_of_file(path) != self.artifacts.card(job).digest:
            product["why"] = f"{path}: altered since it was written"
        else:
            return picture(path, product["name"])
        return None

    def families(self) -> Iterator[dict[str, Any]]:
        for name, family in self.plan.config.networks.items():
            recipe, target = getattr(family, "recipe", None), getattr(family, "target", None)
            yield {
                "name": name,
                "origin": family.origin,
                "networks": [f"{name}-s{seed}" for seed in family.seeds],
                "architecture": self.plan.architecture(f"{name}-s{family.seeds[0]}"),
                "recipe": recipe and self._recipe(recipe),
                "target": target,
            }

    def _recipe(self, name: str) -> str:
        settings = keyed(narrow(Recipe, self.plan.config.recipes[name]))
        return ", ".join(f"{key.replace('_', ' ')} {short(value)}" for key, value in settings.items())

    def made(self) -> dict[str, Any]:
        """When and where records were made, by their run files."""
        runs = []
        for job in self.plan.collection().inputs:
            if self.artifacts.state(job) == CURRENT:
                try:
                    run = read_json(card_path(self.artifacts.results, job).with_suffix(".run.json"))
                    runs.append((run["finished"], run["host"]))
                except (UserError, KeyError, TypeError):
                    continue
        times = sorted(time for time, _ in runs)
        return {"times": times[:1] + times[-1:], "hosts": sorted({host for _, host in runs})}


def _names(job: Planned, folder: str) -> list[str]:
    """Of what lies in a folder, of all that a job needs."""
    return [source.artifact.removeprefix(folder) for source in behind([job]) if source.artifact.startswith(folder)]


def page(config: Path, artifacts: Artifacts) -> str:
    """The whole file."""
    plan = artifacts.plan
    front = Front(artifacts)
    tables = [front.table(name) for name in plan.config.tables]
    records = plan.collection().inputs
    own_reason = roots(plan.config.results, plan.jobs)
    stages = Counter(job.stage for job, _ in own_reason)
    text = config.read_text(encoding="utf-8")
    script = inline("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    contents = described(artifacts) | {
        "results": plan.config.results,
        "run": command_for("run", config),
        "cells": cells(plan, tables),
    }
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["beside"] = beside
    return environment.from_string(inline("report.html")).render(
        results=plan.config.results,
        comment=first_comment(text),
        config=str(config),
        config_text=text,
        tables=tables,
        figures=[front.figure(name) for name in plan.config.figures],
        collection=front.product(plan.collection(), ""),
        records=counts(artifacts, records),
        reasons=reasons_text(stages),
        problems=by_reason(own_reason),
        families=list(front.families()),
        targets=[(name, one.dataset, one.shots, front.target(name)) for name, one in plan.config.targets.items()],
        made=front.made(),
        script=script,
        style=inline("report.css"),
        script_digest=digest,
        contents=as_script(contents),
    )


def cells(plan: Plan, tables: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Address of each cell's page -> what it shows; its records, and the number of shots of the result."""
    pages: dict[str, Any] = {}
    for table in tables:
        columns = plan.config.tables[table["name"]].columns
        for rule, _, rows in table["blocks"]:
            for row in rows:
                for column, heading, shown in zip(columns, table["columns"], row.cells, strict=True):
                    if shown is None:
                        continue
                    cell: dict[str, Any] = {"place": [table["name"], rule, row.method, heading]}
                    cell |= {"shots": column.shots, "records": shown.records, "spread": f"{row.n} {row.spread}"}
                    if shown.cell:
                        paper = {"paper": shown.cell.paper, "difference": shown.cell.difference}
                        cell |= {"mean": shown.cell.mean, "std": shown.cell.std, "interval": shown.cell.interval}
                        cell |= paper if shown.cell.paper else {}
                    else:
                        cell |= {"missing": shown.missing}
                    pages[shown.page] = cell
    return pages


def write(config: Path) -> dict[str, Any]:
    """Write the report. Returns what `rrl report --json` prints: its path, and how many artifacts are in each state."""
    artifacts = Artifacts(load_plan(config))
    path = Path(artifacts.results, "report.html")
    write_text(path, page(config, artifacts))
    states = counts(artifacts, [job for job in artifacts.plan.jobs if job.stage not in PRODUCTS])
    return {"report": str(path), "artifacts": dict(sorted(states.items()))}


def lines(content: dict[str, Any]) -> Iterator[str]:
    states = ", ".join(f"{count:,} {state}" for state, count in content["artifacts"].items())
    yield f"{content['report']}: {states} artifacts"
