"""Names in a config that must be declared elsewhere in it."""

import difflib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rrl.config.runs import setting_name
from rrl.config.transfers import OF_NETWORKS, SEPARATE, transfer_name
from rrl.errors import UserError
from rrl.networks.architectures import parse_architecture
from rrl.networks.checkpoints import checkpoints

LIBRARIES = ("timm/", "torchvision/")
OTHERS = "others"  # of a target's probes by family: all that are not named


def allowed(found: str, names: Sequence[str]) -> str:
    """The allowed names, the one nearest to what was found first."""
    near = nearest(found, names)
    return (f"did you mean {near}? " if near else "") + f"allowed: {', '.join(names) or 'none is declared'}"


def nearest(found: str, names: Sequence[str]) -> str:
    """The name that is likely meant; or none."""
    return next(iter(difflib.get_close_matches(found[:100], names, n=1)), "")


def dangling(content: Any) -> list[str]:
    """A line for each name that refers to nothing.

    content : of the right shape, with nothing in place of what was not: the schema names that.
    """
    sections = (
        "targets", "recipes", "networks", "representations", "probes", "finetunings", "tables", "figures", "claims"
    )  # fmt: skip
    return list(_dangling({name: _entries(content.get(name)) for name in sections}, content))


def _dangling(config: dict[str, dict[str, Any]], content: Any) -> Iterator[str]:
    for name, target in config["targets"].items():
        yield from _of_probe(f"targets.{name}.probe", target.get("probe"), config)
        yield from of_transform(f"targets.{name}.transform", target.get("transform"))
        available = target.get("train_per_class")
        for number, shots in enumerate(_list(target.get("shots"))):
            if isinstance(shots, int) and isinstance(available, int) and shots > available:
                place = f"targets.{name}.shots[{number}]"
                yield f"{place}: found {shots}; allowed are at most its {available} images per class (train_per_class)"
    for name, family in config["networks"].items():
        for number, model in enumerate(_list(family.get("models"))):
            if isinstance(model, str) and (not model.startswith(LIBRARIES) or _not_an_architecture(model)):
                place = f"networks.{name}.models[{number}]"
                yield f"{place}: found {model!r}; allowed are timm/<name> and torchvision/<name>"
        if isinstance(family.get("arch"), str) and (mistake := _not_an_architecture(family["arch"])):
            yield f"networks.{name}.arch: {mistake}"
        yield from _unknown(f"networks.{name}.target", family.get("target"), config["targets"])
        if config["targets"].get(str(family.get("target")), {}).get("transform") == "network":
            yield f"networks.{name}.target: found {family['target']}, whose transform is `network`; {NEEDS_TRANSFORM}"
        yield from of_transform(f"networks.{name}.transform", family.get("transform"))
        if family.get("origin") == "download":
            yield from _of_checkpoint(f"networks.{name}", family)
        if family.get("origin") in ("pretrain", "distill"):
            yield from _unknown(f"networks.{name}.recipe", family.get("recipe"), config["recipes"])
        yield from _of_teachers(name, family, config["networks"])
    groups: dict[str, int] = dict.fromkeys(config["networks"], 1)
    networks = [f"{name}-s{seed}" for name, family in config["networks"].items() for seed in _seeds(family)]
    taken = {*groups, *networks}  # names of groups and of representations
    columns_of_one: set[str] = set()
    searched: set[str] = set()
    for name, entry in config["representations"].items():
        if "columns" in entry:
            yield from _unknown(f"representations.{name}", name, config["networks"])
            groups[name] = len(_list(entry["columns"]))
            columns_of_one.add(name)
            arch = config["networks"].get(name, {}).get("arch")
            for number, columns in enumerate(_list(entry["columns"])):
                if mistake := _not_columns(columns, arch):
                    yield f"representations.{name}.columns[{number}]: {mistake}"
            continue
        if "members" in entry or "best_subset_of" in entry:
            key = "members" if "members" in entry else "best_subset_of"
            for number, member in enumerate(_list(entry[key])):
                yield from _unknown(f"representations.{name}.{key}[{number}]", member, dict.fromkeys(networks))
            if name in taken:
                yield f"representations.{name}: found name {name!r}, which others have already; take another name"
            taken.add(name)
            groups[name] = len(_list(entry[key]))
            searched |= {name} if key == "best_subset_of" else set()
            continue
        yield from _unknown(f"representations.{name}.of", entry.get("of"), config["networks"])
        seeds = _seeds(config["networks"].get(str(entry.get("of")), {}))
        for size in _list(entry.get("sizes")):
            if isinstance(size, int) and seeds and size > len(seeds):
                yield (
                    f"representations.{name}.sizes: found {size}; {entry['of']} has {len(seeds)} seeds, "
                    f"allowed are at most so many members"
                )
            made = [f"{name}{size}", *(f"{name}{size}-k{k}" for k in range(1, _windows(entry, size, len(seeds))))]
            if again := sorted(taken.intersection(made)):
                yield (
                    f"representations.{name}.sizes: found {size}; {', '.join(again)} is declared already, "
                    "take another name"
                )
            taken.update(made)
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
    single = {name for name, members in groups.items() if members == 1} | columns_of_one
    yield from _of_finetunings(config, content)
    for name, table in config["tables"].items():
        if name == "records":
            yield "tables.records: found name 'records'; records.csv is written for every experiment, take another name"
        yield from _of_table(f"tables.{name}", table, config, groups, single)
        yield from _of_search(f"tables.{name}", table, config, searched)
        yield from _of_transforms(f"tables.{name}", table, config)
        yield from _of_mixed(f"tables.{name}", table, config)
    for name, figure in config["figures"].items():
        yield from _of_figure(f"figures.{name}", figure, config, groups, single)
        yield from _of_similarity_figure(f"figures.{name}", figure, config)
    for name, claim in config["claims"].items():
        yield from _of_claim(f"claims.{name}", claim, config, groups)


def probes_of(probe: Any) -> list[str]:
    """The entries of `probes` that a target names: one, or those by family."""
    return list(dict.fromkeys(probe.values())) if isinstance(probe, dict) else [probe]


def _of_probe(place: str, probe: Any, config: dict[str, dict[str, Any]]) -> Iterator[str]:
    if not isinstance(probe, dict):
        yield from _unknown(place, probe, config["probes"])
        return
    if OTHERS not in probe:
        yield f"{place}.{OTHERS}: missing; this key is required, for all families that are not named"
    if OTHERS in config["networks"]:
        yield f"networks.{OTHERS}: found name {OTHERS!r}, which stands for other families in {place}; take another name"
    for family, name in probe.items():
        yield from _unknown(place, family, {**config["networks"], OTHERS: None})
        yield from _unknown(f"{place}.{family}", name, config["probes"])
    solvers = {name: "solver" in config["probes"].get(str(name), {}) for name in probes_of(probe)}
    if len(set(solvers.values())) > 1:
        yield f"{place}: found {', '.join(map(str, solvers))}; allowed are probes that all have a solver, or none"


def _of_mixed(place: str, table: Any, config: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Networks of several families, side by side, have one head."""
    probed = [column for column in _mappings(table.get("columns")) if column.get("transfer") == "linear_probe"]
    columns = [column.get("target") for column in probed]
    for number, row in enumerate(_list(table.get("rows"))):
        families = _families(str(row.get("group")), config) if isinstance(row, dict) else []
        for target in dict.fromkeys(map(str, columns)):
            probe = config["targets"].get(target, {}).get("probe")
            names = {
                family: str(probe.get(family, probe.get(OTHERS))) for family in families if isinstance(probe, dict)
            }
            if len(set(names.values())) > 1:
                found = ", ".join(f"{family}: {name}" for family, name in names.items())
                yield (
                    f"{place}.rows[{number}].group: found {row['group']}, of families whose probes on {target} differ "
                    f"({found}); allowed are families of one probe"
                )


def of_transform(place: str, transform: Any) -> Iterator[str]:
    """Numbers of a transform of photographs that do not fit together."""
    of = transform if isinstance(transform, dict) else {}
    size, resize = of.get("size"), of.get("resize")
    if isinstance(size, int) and isinstance(resize, int) and resize < size:
        yield f"{place}.resize: found {resize}, the crop has size {size}; allowed is at least {size}"
    mean, std = _list(of.get("mean")), _list(of.get("std"))
    if mean and std and len(mean) != len(std):
        yield f"{place}.std: found {len(std)} numbers for {len(mean)} of mean; allowed are as many"
    scale = _list(of.get("scale"))
    if all(isinstance(bound, int | float) for bound in scale) and len(scale) == 2 and not scale[0] <= scale[1] <= 1:
        yield f"{place}.scale: found {scale}; allowed are two fractions, the smaller first"


def window_starts(windows: str, size: int, largest: int, seeds: int) -> range:
    """Positions in a family's list of seeds where the windows of one size start.

    windows : first, all or disjoint. largest : of the concatenation's sizes; the length of a block of disjoint windows.
    Windows never wrap, so a new seed changes no old one.
    """
    starts = {"all": range(seeds - size + 1), "disjoint": range(0, seeds - largest + 1, largest)}
    return starts.get(windows, range(1))


def _windows(entry: dict[str, Any], size: Any, seeds: int) -> int:
    """How many windows of one size a concatenation has; 1 where a mistake leaves it open."""
    sizes = [number for number in _list(entry.get("sizes")) if isinstance(number, int) and number > 0]
    if not isinstance(size, int) or not sizes:
        return 1
    return len(window_starts(str(entry.get("windows")), size, max(sizes), seeds))


def _of_teachers(name: str, family: dict[str, Any], families: dict[str, Any]) -> Iterator[str]:
    """Teachers are networks that are not students themselves, so that none is its own teacher by way of others."""
    may = {other: entry for other, entry in families.items() if entry.get("origin") != "distill"}
    networks = [f"{other}-s{seed}" for other, entry in may.items() for seed in _seeds(entry)]
    teachers = family.get("teachers")
    for number, teacher in enumerate(_list(teachers)):
        yield from _unknown(f"networks.{name}.teachers[{number}]", teacher, dict.fromkeys(networks))
    if isinstance(teachers, dict):
        yield from _unknown(f"networks.{name}.teachers.of", teachers.get("of"), may)
        size, available = teachers.get("size"), len(_seeds(may.get(str(teachers.get("of")), {})))
        students = len(_seeds(family))
        if available and isinstance(size, int) and size * students > available:
            found = f"found {size} teachers for each of {students} students; {teachers['of']} has {available} seeds"
            yield f"networks.{name}.teachers.size: {found}, needed are {size * students}"


def _of_checkpoint(place: str, family: dict[str, Any]) -> Iterator[str]:
    yield from _unknown(f"{place}.checkpoint", family.get("checkpoint"), checkpoints())
    if isinstance(name := family.get("checkpoint"), str) and name in checkpoints():
        count = len(checkpoints()[name].files)
        for seed in _list(family.get("seeds")):
            if isinstance(seed, int) and seed >= count:
                yield f"{place}.seeds: found {seed}; {name} has {count} networks, allowed are 0 to {count - 1}"


def _of_finetunings(config: dict[str, dict[str, Any]], content: Any) -> Iterator[str]:
    targets, families = config["targets"], config["networks"]
    first: dict[str, str] = {}
    for name, of in config["finetunings"].items():
        place = f"finetunings.{name}"
        for target, shots in of["targets"].items() if isinstance(of.get("targets"), dict) else ():
            yield from _unknown(f"{place}.targets", target, targets)
            published = isinstance(of.get("networks"), dict)
            if targets.get(target, {}).get("transform") == "network" and not published:
                yield f"{place}.targets: found {target}, whose transform is `network`; {NEEDS_TRANSFORM}"
            if target in first:
                yield f"{place}.targets: found {target}, which is in finetunings.{first[target]} too; allowed is one"
            first.setdefault(target, name)
            available = targets.get(target, {}).get("train_per_class")
            if isinstance(shots, int) and isinstance(available, int) and shots > available:
                yield f"{place}.targets.{target}: found {shots}; allowed are at most its {available} images per class"
        yield from _of_finetuned_networks(place, of.get("networks"), families)
        for key in ("learning_rates", "epochs"):
            if isinstance(of.get(key), dict) and content.get("grid") == "own":
                yield f"grid: found own; {place}.{key} has {', '.join(map(str, of[key]))}, allowed is one of these"
        known = _settings(of, str(content.get("grid")))
        two_stage = of.get("two_stage")
        for number, setting in enumerate(_list(two_stage.get("settings")) if isinstance(two_stage, dict) else []):
            if known:
                yield from _unknown(f"{place}.two_stage.settings[{number}]", setting, dict.fromkeys(known))


def _of_finetuned_networks(place: str, networks: Any, families: dict[str, Any]) -> Iterator[str]:
    """Families that are fine-tuned; or those that others fine-tuned, and which: as many seeds each."""
    for number, family in enumerate(_list(networks)):
        yield from _unknown(f"{place}.networks[{number}]", family, families)
    for family, finetuned in networks.items() if isinstance(networks, dict) else ():
        yield from _unknown(f"{place}.networks", family, families)
        yield from _unknown(f"{place}.networks.{family}", finetuned, families)
        if (
            family in families
            and finetuned in families
            and not set(_seeds(families[family])) <= set(_seeds(families[finetuned]))
        ):
            seeds = _seeds(families[family])
            yield f"{place}.networks.{family}: found {finetuned}; needed are networks of all its seeds, {seeds}"


def _settings(finetuning: dict[str, Any], grid: str) -> list[str]:
    """Names of the settings of the grid; none if it has another shape."""
    lists = []
    for key in ("learning_rates", "weight_decays", "epochs"):
        values = finetuning.get(key)
        lists.append(_list(values.get(grid) if isinstance(values, dict) else values))
    try:
        return [setting_name(float(rate), float(decay), epochs) for rate, decay, epochs in itertools.product(*lists)]
    except (TypeError, ValueError):  # of a shape that the schema names
        return []


def _of_table(
    place: str, table: Any, config: dict[str, dict[str, Any]], groups: dict[str, int], single: set[str]
) -> Iterator[str]:
    """single : groups of one network, or of columns of one."""
    targets, finetuned_on = config["targets"], _finetuned_on(config["finetunings"])
    columns = [column for column in _list(table.get("columns")) if isinstance(column, dict)]
    for number, column in enumerate(columns):
        at = f"{place}.columns[{number}]"
        name = column.get("target")
        yield from _unknown(f"{at}.target", name, targets)
        if name not in targets or column.get("shots") is None:
            continue
        if column.get("transfer") == "linear_probe":
            shots, where = _list(targets[name].get("shots")), f"targets.{name}.shots"
        elif name in finetuned_on:
            shots, where = [finetuned_on[name]], f"finetunings.*.targets.{name}"
        else:
            others = ", ".join(map(str, finetuned_on)) or "none"
            yield f"{at}.target: found {name}, on which nothing is fine-tuned; allowed: {others}"
            continue
        if column.get("transfer") == "finetune" and name in _published_on(config["finetunings"]):
            yield f"{at}.transfer: found finetune; allowed on {name}, fine-tuned by others: two_stage, averaged_head"
        if shots and column["shots"] not in shots:
            yield f"{at}.shots: found {column['shots']!r}; allowed are those of {where}: {shots}"
    first: dict[str, int] = {}  # by what the table calls them
    for number, row in enumerate(_list(table.get("rows"))):
        at = f"{place}.rows[{number}]"
        name = row.get("group") if isinstance(row, dict) else None
        if isinstance(row, dict) and row.get("method") is not None:
            shown_as = f"{' '.join(row['method'].split())}{'^sub' if row.get('ensemble') is True else ''}"
            if shown_as in first:
                yield f"{at}.method: found {shown_as!r}, as in rows[{first[shown_as]}]; take another name"
            first.setdefault(shown_as, number)
        yield from _unknown(f"{at}.group", name, groups)
        if isinstance(row, dict) and row.get("ensemble") is True and groups.get(str(name)) == 1:
            yield f"{at}.ensemble: found true; {name} has one member, allowed are groups of two or more"
            continue
        shown = {str(column.get("transfer")) for column in columns} & set(SEPARATE)
        names = {transfer_name(transfer, isinstance(row, dict) and row.get("ensemble") is True) for transfer in shown}
        if name in single and names and names <= set(OF_NETWORKS):
            yield f"{at}.group: found {name}, which would be an empty row; allowed are groups of two or more networks"


def _of_search(place: str, table: Any, config: dict[str, dict[str, Any]], searched: set[str]) -> Iterator[str]:
    """searched : the representations of which the best subset is searched for."""
    rows = [row for row in _list(table.get("rows")) if isinstance(row, dict)]
    columns = _mappings(table.get("columns"))
    transfers = {column.get("transfer") for column in columns}
    probes = {
        str(column.get("target")): config["targets"].get(str(column.get("target")), {}).get("probe")
        for column in columns
    }
    by_lbfgs = {
        target: name
        for target, probe in probes.items()
        for name in map(str, probes_of(probe))
        if "solver" in config["probes"].get(name, {})
    }
    for number, row in enumerate(rows):
        if row.get("group") not in searched:
            continue
        at = f"{place}.rows[{number}]"
        if table.get("selections") not in (None, ["heldout"]):
            found = f"found {table.get('selections')}; {row['group']} is searched for on val"
            yield f"{place}.selections: {found}, allowed is [heldout]"
        if row.get("ensemble") is True:
            yield f"{at}.ensemble: found true; {row['group']} is a best subset, which is concatenated: false"
        if transfers - {"linear_probe"}:
            yield f"{at}.group: found {row['group']}, a best subset; allowed are columns of linear_probe alone"
        if by_lbfgs:
            target, name = next(iter(by_lbfgs.items()))
            found = f"found {row['group']}, a best subset, which is searched for by SGD, on {target}"
            yield f"{at}.group: {found}, whose probe {name} has a solver; allowed is a probe without one"


def _of_transforms(place: str, table: Any, config: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Networks that are shown on a target whose transform is `network` must bring one."""
    columns = [column.get("target") for column in _list(table.get("columns")) if isinstance(column, dict)]
    open_targets = [name for name in columns if config["targets"].get(str(name), {}).get("transform") == "network"]
    for number, row in enumerate(_list(table.get("rows"))):
        if not open_targets or not isinstance(row, dict):
            continue
        for family in _families(str(row.get("group")), config):
            if "transform" not in config["networks"].get(family, {"transform": None}):
                yield (
                    f"{place}.rows[{number}].group: found {row['group']}, with {family} on {open_targets[0]}, whose "
                    f"transform is `network`; {NEEDS_TRANSFORM}"
                )


NEEDS_TRANSFORM = "allowed is that for networks of origin user or library, which bring their own"


def _families(group: str, config: dict[str, dict[str, Any]]) -> list[str]:
    """The families of networks behind a group."""
    if group in config["networks"]:
        return [group]
    for name, entry in config["representations"].items():
        if name == group:
            members = _list(entry.get("members")) + _list(entry.get("best_subset_of"))
            return list(dict.fromkeys(str(member).rpartition("-s")[0] for member in members))
        if any(group == f"{name}{size}" for size in _list(entry.get("sizes"))):
            return [str(entry.get("of"))]
    return []


def _seeds(family: dict[str, Any]) -> list[Any]:
    for key in ("files", "models"):
        if key in family:
            return list(range(len(_list(family[key]))))
    return _list(family.get("seeds"))


def _of_figure(
    place: str, figure: Any, config: dict[str, dict[str, Any]], declared: dict[str, int], single: set[str]
) -> Iterator[str]:
    """Every point of a figure is a cell of the table that its row names."""
    for number, row in enumerate(_list(figure.get("rows"))):
        if not isinstance(row, dict):
            continue
        at = f"{place}.rows[{number}]"
        yield from _unknown(f"{at}.table", row.get("table"), config["tables"])
        table = config["tables"].get(str(row.get("table")), {})
        groups = [(of.get("group"), of.get("ensemble")) for of in _mappings(table.get("rows"))]
        columns = _columns(table)
        whole = groups and columns and all(None not in cell for cell in [*groups, *columns])
        panels = []
        for count, of in enumerate(_list(row.get("panels"))):
            target, shots = (of.get("target"), of.get("shots")) if isinstance(of, dict) else (None, None)
            yield from _unknown(f"{at}.panels[{count}].target", target, config["targets"])
            if target not in config["targets"] or shots is None:
                continue
            if whole and (target, shots) not in [column[1:] for column in columns]:
                where = f"tables.{row['table']}: {', '.join(dict.fromkeys(f'{of[1]} {of[2]}' for of in columns))}"
                yield f"{at}.panels[{count}]: found target {target}, shots {shots}; allowed are those of {where}"
                continue
            panels.append((target, shots))
        for count, series in enumerate(_list(row.get("series"))):
            if not whole or not isinstance(series, dict):
                continue
            transfer, ensemble = series.get("transfer"), series.get("ensemble")
            if transfer is None or ensemble is None:
                continue
            for group in _list(series.get("groups")):
                yield from _unknown(f"{at}.series[{count}].groups", group, declared)
                if group not in declared:
                    continue
                if declared[group] == 1 and transfer in ("linear_probe", "finetune"):
                    ensemble = False  # one network is its own ensemble
                else:
                    ensemble = series["ensemble"]
                if group in single and transfer_name(transfer, ensemble) in OF_NETWORKS:
                    yield f"{at}.series[{count}].groups: found {group}; allowed are groups of two or more networks"
                elif (group, ensemble) not in groups:
                    yield (
                        f"{at}.series[{count}].groups: found {group!r}, ensemble {ensemble}; "
                        f"allowed are rows of tables.{row['table']}"
                    )
            for target, shots in panels:
                if (transfer, target, shots) not in columns:
                    yield (
                        f"{at}.series[{count}].transfer: found {transfer!r} on {target!r}, "
                        f"shots {shots!r}; allowed are columns of tables.{row['table']}"
                    )


def _of_similarity_figure(place: str, figure: Any, config: dict[str, dict[str, Any]]) -> Iterator[str]:
    targets, families = config["targets"], config["networks"]
    known = [(number, name) for number, name in enumerate(_list(figure.get("targets"))) if isinstance(name, str)]
    for number, target in known:
        yield from _unknown(f"{place}.targets[{number}]", target, targets)
    open_targets = [name for _, name in known if targets.get(name, {}).get("transform") == "network"]
    for number, group in enumerate(_list(figure.get("groups"))):
        at = f"{place}.groups[{number}]"
        family = group.get("family") if isinstance(group, dict) else None
        yield from _unknown(f"{at}.family", family, families)
        if not isinstance(group, dict) or family not in families:
            continue
        declared = _seeds(families[family])
        for seed in _list(group.get("seeds")):
            if declared and isinstance(seed, int) and seed not in declared:
                yield f"{at}.seeds: found {seed}; allowed are those of {family}: {', '.join(map(str, declared))}"
        if open_targets and "transform" not in families[family]:
            yield (
                f"{at}.family: found {family}, on {open_targets[0]}, whose transform is `network`; {NEEDS_TRANSFORM}"
            )


def _columns(table: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """Transfer, target and shots of each column of a table; None for what is missing."""
    columns = _mappings(table.get("columns"))
    return [(column.get("transfer"), column.get("target"), column.get("shots")) for column in columns]


def _of_claim(place: str, claim: Any, config: dict[str, dict[str, Any]], declared: dict[str, int]) -> Iterator[str]:
    """Every side of a comparison is a cell of the table that the claim names."""
    yield from _unknown(f"{place}.table", claim.get("table"), config["tables"])
    table = config["tables"].get(str(claim.get("table")), {})
    where = f"tables.{claim.get('table')}"
    selections = _list(table.get("selections"))
    if selections and claim.get("selection") not in (None, *selections):
        yield f"{place}.selection: found {claim['selection']}; allowed are those of {where}: {', '.join(selections)}"
    rows = [(row.get("group"), row.get("ensemble")) for row in _mappings(table.get("rows"))]
    columns = _columns(table)
    if not rows or not columns or any(None in cell for cell in [*rows, *columns]):
        return  # of a table with mistakes of its own
    panels = []
    for number, panel in enumerate(_mappings(claim.get("panels"))):
        target, shots = panel.get("target"), panel.get("shots")
        yield from _unknown(f"{place}.panels[{number}].target", target, config["targets"])
        if target not in config["targets"] or shots is None:
            continue
        if (target, shots) in [column[1:] for column in columns]:
            panels.append((target, shots))
        else:
            known = ", ".join(dict.fromkeys(f"{column[1]} {column[2]}" for column in columns))
            wrong = f"found target {target}, shots {shots}"
            yield f"{place}.panels[{number}]: {wrong}; allowed are those of {where}: {known}"
    for number, pair in enumerate(_list(claim.get("pairs"))):
        for side, method in enumerate(_list(pair)):
            at = f"{place}.pairs[{number}][{side}]"
            if not isinstance(method, dict) or None in (method.get("ensemble"), method.get("transfer")):
                continue
            yield from _unknown(f"{at}.group", method.get("group"), declared)
            row = method.get("group"), method["ensemble"]
            if row[0] in declared and row not in rows:
                yield f"{at}: found group {row[0]}, ensemble {row[1]}; allowed are rows of {where}"
            for target, shots in panels:
                if (method["transfer"], target, shots) not in columns:
                    found = f"found {method['transfer']} on {target}, shots {shots}"
                    yield f"{at}.transfer: {found}; allowed are columns of {where}"


def _finetuned_on(finetunings: dict[str, Any]) -> dict[str, Any]:
    return {
        target: shots
        for of in finetunings.values()
        if isinstance(of.get("targets"), dict)
        for target, shots in of["targets"].items()
    }


def _published_on(finetunings: dict[str, Any]) -> set[str]:
    """Targets on which the networks were fine-tuned by others."""
    every = [of for of in finetunings.values() if isinstance(of.get("networks"), dict)]
    return {target for of in every if isinstance(of.get("targets"), dict) for target in of["targets"]}


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
    if depth is None:
        return ""
    match columns:
        case [int(start), int(stop)] if not 0 <= start < stop <= depth:
            return f"found {columns}; {arch} has {depth} features, allowed is 0 <= start < stop <= {depth}"
    return ""


def _unknown(place: str, name: Any, declared: dict[str, Any]) -> Iterator[str]:
    if isinstance(name, str) and name not in declared:
        yield f"{place}: found {name!r}; {allowed(name, list(declared))}"


def _entries(section: Any) -> dict[str, Any]:
    """An entry of the wrong shape is declared all the same."""
    entries = section.items() if isinstance(section, dict) else ()
    return {str(name): entry if isinstance(entry, dict) else {} for name, entry in entries}


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
