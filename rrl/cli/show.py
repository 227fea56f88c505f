"""What lies behind an artifact or a cell of a table: seeds, data, settings, code, digests, accuracies."""

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
LONG = ("results", "result", "records", "rule", "points")  # facts that are told elsewhere, or in the card alone


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
    raise UserError(f"{path}: no card beside it; allowed are files that the workflow made, and their cards")


def _unaltered(card: Card) -> Card:
    """Raises UserError if the table or figure beside its card is not the one that was written."""
    file = card.path.with_suffix(SHOWN.get(card.stage, ".json"))
    if file != card.path and file.exists() and sha256_of_file(file) != card.digest:
        raise UserError(f"{card.path}: its file {file} was altered since it was written; delete that, and run again")
    return card


def describe(card: Card) -> dict[str, Any]:
    """Everything behind an artifact, as plain data: what made it, and what made each artifact that it was made from."""
    about = entry_of(card)
    about["results"] = [without_grid(entry) for entry in results_of(card)]
    sources = _sources(card)
    about["remarks"] = remarks(card.artifact, about["results"], sources)
    about["made_from"] = [entry_of(source) for source in sources]
    return about


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
    found: dict[str, Card] = {}
    waiting = [card]
    while waiting:
        for source in waiting.pop(0).inputs:
            if source["artifact"] not in found:
                found[source["artifact"]] = read_card(card.root / f"{source['artifact']}.json")
                waiting.append(found[source["artifact"]])
    return list(found.values())


def cell(table: Card, row: str, column: str, selection: str | None) -> dict[str, Any]:
    """The records behind one cell of a table, with the top-1 of each.

    row : the method as the table shows it, such as CAT4 or CAT4^sub; column : its heading.
    """
    layout = table.settings["layout"]
    rows = {label(entry["method"], entry["ensemble"]): entry for entry in layout["rows"]}
    columns = {column_label(entry): number for number, entry in enumerate(layout["columns"])}
    rule = selection or layout["selections"][0]
    for what, found, names in (
        ("row", row, rows),
        ("column", column, columns),
        ("selection", rule, layout["selections"]),
    ):
        if found not in names:
            raise UserError(f"--{what}: found {found!r}; {one_of(found, names)}")
    transfer = rows[row]["transfers"][columns[column]]
    if transfer is None:
        raise UserError(f"{row}, {column}: an empty cell; nothing is planned for it")
    shown = layout["columns"][columns[column]]
    records = []
    for name in rows[row]["representations"]:
        card = read_card(table.root / f"records/{shown['target']}/{name}/{transfer}.json")
        (result,) = [e for e in results_of(card) if (e["selection"], e["shots"]) == (rule, shown["shots"])]
        records.append({"record": f"{card.artifact}.json", "seeds": card.facts["seeds"], **without_grid(result)})
    about = {"table": table.artifact, "row": row, "column": column, "selection": rule, "records": records}
    return about | {"remarks": layout.get("remarks", []) if rule == "heldout" else []}


def lines(about: dict[str, Any]) -> Iterator[str]:
    """A description for people."""
    yield f"{about['artifact']}, made by rrl.stages.{about['stage']}"
    for name in [name for name in ("facts", "settings") if about[name]]:
        known = {key: value for key, value in about[name].items() if value is not None}
        yield f"  {name}: " + ", ".join(f"{key} {short(value)}" for key, value in known.items())
    yield f"  code version {about['code_version']}, key {about['key']}, digest {about['digest']}"
    for result in about["results"]:
        yield f"  shots {result['shots']}, {result['selection']}: {_accuracy(result)}"
        yield f"    {_pick(result)}"
    yield from (f"  {remark}" for remark in about["remarks"])
    for source in about["made_from"]:
        yield f"from {source['artifact']}, made by rrl.stages.{source['stage']}"
        if source["settings"]:
            yield "  settings: " + ", ".join(f"{key} {short(value)}" for key, value in source["settings"].items())
        yield f"  code version {source['code_version']}, digest {source['digest']}"


def cell_lines(about: dict[str, Any]) -> Iterator[str]:
    place = ", ".join(about[name] for name in ("table", "row", "column"))
    count = len(about["records"])
    yield f"{place}, selection {about['selection']}: {count} record{'s' if count > 1 else ''}"
    for record in about["records"]:
        yield f"  {record['record']}: seeds {short(record['seeds'])}, {_accuracy(record)}"
        yield f"    {_pick(record)}"
    yield from (f"  {remark}" for remark in about["remarks"])


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
