"""What an experiment costs before it runs: jobs against numbers worked out by hand."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rrl.cli.plan import HOUR, SPEED, START, Cost, NotKnown, estimate, job_cost, lines, totals, trunk_facts
from rrl.cli.text import markdown
from rrl.config.load import load_plan, load_plans
from rrl.config.settings import ImageSource, LibraryModel, PaperSource
from rrl.errors import UserError
from rrl.jobs import Planned, behind
from rrl.jobs.networks import ImportNetwork, Target
from rrl.plan import Plan
from tests.helpers.clones import CLONE, copy_clone, planned_jobs

RESNET50 = 4_087_136_256  # multiply-adds of an image of 224 pixels, without the head
TINY, CLAIMS = (CLONE / f"workflow/config/{name}.yaml" for name in ("tiny", "claims"))


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return load_plans(CLONE / "config.yaml")


@pytest.fixture(scope="module")
def estimates(plans: dict[str, Plan]) -> dict[str, dict[str, Any]]:
    return {grid: totals(plan) for grid, plan in plans.items()}


# Networks


@pytest.mark.parametrize(
    ("arch", "size", "facts"),
    [
        ("resnet8", 28, (644_896, 19_480, 32)), ("resnet8w2", 28, (2_551_360, 77_104, 64)),
        ("resnet50", 224, (RESNET50, 23_508_032, 2048)), ("4xresnet50", 224, (4 * RESNET50, 4 * 23_508_032, 8192)),
        ("cifar_resnet18", 32, (555_417_600, 11_168_832, 512)), ("resnet50w5", 224, None),
        ("regnet_y_32gf", 224, (32_275_840_832, 141_333_770, 3712)), ("vit_b16", 384, None),
        ("torchvision/resnet50", 224, (RESNET50, 23_508_032, 2048)),
        ("2xtimm/resnet50", 224, (2 * RESNET50, 2 * 23_508_032, 4096)),
    ],
)  # fmt: skip
def test_networks_are_counted_as_published(arch: str, size: int, facts: tuple[int, int, int] | None) -> None:
    counted = trunk_facts(arch, size)
    assert counted == facts if facts else counted > (RESNET50, 23_508_032, 0)


def test_a_network_that_cannot_be_counted_is_not_known() -> None:
    for arch, size in (("torchvision/regnet_y_400mf", 224), ("torchvision/vit_b_16", 100)):
        with pytest.raises(NotKnown):
            trunk_facts(arch, size)
    with pytest.raises(UserError, match="has no such model"):
        trunk_facts("timm/no_such_model")


# Jobs, by hand


def hours(flops: float) -> float:
    return flops / SPEED / HOUR


def imagenet(classes: int = 1000) -> Planned:
    return Planned("target", "targets/imagenet", Target(source=PaperSource("imagenet", classes, 0.02, 0), pins={}))


def test_features_of_a_resnet50_on_imagenet(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    cost = job_cost(plan.features("imagenet", "erm-s0"), plan)
    images = 1_281_167 + 50_000  # val is taken from the training images
    assert cost.gpu_hours == pytest.approx(hours(images * 2 * RESNET50)) == pytest.approx(0.0484, abs=1e-4)
    assert cost.cpu_hours == pytest.approx((images * 0.005 + START) / 3600)
    assert cost.features == images * (2 * 2048 + 8)  # float16, and a label of 8 bytes
    assert (cost.networks, cost.logits, cost.unknown) == (0, 0, 0)


def test_views_cost_passes_over_train_and_val(plans: dict[str, Plan]) -> None:
    job = plans["recommended"].features("cifar10", "erm-s0")
    kept = replace(job.settings.features, views=3, dtype="float32")
    cost = job_cost(replace(job, settings=replace(job.settings, features=kept)), plans["recommended"])
    rows = 3 * 45_000 + (1 + 3) * 5_000 + 10_000
    assert cost.gpu_hours == pytest.approx(hours(rows * 2 * RESNET50))
    assert cost.features == rows * 4 * 2048 + 60_000 * 8


@pytest.mark.parametrize("kind", ["finetuned", "network"])
def test_a_setting_of_fine_tuning_on_cifar10(plans: dict[str, Plan], kind: str) -> None:
    plan = plans["recommended"]
    cost = job_cost(getattr(plan, kind)("erm-s0.cifar10.paper-lr0.01-wd0.0001-e100"), plan)
    passes = 3 * 100 * 50_000 + 100 * 10_000 + 5_000 + 10_000  # training; each epoch on test; at the end val and test
    assert cost.gpu_hours == pytest.approx(hours(passes * 2 * RESNET50)) == pytest.approx(0.583, abs=1e-3)
    assert cost.cpu_hours == pytest.approx((0.001 * (100 * 50_000 + 100 * 10_000 + 15_000) + START) / 3600)
    assert cost.networks == 4 * (23_508_032 + 2048 * 10 + 10)  # two stages start from it
    assert cost.logits == 15_000 * (4 * 10 + 8)


def test_weights_are_kept_only_for_a_second_stage(plans: dict[str, Plan]) -> None:
    plan = plans["published"]
    wide, other = (f"{name}.cifar10.paper-lr{rate}-wd0.0001-e100" for name, rate in (("wide2-s0", 0.01), ("erm-s0", 0.05)))  # fmt: skip
    assert [job_cost(plan.finetuned(run), plan).networks for run in (wide, other)] == [0, 0]


def test_a_linear_probe(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    cost = job_cost(plan.record("cifar100", "cat4", "linear_probe"), plan)
    head = 2 * 4 * 2048 * 100 * 6  # 6 weight decays
    assert cost.gpu_hours == pytest.approx(hours(head * 3 * 28 * (45_000 + 50_000)))  # heldout, paper
    assert cost.logits == 15_000 * (2 * 4 * 100 + 8)
    quarter = job_cost(plan.record("cifar100", "wide2-s0.0-2048", "linear_probe"), plan)
    assert quarter.gpu_hours == pytest.approx(cost.gpu_hours / 4)


def test_a_second_stage(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    cost = job_cost(plan.record("inaturalist18", "cat2", "two_stage"), plan)
    head = 2 * 2 * 2048 * 8142
    assert cost.gpu_hours == pytest.approx(hours(3 * head * 3 * 437_513))  # 3 settings, one epoch
    assert cost.logits == (43_751 + 24_426) * (4 * 8142 + 8)
    averaged = job_cost(plan.record("inaturalist18", "cat2", "averaged_head"), plan)
    assert (averaged.gpu_hours, averaged.logits) == (0, cost.logits)


def test_features_of_the_members_of_a_concatenation_count_once(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    jobs = behind([plan.record("imagenet", name, "linear_probe") for name in ("cat10", "cat5", "cat2", "erm-s0")])
    assert sum(job_cost(job, plan).features for job in jobs if job.stage == "extract") == 10 * 1_331_167 * 4104
    assert sum(job_cost(job, plan).networks for job in jobs) == 10 * 4 * 23_508_032


def test_networks_of_several_trunks_and_transformers(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    joint, vit = (job_cost(plan.features(*names), plan) for names in (("cifar10", "joint4-s0"), ("imagenet-384-vit", "vit_b16-s0")))  # fmt: skip
    assert joint.gpu_hours == pytest.approx(hours(60_000 * 2 * 4 * RESNET50))
    assert vit.gpu_hours == pytest.approx(hours(1_331_167 * 2 * 55_483_582_464))


def test_trainings_of_the_claims() -> None:
    plan = load_plan(CLAIMS)
    pretrained = job_cost(plan.network("wide2-s20"), plan)
    assert pretrained.gpu_hours == pytest.approx(hours(3 * 6 * 10_000 * 2 * 2_551_360))
    assert pretrained.networks == 4 * (77_104 + 65 * 5)
    assert job_cost(plan.network("random-s50"), plan).gpu_hours == pytest.approx(hours(10_000 * 2 * 644_896))
    finetuned = job_cost(plan.finetuned("erm-s0.mnist.heldout-lr0.8-wd0.0005-e8"), plan)
    passes = 3 * 8 * 20 * 64 + 8 * 300 + 300 + 3_700
    assert finetuned.gpu_hours == pytest.approx(hours(passes * 2 * 644_896))
    probe = job_cost(plan.record("mnist", "erm-s0", "linear_probe"), plan)
    steps = 3 * 20 * 20 * 128
    assert probe.gpu_hours == pytest.approx(hours(2 * 2 * steps * 2 * 32 * 10 * 9))
    assert probe.logits == 4_000 * (4 * 4 * 10 + 8)


def test_a_search_for_the_best_subset_tries_every_member_at_every_size() -> None:
    plan = load_plan(TINY)
    probe = plan.record("fashion-source", "cat2", "linear_probe")
    search = replace(probe, settings=replace(probe.settings, solver="best_subset"))
    columns = 2 * 32 + 64  # each of two, then both
    assert job_cost(search, plan).gpu_hours == pytest.approx(hours(2 * columns * 5 * 2 * 3 * 2 * 500))


def test_what_is_not_known_is_counted(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    job = plan.features("imagenet", "erm-s0")
    source = ImageSource("images", "birds", "0" * 16, "stop", 0.1, 0.1, 0)
    birds = Planned("target", "targets/birds", Target(source=source, pins={}))
    network = Planned(
        "import_network", "networks/a-s0", ImportNetwork(source=LibraryModel("library", "timm/resnet18", 0))
    )
    unknown = Cost(cpu_hours=START / 3600, unknown=1)
    for target in (birds, imagenet(classes=10)):
        assert job_cost(replace(job, inputs=(target, network)), plan) == unknown
    assert job_cost(replace(job, inputs=(imagenet(), network)), plan).features == 1_331_167 * (2 * 512 + 8)
    sums = {"in all": {"jobs": 1} | unknown._asdict()}
    table = "\n".join(lines({"config": "x", "grids": {"own": sums}, "downloads": 0, "assumptions": []}))
    assert "| in all |    1 |     0 + ? | < 0.01 + ? |" in table


# An experiment


def test_jobs_are_those_that_snakemake_would_run(tmp_path: Path) -> None:
    expected = planned_jobs(copy_clone(tmp_path), config="claims")
    assert len(expected) > 10
    assert totals(load_plan(CLAIMS))["in all"]["jobs"] == sum(expected.values())


def test_tables_and_figures_add_up_to_more_than_all(estimates: dict[str, dict[str, Any]]) -> None:
    for parts in estimates.values():
        whole = parts["in all"]
        for key in ("jobs", "gpu_hours", "cpu_hours", "features", "networks", "logits"):
            together = sum(part[key] for name, part in parts.items() if name != "in all")
            assert (1 + 1e-9) * together >= whole[key] > 0
            assert all(part[key] <= whole[key] for part in parts.values())
        assert whole["unknown"] == 0


def test_the_published_grid_costs_more_where_networks_are_fine_tuned(estimates: dict[str, dict[str, Any]]) -> None:
    recommended, published = estimates["recommended"], estimates["published"]
    for table in ("table1", "table4", "in all"):
        assert published[table]["jobs"] > recommended[table]["jobs"]
        assert published[table]["gpu_hours"] > 3 * recommended[table]["gpu_hours"]
        assert published[table]["logits"] > recommended[table]["logits"]
        assert published[table]["features"] == recommended[table]["features"]
    for table in ("table2", "table3"):
        assert published[table] == recommended[table]


def plan_of(*words: str | Path, folder: Path = CLONE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rrl.cli", "plan", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_papers_costs_show_both_grids_and_what_is_assumed() -> None:
    result = plan_of()
    assert result.returncode == 0, result.stderr
    assert "config.yaml: what it costs. Where grids differ: recommended / published." in result.stdout
    assert re.search(r"^\| in all      \| 1,176 / 1,945 \|", result.stdout, flags=re.MULTILINE)
    assert "one A100 in bf16 at 20 % of 312 TFLOP/s" in result.stdout
    assert "Published networks: 39 files to download." in result.stdout and "?" not in result.stdout


@pytest.mark.parametrize("path", [TINY, CLAIMS])
def test_other_experiments_have_one_grid_and_no_downloads(path: Path) -> None:
    content = estimate(path, missing=False)
    assert list(content["grids"]) == ["own"] and content["downloads"] == 0
    output = "\n".join(lines(content))
    assert " / " not in output.partition("Assumptions")[0].replace(str(path), "") and "?" not in output
    assert "\n| in all      |" in output and "download" not in output.partition("Assumptions")[0]


def test_what_exists_can_be_left_out(tiny: Path) -> None:
    path = tiny / "results/tiny/records/mnist/cat2/ensemble.json"
    aside = path.rename(tiny / "aside.json")  # and back: other tests go by its time
    try:
        result = plan_of("workflow/config/tiny.yaml", "--missing", "--json", folder=tiny)
    finally:
        aside.rename(path)
    parts = json.loads(result.stdout)["grids"]["own"]
    assert {name: part["jobs"] for name, part in parts.items()} == {
        "table1": 0, "table2": 1, "all figures": 1, "in all": 1,
    }  # fmt: skip


def test_a_missing_or_wrong_config_is_refused(tmp_path: Path) -> None:
    result = plan_of(tmp_path / "none.yaml")
    assert result.returncode == 1 and "missing; name the config" in result.stderr and "Traceback" not in result.stderr
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | {"grid": "all of it"}))
    result = plan_of(path)
    first, second = result.stderr.splitlines()
    assert (result.returncode, first) == (1, f"Error: {path}: 1 mistake")
    assert second.startswith("  grid: found 'all of it'")


def test_a_table_is_aligned() -> None:
    assert list(markdown(["", "jobs"], [["in all", "1,169"], ["t", "1"]])) == [
        "|        |  jobs |",
        "|--------|------:|",
        "| in all | 1,169 |",
        "| t      |     1 |",
    ]
