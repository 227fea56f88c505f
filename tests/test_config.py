"""Bad configs: every mistake in a line of its own, all at once, before any job."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CLONE, copy_clone, run_snakemake, snakemake

from rrl.config import load_config
from rrl.errors import UserError

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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("recipes", "erm", "epoch", 3), "recipes.erm.epoch: unknown key; did you mean epochs? allowed: epochs, "),
        (put("networks", "erm", "sed", 3), "networks.erm.sed: unknown key; did you mean seeds? allowed: origin, arch"),
        (put("tables", "table2", "rows", 0, "color", 1), "tables.table2.rows[0].color: unknown key; allowed: method"),
        (put("probe", {}), "probe: unknown key; did you mean probes?"),
        (drop("recipes", "erm", "epochs"), "recipes.erm.epochs: missing; this key is required"),
        (drop("networks", "erm", "recipe"), "networks.erm.recipe: missing; this key is required"),
        (drop("networks"), "networks: missing; this key is required"),
        (put("recipes", "erm", "epochs", "many"), "recipes.erm.epochs: found 'many'; input should be a valid integer"),
        (put("recipes", "erm", "nesterov", 1), "recipes.erm.nesterov: found 1; input should be a valid boolean"),
        (put("networks", "erm", "seeds", 3), "networks.erm.seeds: found 3; input should be a valid list"),
        (put("networks", "erm", "seeds", [1, 1]), "networks.erm.seeds: found [1, 1]; entries must differ"),
        (put("networks", "erm", "origin", "pretrained"), "networks.erm.origin: found 'pretrained'; did you mean pretrain?"),
        (drop("networks", "erm", "origin"), "networks.erm.origin: missing; this key is required"),
        (put("targets", "mnist", "dataset", "mnist"), "targets.mnist.dataset: found 'mnist'; did you mean mnist-5k?"),
        (put("probes", "tiny", "weight_decays", [0.1, -1]), "probes.tiny.weight_decays[1]: found -1"),
        (put("probes", "tiny", "schedule", {"name": "step", "factor": 1}), "probes.tiny.schedule.milestones: missing"),
        (put("targets", "mnist", "shots", [5, "most"]), "targets.mnist.shots[1]: found 'most'; allowed: a whole number"),
        (put("targets", "mnist", "probe", "tini"), "targets.mnist.probe: found 'tini'; did you mean tiny? allowed: tiny"),
        (put("networks", "erm", "target", "imagenet"), "networks.erm.target: found 'imagenet'; allowed: fashion-source"),
        (put("networks", "erm", "recipe", "x"), "networks.erm.recipe: found 'x'; allowed: erm"),
        (put("networks", "new", {"origin": "download", "checkpoint": "supervised-resnet5", "seeds": [0]}), "networks.new.checkpoint: found 'supervised-resnet5'; did you mean supervised-resnet50?"),
        (put("networks", "new", {"origin": "download", "checkpoint": "supervised-resnet50", "seeds": [3, 10]}), "networks.new.seeds: found 10; supervised-resnet50 has 10 networks, allowed are 0 to 9"),
        (put("networks", "Big Net", TINY["networks"]["erm"]), "networks.Big Net: found name 'Big Net'; allowed are a-z"),
        (put("networks", "erm", "arch", "resnet9"), "networks.erm.arch: found 'resnet9'; allowed"),
        (put("representations", "cat", "of", "erm2"), "representations.cat.of: found 'erm2'; did you mean erm?"),
        (put("representations", "cat", "sizes", [2, 3]), "representations.cat.sizes: found 3; erm has 2 seeds"),
        (put("representations", "wide3", {"columns": [[0, 1]]}), "representations.wide3: found 'wide3'; did you mean wide2"),
        (put("representations", "wide2", {"columns": [[3, 2]]}), "representations.wide2.columns[0]: found [3, 2]"),
        (put("representations", "wide2", {"columns": [[0, 65]]}), "representations.wide2.columns[0]: found [0, 65]"),
        (put("tables", "table2", "rows", 0, "group", "cat9"), "tables.table2.rows[0].group: found 'cat9'; did you mean cat2"),
        (put("tables", "table2", "rows", 0, "ensemble", True), "tables.table2.rows[0].ensemble: found true; random has one"),
        (put("tables", "table1", "columns", 0, "shots", 5), "tables.table1.columns[0].shots: found 5; allowed are those of f"),
        (put("tables", "table1", "columns", 1, "target", "fashion-source"), "tables.table1.columns[1].target: found fashion-s"),
        (drop("tables", "table1", "columns", 0), "tables.table1.rows[0].group: found erm, which would be an empty row"),
        (put("tables", "table1", "columns", 0, "transfer", "tune"), "tables.table1.columns[0].transfer: found 'tune'; input"),
        (put("finetunings", "tiny", "targets", {"mnits": 5}), "finetunings.tiny.targets: found 'mnits'; did you mean mnist?"),
        (put("finetunings", "tiny", "targets", {"mnist": 21}), "finetunings.tiny.targets.mnist: found 21; allowed are at most"),
        (put("finetunings", "two", TINY["finetunings"]["tiny"]), "finetunings.two.targets: found mnist, which is in finetun"),
        (put("finetunings", "tiny", "selections", ["test"]), "finetunings.tiny.selections[0]: found 'test'; input should be"),
        (
            put("finetunings", "tiny", "two_stage", "settings", ["lr0.1-wd5e-4-e2"]),
            "finetunings.tiny.two_stage.settings[0]: found 'lr0.1-wd5e-4-e2'; did you mean lr0.1-wd0.0005-e2?",
        ),
        (
            put("figures", "accuracy", "rows", 1, "series", 0, "groups", ["wide2"]),
            "figures.accuracy.rows[1].series[0].groups: found wide2; allowed are groups of two or more networks",
        ),
        (
            put("figures", "accuracy", "rows", 1, "series", 1, "groups", ["wide2"]),
            "figures.accuracy.rows[1].series[1].groups: found 'wide2', ensemble False; allowed are rows of tables.table1",
        ),
        (
            put("figures", "accuracy", "rows", 1, "panels", 0, "shots", 5),
            "figures.accuracy.rows[1].series[0].transfer: found 'two_stage' on 'mnist', shots 5; allowed are columns of ta",
        ),
        (put("figures", "accuracy", "rows", 0, "table", "tab"), "figures.accuracy.rows[0].table: found 'tab'; did you mean ta"),
        (put("tables", "table2", "columns", 1, "target", "cifar"), "tables.table2.columns[1].target: found 'cifar'"),
        (put("tables", "table2", "columns", 1, "shots", 7), "tables.table2.columns[1].shots: found 7; allowed are those"),
        (put("features", "views", 0), "features.views: found 0; input should be greater than or equal to 1"),
        (put("targets", "mnist", "transform", {"mean": 0.1, "std": 1.0, "pad": 0, "flip": False}), "features.views: found 2"),
        (put("tables", "records", TINY["tables"]["table2"]), "tables.records: found name 'records'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(change: Any, expected: str) -> None:
    lines = mistakes_of(change)
    assert any(line.startswith(expected) for line in lines), lines


def test_all_mistakes_come_at_once_a_line_each() -> None:
    def change(content: Any) -> None:
        content["recipes"]["erm"]["epochz"] = 1
        content["probes"]["tiny"]["weight_decays"] = [-1.0]
        content["networks"]["erm"]["seeds"] = "0"
        content["representations"]["cat"]["of"] = "nobody"
        content["targets"]["mnist"]["probe"] = "missing"

    assert len(mistakes_of(change)) == 5


def test_numbers_with_an_exponent_are_numbers_to_every_loader(tmp_path: Path) -> None:
    content = copy.deepcopy(TINY)
    content["recipes"]["erm"]["weight_decay"] = "1e-4"
    assert load_config(content, []).recipes["erm"].weight_decay == 1e-4


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: {c: 1, c: 2}\n", "b.c: given twice, in lines 2 and 2; allowed is once"),
        ("a: 1\na: 2\n", "a: given twice, in lines 1 and 2; allowed is once"),
        ("a:\n- x: 1\n  x: 1\n", "a[0].x: given twice, in lines 2 and 3; allowed is once"),
    ],
)
def test_a_key_given_twice_is_a_mistake(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(TINY, [path])
    assert line in str(caught.value)


BROKEN = """
networks: {erm: {origin: pretrain, arch: resnet8, target: nowhere, recipe: erm, seeds: [0], seeds: [1]}}
results: 3
"""


def test_the_workflow_refuses_a_bad_config_without_a_traceback(tmp_path: Path) -> None:
    folder = copy_clone(tmp_path)
    (folder / "workflow/config/broken.yaml").write_text(BROKEN)
    result = run_snakemake(folder, config="broken")
    assert result.returncode == 1
    output = result.stdout + result.stderr
    assert "Traceback" not in output and "rule" not in output
    for line in (
        "networks.erm.seeds: given twice",
        "results: found 3",
        "networks.erm.target: found 'nowhere'",
        "targets: missing",
    ):
        assert f"  {line}" in output
    assert not (folder / "results/tiny").exists()


def test_a_file_that_is_not_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("networks: [\n")
    with pytest.raises(UserError, match="not YAML"):
        load_config(TINY, [path])


def test_the_paper_is_planned_on_a_fresh_clone_without_data(tmp_path: Path) -> None:
    folder = copy_clone(tmp_path)
    (folder / "data").unlink()
    output = snakemake(folder, "results/table2.csv", options=("--dry-run",), config=None)
    assert "probe" in output and "extract" in output
