"""What an artifact or a cell of a table was made from: seeds, data, settings, code, digests, accuracies."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rrl.caveats import Made, known_val, of_pick, of_val
from rrl.cells import column_label, label
from rrl.config.nearest import one_of
from rrl.errors import UserError
from rrl.job import Card, read_card
from rrl.statistics import interval
from rrl.store.files import sha256_of_file

SHOWN = {"table": ".csv", "collect": ".csv", "figure": ".svg"}  # the file that has the digest of the card
LONG = ("results", "result", "records", "rule", "points")  # facts that are shown elsewhere, or in the card alone


def card_of(path: Path) -> Card:
    """The card of a file that the workflow made. Raises UserError if there is none."""
    if not path.exists():
        raise UserError(f"{path}: missing; name a file below a results folder")
    parts = list(path.parts)
    if "logits" in parts:
        parts[len(parts) - 1 - parts[::-1].index("logits")] = "records"
    file = Path(*parts)
    folder_card = file.parent.parent / f"{file.parent.name}.json"
    for candidate in (file, file.with_suffix(".json"), folder_card):
        if candidate.suffix == ".json" and not candidate.name.endswith(".run.json") and candidate.exists():
            return _unaltered(read_card(candidate))
    if path.is_dir():
        raise UserError(f"{path}: a folder; name a file in it")
    raise UserError(f"{path}: no card beside it; name a file that the workflow made, or its card")


def _unaltered(card: Card) -> Card:
    """Raises UserError if the table or figure beside its card is not the one that was written."""
    file = card.path.with_suffix(SHOWN.get(card.stage, ".json"))
    if file != card.path and file.exists() and sha256_of_file(file) != card.digest:
        raise UserError(f"{card.path}: its file {file} was altered since it was written; delete that, and run again")
    return card


def describe(card: Card) -> dict[str, Any]:
    """An artifact as plain data: what made it, and what made each artifact that it was made from."""
    entry = entry_of(card)
    entry["results"] = [without_grid(result) for result in results_of(card)]
    sources = _sources(card)
    entry["remarks"] = remarks(card.artifact, entry["results"], sources)
    entry["made_from"] = [entry_of(source) for source in sources]
    return entry


def remarks(artifact: str, results: Iterable[dict[str, Any]], sources: Iterable[Made]) -> list[str]:
    """What is to be known of a record beside its numbers. sources : all that it is made from."""
    if not artifact.startswith("records/") or all(result["selection"] != "heldout" for result in results):
        return []
    known = known_val(artifact, sources)
    return [of_val(known)] if known else []


def entry_of(card: Card) -> dict[str, Any]:
    facts = {name: value for name, value in card.facts.items() if name not in LONG}
    return {
        "artifact": card.artifact,
        "stage": card.stage,
        "settings": card.settings,
        "facts": facts,
        "code_version": card.code_version,
        "key": card.key,
        "digest": card.digest,
    }


def results_of(card: Card) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = card.facts.get("results", [])
    return results or ([card.facts["result"]] if "result" in card.facts else [])


def without_grid(entry: dict[str, Any]) -> dict[str, Any]:
    """Of one number of shots and selection rule, without its grid; what it was picked from in words."""
    return {name: value for name, value in entry.items() if name != "grid"} | {
        "top1_interval": interval(entry["top1"], entry["n_test"]),
        "picked_from": of_pick(entry),
    }


def _sources(card: Card) -> list[Card]:
    """All artifacts that a card's was made from, nearest first, each once."""
    sources: dict[str, Card] = {}
    waiting = [card]
    while waiting:
        for source in waiting.pop(0).inputs:
            if source["artifact"] not in sources:
                sources[source["artifact"]] = read_card(card.root / f"{source['artifact']}.json")
                waiting.append(sources[source["artifact"]])
    return list(sources.values())


def cell(table: Card, row: str, column: str, selection: str | None) -> dict[str, Any]:
    """The records of one cell of a table, with the top-1 of each.

    row : the method as the table shows it, such as CAT4 or CAT4^sub; column : its heading.
    """
    if table.stage != "table":
        raise UserError(f"{table.path}: not a table; --row and --column name a cell of one")
    layout = table.settings["layout"]
    rows = {label(entry["method"], entry["ensemble"]): entry for entry in layout["rows"]}
    columns = {column_label(entry): number for number, entry in enumerate(layout["columns"])}
    rule = selection or layout["selections"][0]
    for what, given, names in (
        ("row", row, rows),
        ("column", column, columns),
        ("selection", rule, layout["selections"]),
    ):
        if given not in names:
            raise UserError(f"--{what}: found {given!r}; {one_of(given, names)}")
    transfer = rows[row]["transfers"][columns[column]]
    if transfer is None:
        raise UserError(f"{row}, {column}: an empty cell; nothing is planned for it")
    shown = layout["columns"][columns[column]]
    records = []
    for name in rows[row]["representations"]:
        card = read_card(table.root / f"records/{shown['target']}/{name}/{transfer}.json")
        (result,) = [e for e in results_of(card) if (e["selection"], e["shots"]) == (rule, shown["shots"])]
        records.append({"record": f"{card.artifact}.json", "seeds": card.facts["seeds"], **without_grid(result)})
    place = {"table": table.artifact, "row": row, "column": column, "selection": rule, "records": records}
    return place | {"remarks": layout.get("remarks", []) if rule == "heldout" else []}


def lines(entry: dict[str, Any]) -> Iterator[str]:
    """A description for people."""
    yield f"{entry['artifact']}, made by rrl.stages.{entry['stage']}"
    for name in [name for name in ("facts", "settings") if entry[name]]:
        known = {key: value for key, value in entry[name].items() if value is not None}
        yield f"  {name}: " + ", ".join(f"{key} {short(value)}" for key, value in known.items())
    yield f"  code version {entry['code_version']}, key {entry['key']}, digest {entry['digest']}"
    for result in entry["results"]:
        yield f"  shots {result['shots']}, {result['selection']}: {_accuracy(result)}"
        yield f"    {_pick(result)}"
    yield from (f"  {remark}" for remark in entry["remarks"])
    for source in entry["made_from"]:
        yield f"from {source['artifact']}, made by rrl.stages.{source['stage']}"
        if source["settings"]:
            yield "  settings: " + ", ".join(f"{key} {short(value)}" for key, value in source["settings"].items())
        yield f"  code version {source['code_version']}, digest {source['digest']}"


def cell_lines(entry: dict[str, Any]) -> Iterator[str]:
    place = ", ".join(entry[name] for name in ("table", "row", "column"))
    count = len(entry["records"])
    yield f"{place}, selection {entry['selection']}: {count} record{'s' if count > 1 else ''}"
    for record in entry["records"]:
        yield f"  {record['record']}: seeds {short(record['seeds'])}, {_accuracy(record)}"
        yield f"    {_pick(record)}"
    yield from (f"  {remark}" for remark in entry["remarks"])


def table_lines(table: Card) -> Iterator[str]:
    layout = table.settings["layout"]
    yield f"{table.artifact}: {layout['caption']} Name a cell with --row and --column."
    yield "  rows: " + ", ".join(label(row["method"], row["ensemble"]) for row in layout["rows"])
    yield "  columns: " + ", ".join(repr(column_label(column)) for column in layout["columns"])
    yield "  selections: " + ", ".join(layout["selections"])


def _accuracy(result: dict[str, Any]) -> str:
    low, high = result["top1_interval"]
    interval_text = f"95 % interval {100 * low:.1f} to {100 * high:.1f} from {result['n_test']} test images"
    return f"top-1 {100 * result['top1']:.2f} %, {interval_text}; trained on {result['n_train']}"


def _pick(result: dict[str, Any]) -> str:
    val = "" if result["val_top1"] is None else f"; val top-1 {100 * result['val_top1']:.2f} %"
    return f"picked on {result['selected_on']}: {short(result['selected'])}{val}; {result['picked_from']}"


def short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(short(item) for item in value) + "]"
    return str(value)
