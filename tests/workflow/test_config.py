"""Bad configs: every mistake in a line of its own, all at once, before any job."""

import copy
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rrl.config.load import load_config, read_config
from rrl.errors import UserError
from tests.helpers.clones import CLONE, copy_clone, run_snakemake, snakemake

CONFIGS = sorted(
    path.relative_to(CLONE) for path in [CLONE / "config.yaml", *(CLONE / "workflow/config").glob("*.yaml")]
)
TINY = yaml.safe_load((CLONE / "workflow/config/tiny.yaml").read_text())


def mistakes_of(change: Any) -> list[str]:
    content = copy.deepcopy(TINY)
    change(content)
    with pytest.raises(UserError) as caught:
        load_config(content, [])
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_the_configs_of_the_project_are_good(path: Path) -> None:
    load_config(yaml.safe_load((CLONE / path).read_text()), [CLONE / path])


def put(*place: Any) -> Any:
    """A change: the value at the end of `place` is put at the keys before it."""
    *keys, last, value = place

    def change(content: Any) -> None:
        for key in keys:
            content = content[key]
        content[last] = value

    return change


def drop(*place: Any) -> Any:
    *keys, last = place

    def change(content: Any) -> None:
        for key in keys:
            content = content[key]
        del content[last]

    return change


LBFGS = {"solver": "lbfgs", "iterations": 99, "tolerance": 1e-4, "weight_decays": [0.0, 0.1], "batch_norm": True}


def searched_by_lbfgs(content: Any) -> None:
    content["probes"]["new"] = LBFGS
    content["targets"]["mnist"]["probe"] = "new"
    content["representations"]["best"] = {"best_subset_of": ["erm-s0", "erm-s1"]}
    content["tables"]["table2"]["selections"] = ["heldout"]
    content["tables"]["table2"]["rows"][0]["group"] = "best"


def two_probes(family: str, probe: Any) -> Any:
    """A change: heads on one family have another probe than on the rest, and one row has networks of both."""

    def change(content: Any) -> None:
        content["probes"]["new"] = probe
        content["networks"].setdefault(family, content["networks"]["erm"])
        content["targets"]["mnist"]["probe"] = {"others": "tiny", family: "new"}
        content["representations"]["both"] = {"members": ["erm-s0", "random-s0"]}
        content["tables"]["table2"]["rows"][0] = {"method": "BOTH", "group": "both", "ensemble": False}

    return change


def empty_point(content: Any) -> None:
    """No row of the table is empty, but a cell that a figure shows."""
    content["finetunings"]["tiny"]["networks"] = ["wide2"]
    content["tables"]["table1"]["columns"].append({"transfer": "linear_probe", "target": "mnist", "shots": 10})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("recipes", "erm", "epoch", 3), "recipes.erm.epoch: unknown key; did you mean epochs? must be one of: epoch"),
        (put("networks", "erm", "sed", 3), "networks.erm.sed: unknown key; did you mean seeds? must be one of: origin, a"),
        (put("tables", "table2", "rows", 0, "color", 1), "tables.table2.rows[0].color: unknown key; must be one of: method, group, ensemble"),
        (put("probe", {}), "probe: unknown key; did you mean probes?"),
        (drop("recipes", "erm", "epochs"), "recipes.erm.epochs: missing; this key is required"),
        (drop("networks", "erm", "recipe"), "networks.erm.recipe: missing; this key is required"),
        (drop("networks"), "networks: missing; this key is required"),
        (put("recipes", "erm", "epochs", "many"), "recipes.erm.epochs: found 'many'; must be a valid integer"),
        (put("recipes", "erm", "nesterov", 1), "recipes.erm.nesterov: found 1; must be a valid boolean"),
        (put("networks", "erm", "seeds", 3), "networks.erm.seeds: found 3; must be a valid list"),
        (put("networks", "erm", "seeds", [1, 1]), "networks.erm.seeds: found [1, 1]; entries must differ"),
        (put("targets", "mnist", "shots", [5, 30]), "targets.mnist.shots[1]: found 30; must be at most 20, its images per class (train_per_class)"),
        (put("networks", "erm", "origin", "pretrained"), "networks.erm.origin: found 'pretrained'; did you mean pretrain?"),
        (drop("networks", "erm", "origin"), "networks.erm.origin: missing; this key is required"),
        (put("targets", "mnist", "dataset", "mnist"), "targets.mnist.dataset: found 'mnist'; did you mean mnist-5k?"),
        (put("probes", "tiny", "weight_decays", [0.1, -1]), "probes.tiny.weight_decays[1]: found -1"),
        (put("probes", "tiny", "schedule", {"name": "step", "factor": 1}), "probes.tiny.schedule.milestones: missing"),
        (put("targets", "mnist", "shots", [5, "most"]), "targets.mnist.shots[1]: found 'most'; must be a whole number from 1, or all"),
        (put("targets", "mnist", "probe", "tini"), "targets.mnist.probe: found 'tini'; did you mean tiny? must be one of: tiny"),
        (put("targets", "mnist", "probe", {"erm": "tiny"}), "targets.mnist.probe.others: missing; this key is required"),
        (put("targets", "mnist", "probe", {"others": "tini"}), "targets.mnist.probe.others: found 'tini'; did you mean tiny?"),
        (put("targets", "mnist", "probe", {"others": "tiny", "em": "tiny"}), "targets.mnist.probe: found 'em'; did you mean erm?"),
        (two_probes("erm", LBFGS), "targets.mnist.probe: found tiny, new; must be probes that all have a solver, or none"),
        (two_probes("erm", TINY["probes"]["tiny"]), "tables.table2.rows[0].group: found both, of families whose probes on mnist differ (erm: new, random: tiny)"),
        (two_probes("others", TINY["probes"]["tiny"]), "networks.others: found name 'others', which means all other families in targets.mnist.probe; take another name"),
        (put("recipes", "erm", "decay_norm", "publish"), "recipes.erm.decay_norm: found 'publish'; must be true, false or published"),
        (put("finetunings", "tiny", "decay_norm", 0), "finetunings.tiny.decay_norm: found 0; must be true, false or published"),
        (put("probes", "tiny", "batch_norm", "published"), "probes.tiny.batch_norm: found 'published'; must be true, false or decayed"),
        (put("networks", "erm", "target", "imagenet"), "networks.erm.target: found 'imagenet'; must be one of: fashion-source, mnist"),
        (put("networks", "erm", "recipe", "x"), "networks.erm.recipe: found 'x'; must be one of: erm"),
        (put("networks", "new", {"origin": "download", "checkpoint": "supervised-resnet5", "seeds": [0]}), "networks.new.checkpoint: found 'supervised-resnet5'; did you mean supervised-resnet50?"),
        (put("networks", "new", {"origin": "download", "checkpoint": "supervised-resnet50", "seeds": [3, 10]}), "networks.new.seeds: found 10; supervised-resnet50 has 10 networks, seeds must be 0 to 9"),
        (put("networks", "Big Net", TINY["networks"]["erm"]), "networks.Big Net: found name 'Big Net'; must be a letter, t"),
        (put("networks", "erm", "arch", "resnet9"), "networks.erm.arch: found 'resnet9'; must be one of resnet8"),
        (put("representations", "cat", "of", "erm2"), "representations.cat.of: found 'erm2'; did you mean erm?"),
        (put("representations", "cat", "sizes", [2, 3]), "representations.cat.sizes: found 3; must be at most 2,"),
        (put("representations", "wide3", {"columns": [[0, 1]]}), "representations.wide3: found 'wide3'; did you mean wide2"),
        (put("representations", "wide2", {"columns": [[3, 2]]}), "representations.wide2.columns[0]: found [3, 2]"),
        (put("representations", "wide2", {"columns": [[0, 65]]}), "representations.wide2.columns[0]: found [0, 65]"),
        (put("tables", "table2", "rows", 0, "group", "cat9"), "tables.table2.rows[0].group: found 'cat9'; did you mean cat2"),
        (put("tables", "table2", "rows", 0, "ensemble", True), "tables.table2.rows[0].ensemble: found true; random has one"),
        (put("tables", "table1", "columns", 0, "shots", 5), "tables.table1.columns[0].shots: found 5; must be one of those of finetunings.tiny: 10"),
        (put("tables", "table1", "columns", 1, "target", "fashion-source"), "tables.table1.columns[1].target: found fashion-s"),
        (drop("tables", "table1", "columns", 0), "tables.table1.rows[0].group: found erm, which would be an empty row"),
        (put("tables", "table1", "columns", 0, "transfer", "tune"), "tables.table1.columns[0].transfer: found 'tune'; did you mean finet"),
        (put("finetunings", "tiny", "targets", {"mnits": 5}), "finetunings.tiny.targets: found 'mnits'; did you mean mnist?"),
        (put("finetunings", "tiny", "targets", {"mnist": 21}), "finetunings.tiny.targets.mnist: found 21; must be at most 20, its"),
        (put("finetunings", "two", TINY["finetunings"]["tiny"]), "finetunings.two.targets: found mnist, which finetunings.tiny has too; must be in one"),
        (put("finetunings", "tiny", "selections", ["test"]), "finetunings.tiny.selections[0]: found 'test'; must be one of: heldout, paper"),
        (
            put("finetunings", "tiny", "two_stage", "settings", ["lr0.1-wd5e-4-e2"]),
            "finetunings.tiny.two_stage.settings[0]: found 'lr0.1-wd5e-4-e2'; did you mean lr0.1-wd0.0005-e2?",
        ),
        (
            put("figures", "accuracy", "rows", 1, "series", 0, "groups", ["wide2"]),
            "figures.accuracy.rows[1].series[0].groups: found wide2; must be a group of two or more networks",
        ),
        (
            put("figures", "accuracy", "rows", 1, "series", 1, "groups", ["wide2"]),
            "figures.accuracy.rows[1].series[1].groups: found wide2, ensemble false; must be a row of tables.table1",
        ),
        (
            put("figures", "accuracy", "rows", 1, "panels", 0, "shots", 5),
            "figures.accuracy.rows[1].panels[0]: found target mnist, shots 5; must be one of those of tables.table1: mnist 10",
        ),
        (
            put("figures", "accuracy", "rows", 1, "series", 0, "transfer", "linear_probe"),
            "figures.accuracy.rows[1].series[0].transfer: found linear_probe on mnist, shots 10; must be a column of tables.table1",
        ),
        (
            empty_point,
            "figures.accuracy.rows[1].series[0].groups: found cat2, which has no two_stage on mnist; must be a group of networks",
        ),
        (
            put("finetunings", "tiny", "networks", ["wide2"]),
            "tables.table1.rows[1].group: found cat2, which would be an empty row; must be a group of networks that are fi",
        ),
        (put("figures", "accuracy", "kind", "size"), "figures.accuracy.kind: found 'size'; must be one of: parameters, networks, gains, similarity"),
        (drop("figures", "accuracy", "kind"), "figures.accuracy.kind: missing; this key is required"),
        (put("figures", "similarity", "selection", "paper"), "figures.similarity.selection: unknown key; did you mean caption"),
        (put("figures", "similarity", "targets", ["mnits"]), "figures.similarity.targets[0]: found 'mnits'; did you mean mnist?"),
        (put("figures", "similarity", "groups", 0, "family", "erms"), "figures.similarity.groups[0].family: found 'erms'; did yo"),
        (put("figures", "similarity", "groups", 0, "seeds", [0, 7]), "figures.similarity.groups[0].seeds: found 7; must be one of those of erm: 0, 1"),
        (put("figures", "similarity", "groups", 0, "seed", 7), "figures.similarity.groups[0].seed: unknown key; did you mean s"),
        (put("figures", "similarity", "groups", 0, "finetuned", 1), "figures.similarity.groups[0].finetuned: found 1; must be a valid boolean"),
        (
            put("figures", "similarity", "groups", 1, "finetuned", True),
            "figures.similarity.groups[1].finetuned: found true; must be false, unless wide2 is part of a concatenation and fin",
        ),
        (
            put("figures", "similarity", "targets", ["fashion-source"]),
            "figures.similarity.groups[2].finetuned: found true; must be false, unless erm is part of a concatenation and fine-",
        ),
        (
            put("figures", "similarity", "groups", [{"label": "ERM", "family": "erm", "seeds": [0], "finetuned": False}]),
            "figures.similarity.targets[0]: found mnist, with fewer than two networks; must have two or more",
        ),
        (
            put("figures", "gains", "rows", 0, "series", 0, "groups", ["erm"]),
            "figures.gains.rows[0].series[0].groups: found erm alone; must be two or more, as a gain is from one to the next",
        ),
        (
            put("figures", "gains", "rows", 0, "series", 0, "groups", ["random", "cat2"]),
            "figures.gains.rows[0].series[0].groups: found cat2; cat2 must extend a representation of random by networks",
        ),
        (put("figures", "accuracy", "rows", 0, "table", "tab"), "figures.accuracy.rows[0].table: found 'tab'; did you mean ta"),
        (put("tables", "table2", "columns", 1, "target", "cifar"), "tables.table2.columns[1].target: found 'cifar'"),
        (put("tables", "table2", "columns", 1, "shots", 7), "tables.table2.columns[1].shots: found 7; must be one of those"),
        (
            put("tables", "table2", "rows", 1, "method", "RANDOM"),
            "tables.table2.rows[1].method: found 'RANDOM', as in rows[0]; take another name",
        ),
        (
            put("tables", "table2", "rows", 4, "method", "CAT2^sub"),
            "tables.table2.rows[5].method: found 'CAT2^sub', as in rows[4]; take another name",
        ),
        (
            put("representations", "erm-s", {"of": "erm", "sizes": [1], "windows": "first"}),
            "representations.erm-s.sizes: found 1, which makes erm-s1, which is taken; take another name",
        ),
        (put("features", "views", 0), "features.views: found 0; must be greater than or equal to 1"),
        (put("targets", "mnist", "transform", {"mean": 0.1, "std": 1.0, "pad": 0, "flip": False}), "features.views: found 2"),
        (put("tables", "records", TINY["tables"]["table2"]), "tables.records: found name 'records'"),
        (put("probes", "new", LBFGS | {"solver": "sgd"}), "probes.new.solver: found 'sgd'; must be lbfgs; a probe by SGD has no key solver"),
        (put("probes", "new", LBFGS | {"solver": 3}), "probes.new.solver: found 3; must be a valid string"),
        (put("probes", "new", LBFGS | {"epochs": 3}), "probes.new.epochs: unknown key; must be one of: solver, iterations, tolerance"),
        (put("probes", "new", {"solvr": "lbfgs", **LBFGS}), "probes.new.solvr: unknown key; did you mean solver?"),
        (put("probes", "new", {key: LBFGS[key] for key in LBFGS if key != "solver"}), "probes.new.solver: missing; this key is"),
        (put("probes", "new", {key: LBFGS[key] for key in LBFGS if key != "tolerance"}), "probes.new.tolerance: missing; this"),
        (put("probes", "new", LBFGS | {"iterations": 0}), "probes.new.iterations: found 0; must be greater than or equal to 1"),
        (put("probes", "new", LBFGS | {"tolerance": 0}), "probes.new.tolerance: found 0; must be greater than 0"),
        (put("probes", "new", LBFGS | {"weight_decays": [0.1, -1]}), "probes.new.weight_decays[1]: found -1"),
        (put("probes", "tiny", "solver", "lbfgs"), "probes.tiny.learning_rates: unknown key; must be one of: solver, iterati"),
        (
            searched_by_lbfgs,
            "tables.table2.rows[0].group: found best, a best subset, which is searched for by SGD, on mnist, whose probe new has",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_what_is_valid(change: Any, expected: str) -> None:
    lines = mistakes_of(change)
    assert any(line.startswith(expected) for line in lines), lines


def test_a_seed_given_twice_is_one_mistake() -> None:
    """And not one more for each name of a network that the list gives."""
    content = yaml.safe_load((CLONE / "workflow/config/demo.yaml").read_text())
    content["networks"]["erm"]["seeds"].append(4)
    with pytest.raises(UserError, match="1 mistake\n  networks.erm.seeds: found .*; entries must differ$"):
        load_config(content, [])


# Broken configs by the hundred: each place of the project's configs, broken in each way


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every key and every position in a list."""
    for step, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, step)
        yield from places(item, (*place, step))


def at(content: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        content = content[step]
    return content


def text_of(place: tuple[Any, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def all_places() -> list[tuple[str, tuple[Any, ...]]]:
    """Of the configs of the project: of places that differ in positions and in the names of entries the first."""
    found: dict[Any, tuple[str, tuple[Any, ...]]] = {}
    for name in ("tiny", "cifar", "cifar_public", "demo", "claims"):
        content = CONTENTS[name]
        for place in places(content):
            named = place[0] not in ("features",) and isinstance(content[place[0]], dict)
            kind = tuple("#" if isinstance(step, int) or (named and at == 1) else step for at, step in enumerate(place))
            found.setdefault((kind, frozenset(at_parent(content, place))), (name, place))
    return list(found.values())


def at_parent(content: Any, place: tuple[Any, ...]) -> list[str]:
    holder = at(content, place[:-1])
    return list(holder) if isinstance(holder, dict) and len(place) != 2 else []


# By way of JSON: what an alias of YAML names is broken in one place.
CONTENTS = {
    name: json.loads(json.dumps(yaml.safe_load((CLONE / f"workflow/config/{name}.yaml").read_text())))
    for name in ("tiny", "cifar", "cifar_public", "demo", "claims")
}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


DECLARED = ("targets", "recipes", "networks", "representations", "probes", "finetunings", "tables", "figures", "claims")
# What is put in place of a value, and for which values it is wrong.
WRONG: dict[str, tuple[Any, Callable[[Any], bool]]] = {
    "text for a number": ("many", is_number),
    "text for a list": ("one", lambda old: isinstance(old, list)),
    "text for a mapping": ("one", lambda old: isinstance(old, dict)),
    "text for true": ("yes", lambda old: isinstance(old, bool)),
    "a list for a mapping": ([1], lambda old: isinstance(old, dict)),
    "a list for a number": ([1], is_number),
    "a list for a text": (["a"], lambda old: isinstance(old, str)),
    "a mapping for a list": ({"a": 1}, lambda old: isinstance(old, list)),
    "a mapping for a number": ({"a": 1}, is_number),
    "a mapping for a text": ({"a": 1}, lambda old: isinstance(old, str)),
    "nothing": (None, lambda old: old is not None),
    "true for a number": (True, is_number),
    "true for a text": (True, lambda old: isinstance(old, str)),
    "a number for a text": (3, lambda old: isinstance(old, str) and old != "all"),
    "a number for true": (1, lambda old: isinstance(old, bool)),
    "nan": (math.nan, is_number),
    "infinity": (math.inf, is_number),
    "less than nothing": (-(10**30), is_number),
    "more than anything": (10**400, is_number),
    "more digits than Python writes": (16**5000, is_number),
    "an empty text": ("", lambda old: isinstance(old, str)),
    "a date": (yaml.safe_load("2001-01-01"), lambda old: old is not None),
    "a list in a list": ([[[1]]], lambda old: isinstance(old, list)),
    "keys that are numbers": ({1: {2: 3}}, lambda old: isinstance(old, dict)),
}


def lines_of(content: Any) -> list[str]:
    """The mistakes of a config, which is refused as the user may expect."""
    with pytest.raises(UserError) as caught:
        load_config(content, [])
    first, *lines = str(caught.value).split("\n")
    assert first == f"config: {len(lines)} mistake{'s' if len(lines) > 1 else ''}" and lines
    assert len(set(lines)) == len(lines), lines
    for line in lines:
        assert re.match(r"  [^:]+: (found|missing|unknown key)", line) and line.isprintable() and len(line) < 2100, line
        assert re.search("must|required|did you mean|take another name", line), line
    return [line.strip() for line in lines]


def test_every_key_that_is_removed_is_missed() -> None:
    for name, place in all_places():
        content = copy.deepcopy(CONTENTS[name])
        declared = len(place) == 2 and place[0] in DECLARED  # an entry, and not a key
        if isinstance(place[-1], int) or declared or place[-2:-1] == ("targets",):
            continue
        del at(content, place[:-1])[place[-1]]
        if place[-1] == "columns" and place[0] == "representations":
            continue  # then it is of another kind
        assert f"{text_of(place)}: missing; this key is required" in lines_of(content)


def test_every_key_that_is_misspelt_is_told_once_with_the_right_one() -> None:
    count = 0
    for name, place in all_places():
        key = place[-1]
        if isinstance(key, int) or (len(place) == 2 and place[0] in DECLARED) or place[-2:-1] == ("targets",):
            continue
        for wrong in (key[:-1], key[1:], key + key[-1], key[0] + key):
            content = copy.deepcopy(CONTENTS[name])
            holder = at(content, place[:-1])
            holder[wrong] = holder.pop(key)
            lines = lines_of(content)
            told = [line for line in lines if line.startswith(f"{text_of((*place[:-1], wrong))}: ")]
            assert len(told) == 1 and f"unknown key; did you mean {key}?" in told[0], lines
            assert not [line for line in lines if line.startswith(f"{text_of(place)}: missing")], lines
            count += 1
    assert count >= 300


@pytest.mark.parametrize("kind", WRONG)
def test_every_value_of_a_wrong_kind_is_told_once_where_it_is(kind: str) -> None:
    value, wrong_for = WRONG[kind]
    cases = [(name, place) for name, place in all_places() if wrong_for(at(CONTENTS[name], place))]
    assert len(cases) >= 10
    for name, place in cases:
        content = copy.deepcopy(CONTENTS[name])
        at(content, place[:-1])[place[-1]] = value
        lines = lines_of(content)
        holder = text_of(place[:-1] if isinstance(place[-1], int) else place)
        told = [line for line in lines if line.startswith((text_of(place), f"{holder}: "))]
        assert told, (text_of(place), lines)
        assert len([line for line in lines if line.startswith(f"{text_of(place)}: ")]) <= 1, lines


def test_every_name_that_refers_to_nothing_is_told_with_the_nearest_one() -> None:
    count = 0
    for name, place in all_places():
        old, keys = at(CONTENTS[name], place), [step for step in place if isinstance(step, str)]
        references = (
            "probe",
            "target",
            "recipe",
            "of",
            "networks",
            "group",
            "groups",
            "table",
            "checkpoint",
            "settings",
        )
        if not isinstance(old, str) or keys[-1] not in references:
            continue
        for wrong in (old[:-1], old + old[-1], old.upper(), f"{old} "):
            content = copy.deepcopy(CONTENTS[name])
            at(content, place[:-1])[place[-1]] = wrong
            told = [line for line in lines_of(content) if f"found {wrong!r}; " in line]
            where = text_of(place[:-1] if keys[-1] == "groups" else place)
            assert len(told) == 1 and told[0].startswith(f"{where}: found {wrong!r}; "), (wrong, told)
            assert wrong.isupper() or "did you mean" in told[0], told
            count += 1
    assert count >= 60


def test_every_entry_that_is_renamed_or_gone_is_missed_where_it_is_named() -> None:
    for name, place in all_places():
        if len(place) != 2 or place[0] not in DECLARED or place[0] in ("figures", "claims"):
            continue
        for new in (None, f"{place[1]}x"):
            content = copy.deepcopy(CONTENTS[name])
            entry = content[place[0]].pop(place[1])
            if new is not None:
                content[place[0]][new] = entry
            if place[0] == "finetunings" and new is not None:
                load_config(content, [])  # nothing refers to its name
                continue
            lines = lines_of(content)
            assert any(f"found '{place[1]}" in line or "nothing is fine-tuned" in line for line in lines), lines


def test_all_mistakes_of_the_schema_come_at_once_a_line_each() -> None:
    def change(content: Any) -> None:
        content["recipes"]["erm"]["epochz"] = 1
        content["probes"]["tiny"]["weight_decays"] = [-1.0]
        content["networks"]["erm"]["seeds"] = "0"

    assert len(mistakes_of(change)) == 3


def test_all_references_that_are_wrong_come_at_once_a_line_each() -> None:
    def change(content: Any) -> None:
        content["representations"]["cat"]["of"] = "nobody"
        content["targets"]["mnist"]["probe"] = "missing"
        content["networks"]["erm"]["recipe"] = "none"
        content["finetunings"]["tiny"]["two_stage"]["settings"] = ["lr1"]
        content["tables"]["table1"]["columns"][0]["target"] = "nowhere"
        content["figures"]["accuracy"]["rows"][0]["table"] = "table9"

    assert len(mistakes_of(change)) == 6


def test_a_mistake_in_one_table_does_not_hide_those_of_another() -> None:
    def change(content: Any) -> None:
        content["tables"]["table1"]["rows"][0]["group"] = "nobody"
        content["tables"]["table2"]["columns"][1]["shots"] = 7
        content["figures"]["similarity"]["groups"][0]["seeds"] = [7]

    assert len(mistakes_of(change)) == 3


def test_a_template_which_snakemake_would_execute_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text in ("__use_yte__: true\n", "__use_yte__: false\n", "a: &a {__use_yte__: true}\n<<: *a\n"):
        path.write_text(f"{text}results: ?open('pwned', 'w')\n")
        for load in (lambda: read_config(path), lambda: load_config(TINY, [path])):
            with pytest.raises(UserError, match="config.yaml: __use_yte__: found; must not be in a config"):
                load()


def test_numbers_with_an_exponent_are_numbers_to_every_loader(tmp_path: Path) -> None:
    content = copy.deepcopy(TINY)
    content["recipes"]["erm"]["weight_decay"] = "1e-4"
    assert load_config(content, []).recipes["erm"].weight_decay == 1e-4


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: {c: 1, c: 2}\n", "b.c: given twice, in lines 2 and 2; must be given once"),
        ("a: 1\na: 2\n", "a: given twice, in lines 1 and 2; must be given once"),
        ("a:\n- x: 1\n  x: 1\n", "a[0].x: given twice, in lines 2 and 3; must be given once"),
    ],
)
def test_a_key_given_twice_is_a_mistake(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(TINY, [path])
    assert line in str(caught.value)


BROKEN = """
networks: {erm: {origin: pretrain, arch: resnet8, target: [nowhere], recipe: erm, seeds: [0], seeds: [1]}}
results: 3
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_clone(tmp_path_factory.mktemp("clone"))


def refused(clone: Path, content: str | bytes) -> str:
    """What the workflow says of a config that it refuses before any job."""
    path = clone / "workflow/config/broken.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    result = run_snakemake(clone, config="broken")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output and "rule" not in output, output
    assert not (clone / "results/tiny").exists() and not (clone / "pwned").exists()
    return output


def test_the_workflow_refuses_a_bad_config_without_a_traceback(clone: Path) -> None:
    output = refused(clone, BROKEN)
    for line in (
        "networks.erm.seeds: given twice",
        "results: found 3",
        "networks.erm.target: found ['nowhere']",
        "targets: missing",
    ):
        assert f"  {line}" in output


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop("recipes", "erm", "epochs"), "recipes.erm.epochs: missing"),
        (put("tables", {}), "tables: found {}; "),
        (put("recipes", "erm", "learning_rate", math.nan), "recipes.erm.learning_rate: found nan"),
        (put("recipes", "erm", "epochs", 10**30), "recipes.erm.epochs: found 1000"),
        (put("finetunings", "tiny", "networks", [["erm"]]), "finetunings.tiny.networks[0]: found ['erm']"),
        (
            put("tables", "table1", "rows", 0, "group", "a\n\x1b[31mb"),
            "tables.table1.rows[0].group: found 'a\\n\\x1b[31mb'",
        ),
        (put("targets", None), "targets: found None"),
    ],
)
def test_a_mistake_of_each_kind_is_reported_after_yaml_as_before(change: Any, expected: str) -> None:
    """As the workflow reads it. One of them through Snakemake, below."""
    content = copy.deepcopy(TINY)
    change(content)
    with pytest.raises(UserError) as caught:
        load_config(yaml.safe_load(yaml.safe_dump(content)), [])
    assert f"  {expected}" in str(caught.value)


def test_the_workflow_shows_no_control_characters(clone: Path) -> None:
    content = copy.deepcopy(TINY)
    put("tables", "table1", "rows", 0, "group", "a\n\x1b[31mb")(content)
    assert "  tables.table1.rows[0].group: found 'a\\n\\x1b[31mb'" in refused(clone, yaml.safe_dump(content))


# Aliases of aliases: a few lines of YAML that stand for 9 ** 8 values.
BOMB = "a: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"b{number}: &a{number + 1} [{', '.join([f'*a{number}'] * 9)}]\n" for number in range(8)
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "must be given as JSON or YAML with keys at top level"),
        ("- networks\n", "must be given as JSON or YAML with keys at top level"),
        ("networks:\n\t- a\n", "is not valid JSON or YAML"),
        ("networks: !!python/object/apply:os.system [touch pwned]\n", "is not valid JSON or YAML"),
        (
            f"{BOMB}networks: {{}}\n",
            "broken.yaml: more than 200000 values, with those that aliases stand for; must be fewer",
        ),
    ],
    ids=["empty", "a list", "a tab", "an object of Python", "aliases of aliases"],
)
def test_the_workflow_refuses_a_file_that_is_no_config(clone: Path, content: str, expected: str) -> None:
    output = refused(clone, content)
    assert expected in output and len(output.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found None; must be a mapping"),
        (b"- 1\n", "found [1]; must be a mapping"),
        (b"hello", "found 'hello'; must be a mapping"),
        (b"networks:\n\t- a\n", "not YAML: "),
        (b"networks: [\n", "not YAML: "),
        ("networks: {\xe9: 1}\n".encode("latin-1"), "not in UTF-8; save it as UTF-8"),
        ("networks: {}\n".encode("utf-16"), "not in UTF-8; save it as UTF-8"),
        (b"networks: !!python/object/apply:os.system [touch pwned]\n", "not YAML: "),
        (b"networks: {}\nresults: " + b"9" * 5000, "not YAML: "),
        (b"networks: {[1]: 2}\n", "not YAML: "),
        (b"networks: 2001-99-99\n", "not YAML: "),
        (b"a: 1\n---\na: 1\n", "not YAML: "),
        (b"networks: " + b"[" * 3000 + b"]" * 3000, "values in values, too deep; must be at most 50 levels"),
        (None, "cannot be read (Is a directory); name the config of an experiment"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "config.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: {expected}") and "\n" not in str(caught.value)
    assert not Path("pwned").exists()
    with pytest.raises(UserError, match="none.yaml: missing; name the config of an experiment"):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (BOMB, "more than 200000 values"),
        ("a: &a {b: *a}\n", "values in values, too deep"),
        ("a: &a [*a]\n", "values in values, too deep"),
        (f"a: {'[' * 60}{']' * 60}\n", "values in values, too deep"),
    ],
)
def test_values_without_an_end_are_one_line(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_config(read_config(path), [path])
    assert str(caught.value).startswith(f"{path}: {expected}") and "\n" not in str(caught.value)


def test_the_paper_is_planned_on_a_fresh_clone_without_data(tmp_path: Path) -> None:
    folder = copy_clone(tmp_path)
    (folder / "data").unlink()
    output = snakemake(folder, "results/table2.csv", options=("--dry-run",), config=None)
    assert "probe" in output and "extract" in output
