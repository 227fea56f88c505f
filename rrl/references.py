"""Names in a config that must be declared elsewhere in it."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from rrl.architecture_names import parse_architecture
from rrl.errors import UserError


def allowed(found: str, names: Sequence[str]) -> str:
    """The allowed names, the one nearest to what was found first."""
    near = difflib.get_close_matches(found, names, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"allowed: {', '.join(names) or 'none is declared'}"


def dangling(content: Any) -> list[str]:
    """A line for each name that refers to nothing. Parts of the wrong shape are passed over: the schema names them."""
    sections = ("targets", "recipes", "networks", "representations", "probes", "tables")
    return list(_dangling({name: _entries(content.get(name)) for name in sections}, content))


def _dangling(config: dict[str, dict[str, Any]], content: Any) -> Iterator[str]:
    for name, target in config["targets"].items():
        yield from _unknown(f"targets.{name}.probe", target.get("probe"), config["probes"])
    for name, family in config["networks"].items():
        if isinstance(family.get("arch"), str) and (mistake := _not_an_architecture(family["arch"])):
            yield f"networks.{name}.arch: {mistake}"
        yield from _unknown(f"networks.{name}.target", family.get("target"), config["targets"])
        if family.get("origin") == "pretrain":
            yield from _unknown(f"networks.{name}.recipe", family.get("recipe"), config["recipes"])
    groups: dict[str, int] = dict.fromkeys(config["networks"], 1)
    for name, entry in config["representations"].items():
        if "columns" in entry:
            yield from _unknown(f"representations.{name}", name, config["networks"])
            groups[name] = len(_list(entry["columns"]))
            arch = config["networks"].get(name, {}).get("arch")
            for number, columns in enumerate(_list(entry["columns"])):
                if mistake := _not_columns(columns, arch):
                    yield f"representations.{name}.columns[{number}]: {mistake}"
            continue
        yield from _unknown(f"representations.{name}.of", entry.get("of"), config["networks"])
        seeds = _list(config["networks"].get(str(entry.get("of")), {}).get("seeds"))
        for size in _list(entry.get("sizes")):
            if isinstance(size, int) and seeds and size > len(seeds):
                yield (
                    f"representations.{name}.sizes: found {size}; {entry['of']} has {len(seeds)} seeds, "
                    f"allowed are at most so many members"
                )
            if f"{name}{size}" in groups:
                yield f"representations.{name}.sizes: found {size}; the group {name}{size} is declared already"
            groups[f"{name}{size}"] = size if isinstance(size, int) else 0
    views = content.get("features", {}).get("views") if isinstance(content.get("features"), dict) else None
    for name, target in config["targets"].items():
        transform = target.get("transform")
        plain = isinstance(transform, dict) and transform.get("pad") == 0 and transform.get("flip") is False
        if plain and isinstance(views, int) and views > 1:
            yield (
                f"features.views: found {views}; targets.{name}.transform does not augment, "
                "allowed is 1, or a transform with pad above 0 or flip true"
            )
    for name, table in config["tables"].items():
        if name == "records":
            yield "tables.records: found name 'records'; records.csv is written for every experiment, take another name"
        yield from _of_table(f"tables.{name}", table, config["targets"], groups)


def _of_table(place: str, table: Any, targets: dict[str, Any], groups: dict[str, int]) -> Iterator[str]:
    for number, column in enumerate(_list(table.get("columns"))):
        at = f"{place}.columns[{number}]"
        name = column.get("target") if isinstance(column, dict) else None
        yield from _unknown(f"{at}.target", name, targets)
        shots = _list(targets.get(str(name), {}).get("shots"))
        if shots and isinstance(column, dict) and "shots" in column and column["shots"] not in shots:
            yield f"{at}.shots: found {column['shots']!r}; allowed are those of targets.{name}.shots: {shots}"
    for number, row in enumerate(_list(table.get("rows"))):
        at = f"{place}.rows[{number}]"
        name = row.get("group") if isinstance(row, dict) else None
        yield from _unknown(f"{at}.group", name, groups)
        if isinstance(row, dict) and row.get("transfer") == "ensemble" and groups.get(str(name)) == 1:
            yield f"{at}.transfer: found ensemble; {name} has one member, allowed are groups of two or more"


def _not_an_architecture(name: str) -> str:
    try:
        parse_architecture(name)
    except UserError as error:
        return str(error)
    return ""


def _not_columns(columns: Any, arch: Any) -> str:
    if not (isinstance(arch, str) and not _not_an_architecture(arch)):
        return ""
    depth = parse_architecture(arch).feature_dim
    match columns:
        case [int(start), int(stop)] if not 0 <= start < stop <= depth:
            return f"found {columns}; {arch} has {depth} features, allowed is 0 <= start < stop <= {depth}"
    return ""


def _unknown(place: str, name: Any, declared: dict[str, Any]) -> Iterator[str]:
    if isinstance(name, str) and name not in declared:
        yield f"{place}: found {name!r}; {allowed(name, list(declared))}"


def _entries(section: Any) -> dict[str, Any]:
    entries = section.items() if isinstance(section, dict) else ()
    return {str(name): entry for name, entry in entries if isinstance(entry, dict)}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
