"""The paper's tables as config.yaml declares them: every published value has its cell, every cell its networks."""

import csv
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from rrl.cells import parameters_text
from rrl.config import paper
from rrl.config.load import load_config
from rrl.networks.architectures import parse_architecture
from rrl.networks.checkpoints import checkpoints
from rrl.plan import Plan
from tests.helpers.clones import CLONE, copy_clone, planned_jobs

CONTENT = yaml.safe_load((CLONE / "config.yaml").read_text())
CONFIG = load_config(CONTENT, [])
PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())
PLAN = Plan(CONFIG, PINS)
PARAMETERS = {
    "resnet50": 23_508_032, "resnet50w2": 93_907_072, "resnet50w4": 375_378_176, "2xresnet50": 47_016_064,
    "4xresnet50": 94_032_128,
}  # fmt: skip


def cells() -> dict[paper.Key, list[tuple[str, bool]]]:
    """(table, method, target, transfer) -> the declared cells that show it."""
    found: dict[paper.Key, list[tuple[str, bool]]] = {}
    for name, table in CONFIG.tables.items():
        for row in table.rows:
            for column in table.columns:
                transfer = PLAN.cell(row, column)
                if transfer is not None and table.paper is not None:
                    found.setdefault((table.paper, row.method, column.target, transfer), []).append(
                        (name, row.ensemble)
                    )
    return found


def test_every_published_value_has_exactly_one_cell_or_a_reason_why_not() -> None:
    found = cells()
    values = paper.paper_values()
    assert len(values) == 229
    assert [key for key, value in values.items() if not value.excluded and len(found.get(key, [])) != 1] == []
    excluded = {key: value.excluded for key, value in values.items() if value.excluded}
    assert [key[1] for key in excluded] == ["VIT-H14"] and all(excluded.values())
    assert not set(excluded) & set(found)


def test_cells_without_a_published_value_are_known() -> None:
    """Our own controls: ensembles of fine-tuned networks, joint networks under probing, averaged heads."""
    without = Counter((table, transfer) for table, _, _, transfer in set(cells()) - set(paper.paper_values()))
    assert without == {
        (1, "ensemble_finetune"): 12,
        (2, "linear_probe"): 8,
        (3, "averaged_head"): 2,
        (4, "ensemble_finetune"): 4,
        (4, "averaged_head"): 7,
        (4, "finetune"): 1,
    }


def test_the_parameters_column() -> None:
    """Of ERM, WIDE2, WIDE4, JOINT2, JOINT4, CAT2, 4, 5, 10, DISTILL5, in millions."""
    shown = []
    for row in CONFIG.tables["table1"].rows:
        networks = {member.network for member in PLAN.representations[PLAN.groups[row.group][0]]}
        families = [CONFIG.networks[PLAN.networks[network][0]] for network in networks]
        count = sum(PARAMETERS[checkpoints()[family.checkpoint].arch] for family in families)  # type: ignore[union-attr]
        shown += [parameters_text(count)] if not row.ensemble else []
    assert shown == [
        "23.5M", "93.9M", "375M", "47M", "94M", "47M", "94M", "118M", "235M", "23.5M",
    ]  # fmt: skip


def test_columns_are_those_of_one_network_of_the_paper() -> None:
    for name in ("wide2", "wide4"):
        arch = checkpoints()[CONTENT["networks"][name]["checkpoint"]].arch
        columns = CONTENT["representations"][name]["columns"]
        assert columns[0][0] == 0 and columns[-1][1] == parse_architecture(arch).feature_dim
        assert {stop - start for start, stop in columns} == {2048}


def test_no_network_is_extracted_twice_on_a_target_and_no_trunk_is_converted_twice() -> None:
    """The counts that docs/paper.md explains."""
    extractions = Counter(job.artifact.split("/")[1] for job in PLAN.jobs if job.stage == "extract")
    inputs = [(job.inputs[0].artifact, job.inputs[1].key, job.key) for job in PLAN.jobs if job.stage == "extract"]
    assert len(set(inputs)) == len(inputs)
    files = [job.settings.source.file for job in PLAN.jobs if job.stage == "import_network"]
    assert len(files) == len(set(files)) == 39
    # 15 supervised, 8 of SWAV and 4 of SEER on four targets; 4 pretrained and 4 fine-tuned ViTs; 4 fine-tuned SEER;
    # and fine-tuned here: 10 ERM networks at 4 and 4 and 3 weight decays, 8 of SWAV at 3.
    assert extractions == {
        "imagenet": 27 + 24, "inaturalist18": 27 + 30, "cifar10": 27 + 40, "cifar100": 27 + 40,
        "imagenet-384-vit": 8, "imagenet-384": 4,
    }  # fmt: skip


def test_the_dry_run_of_all_tables_on_a_fresh_clone_without_data(tmp_path: Path) -> None:
    folder = copy_clone(tmp_path)
    (folder / "data").unlink()
    jobs = planned_jobs(folder, *(f"results/table{number}.csv" for number in (1, 2, 3, 4)), config=None)
    assert jobs == {
        "download": 39, "target": 6, "import_network": 39, "extract": 254, "represent": 251, "probe": 182, "ensemble": 68,
        "finetune": 111, "finetune_kept": 134, "merge": 69, "averaged_head": 29,
        "two_stage": 21, "table": 4,
    }  # fmt: skip


@pytest.mark.parametrize("change", ["added", "removed", "corrected"])
def test_a_published_value_changes_its_table_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with open(paper.FILE, newline="") as file:
        rows = list(csv.reader(file))
    at = next(number for number, row in enumerate(rows) if row[:4] == ["2", "CAT4", "cifar100", "linear_probe"])
    if change == "removed":
        del rows[at]
    elif change == "corrected":
        rows[at][4] = "12.3"
    else:
        rows.append([*rows[at][:1], "JOINT2", *rows[at][2:]])
    with open(tmp_path / "values.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    monkeypatch.setattr(paper, "FILE", tmp_path / "values.csv")
    paper.paper_values.cache_clear()
    try:
        changed = {job.artifact: job.key for job in Plan(CONFIG, PINS).jobs}
    finally:
        paper.paper_values.cache_clear()
    shown = {"table2"} if change == "added" else {"table2", "figures/networks"}  # which draws no JOINT2
    assert {job.artifact for job in PLAN.jobs if changed[job.artifact] != job.key} == shown


def test_both_grids_can_be_planned() -> None:
    published = Plan(load_config(CONTENT | {"grid": "published"}, []), PINS)
    counts = [Counter(job.stage for job in plan.jobs) for plan in (PLAN, published)]
    assert counts[1]["finetune"] > 2 * counts[0]["finetune"]
    assert {stage: count for stage, count in counts[0].items() if count != counts[1][stage]} == {
        "finetune": counts[0]["finetune"]
    }


def test_the_commands_that_docs_name_are_in_the_makefile() -> None:
    listed = subprocess.run(["make", "-n", "plan", "status"], cwd=CLONE, capture_output=True, text=True, check=True)
    assert "rrl.cli plan" in listed.stdout and "rrl.cli status" in listed.stdout
