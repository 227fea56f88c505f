"""What an experiment costs: constants against counted operations, jobs against numbers worked out by hand."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from rrl.cli.costs import cells, main, markdown
from rrl.cli.estimate import (
    ALL,
    FACTS,
    HOUR,
    SPEED,
    START,
    TRANSFORMERS,
    Cost,
    Costs,
    Estimate,
    NotKnown,
    counted,
    distinct,
    feature_dim,
    multiply_adds,
    parameters,
    total,
)
from rrl.config.load import load_plan, load_plans
from rrl.errors import UserError
from rrl.jobs import Planned, behind
from rrl.networks.architectures import NAMED
from rrl.networks.trunks import build_trunk, parameter_count
from rrl.plan import Plan
from tests.helpers.clones import CLONE, copy_clone, planned_jobs

RESNET50 = 4_087_136_256  # multiply-adds of an image of 224 pixels, without the head
PHOTOGRAPHS = {"size": 224}
TINY, CLAIMS = (CLONE / f"workflow/config/{name}.yaml" for name in ("tiny", "claims"))


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return load_plans(CLONE / "config.yaml")


@pytest.fixture(scope="module")
def estimates(plans: dict[str, Plan]) -> dict[str, Estimate]:
    return {grid: Estimate(plan) for grid, plan in plans.items()}


# The constants


@pytest.mark.parametrize(
    ("arch", "size"),
    [
        ("resnet8", 28), ("resnet8w2", 28), ("4xresnet8", 28), ("resnet8rgb", 32), ("resnet8rgbw2", 64),
        ("cifar_resnet18", 32), ("cifar_resnet18w2", 32), ("cifar_resnet18w4", 32),
        ("resnet50", 224), ("resnet50w2", 224), ("resnet50w4", 224), ("resnet50w5", 224), ("2xresnet50", 224),
        ("resnet50", 384), ("resnet152", 224), ("resnet152", 384),
        ("regnet_y_32gf", 224), ("regnet_y_64gf", 224), ("regnet_y_128gf", 224), ("regnet_y_256gf", 224),
        ("regnet_y_32gf", 384), ("regnet_y_64gf", 384), ("regnet_y_128gf", 384), ("regnet_y_256gf", 384),
        ("vit_b16", 224), ("vit_b16", 384), ("vit_l16", 224), ("vit_l16", 384),
    ],
)  # fmt: skip
def test_constants_are_what_torch_counts(arch: str, size: int) -> None:
    with torch.device("meta"), torch.no_grad():
        trunk = build_trunk(arch, size).eval()
        with FlopCounterMode(display=False) as counter:
            trunk(torch.empty(1, 1 if size == 28 else 3, size, size))
    native = size <= 224
    # The squeeze and excitation of RegNets does not grow with the image, position embeddings do.
    assert 2 * multiply_adds(arch, size) == pytest.approx(counter.get_total_flops(), rel=0 if native else 1e-3)
    assert parameters(arch) == pytest.approx(parameter_count(trunk), rel=0 if native else 4e-3)
    assert feature_dim(arch) == trunk.feature_dim


def test_every_architecture_has_its_constants() -> None:
    assert {*FACTS, *TRANSFORMERS} == {*NAMED}


def test_models_of_libraries_are_counted_if_they_can_be_run_without_weights() -> None:
    assert counted("torchvision/resnet50", 224) == (RESNET50, 23_508_032, 2048)
    assert (multiply_adds("2xtimm/resnet50", 224), parameters("2xtimm/resnet50")) == (2 * RESNET50, 2 * 23_508_032)
    for arch, size in (("torchvision/regnet_y_400mf", 224), ("torchvision/vit_b_16", 100)):
        with pytest.raises(NotKnown):
            multiply_adds(arch, size)
    with pytest.raises(UserError, match="has no such model"):
        multiply_adds("timm/no_such_model", 224)


# Jobs, by hand


def hours(flops: float) -> float:
    return flops / SPEED / HOUR


def imagenet(**changed: Any) -> Planned:
    settings = {"dataset": "imagenet", "classes": 1000, "val_fraction": 0.02, "split_seed": 0}
    return Planned("paper_target", "targets/imagenet", settings | changed)


def test_features_of_a_resnet50_on_imagenet(plans: dict[str, Plan]) -> None:
    cost = Costs(plans["recommended"]).of(plans["recommended"].features("imagenet", "erm-s0"))
    images = 1_281_167 + 50_000  # val is taken from the training images
    assert cost.gpu_hours == pytest.approx(hours(images * 2 * RESNET50)) == pytest.approx(0.0484, abs=1e-4)
    assert cost.cpu_hours == pytest.approx((images * 0.005 + START) / 3600)
    assert cost.features == images * (2 * 2048 + 8)  # float16, and a label of 8 bytes
    assert (cost.networks, cost.logits, cost.unknown) == (0, 0, 0)


def test_views_cost_passes_over_train_and_val(plans: dict[str, Plan]) -> None:
    job = plans["recommended"].features("cifar10", "erm-s0")
    more = Planned("extract", job.artifact, job.settings | {"views": 3, "dtype": "float32"}, job.inputs)
    cost = Costs(plans["recommended"]).of(more)
    rows = 3 * 45_000 + (1 + 3) * 5_000 + 10_000
    assert cost.gpu_hours == pytest.approx(hours(rows * 2 * RESNET50))
    assert cost.features == rows * 4 * 2048 + 60_000 * 8


@pytest.mark.parametrize("kind", ["finetuned", "network"])
def test_a_setting_of_fine_tuning_on_cifar10(plans: dict[str, Plan], kind: str) -> None:
    plan = plans["recommended"]
    job = getattr(plan, kind)("erm-s0.cifar10.paper-lr0.01-wd0.0001-e100")
    cost = Costs(plan).of(job)
    forward = 2 * (RESNET50 + 2048 * 10)
    passes = 3 * 100 * 50_000 + 100 * 10_000 + 5_000 + 10_000  # training; each epoch on test; at the end val and test
    assert cost.gpu_hours == pytest.approx(hours(passes * forward)) == pytest.approx(0.583, abs=1e-3)
    assert cost.cpu_hours == pytest.approx((0.001 * (100 * 50_000 + 100 * 10_000 + 15_000) + START) / 3600)
    assert cost.networks == 4 * (23_508_032 + 2048 * 10 + 10)  # two stages start from it
    assert cost.logits == 15_000 * (4 * 10 + 8)


def test_weights_are_kept_only_for_a_second_stage(plans: dict[str, Plan]) -> None:
    plan = plans["published"]
    wide, other = (f"{name}.cifar10.paper-lr{rate}-wd0.0001-e100" for name, rate in (("wide2-s0", 0.01), ("erm-s0", 0.05)))  # fmt: skip
    assert [Costs(plan).of(plan.finetuned(run)).networks for run in (wide, other)] == [0, 0]


def test_a_run_and_the_network_that_it_keeps_are_one_job(plans: dict[str, Plan]) -> None:
    plan, run = plans["recommended"], "erm-s0.cifar10.paper-lr0.01-wd0.0001-e100"
    both = distinct([plan.finetuned(run), plan.network(run), plan.finetuned(run.replace("erm-s0", "erm-s1"))])
    assert len(both) == 2


def test_a_linear_probe(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    cost = Costs(plan).of(plan.record("cifar100", "cat4", "linear_probe"))
    head = 2 * 4 * 2048 * 100 * 6  # 6 weight decays
    heldout = 3 * 28 * 45_000 + 28 * 5_000
    paper = 3 * 28 * 50_000 + 28 * 10_000
    assert cost.gpu_hours == pytest.approx(hours(head * (heldout + paper)))
    assert cost.logits == 15_000 * (2 * 4 * 100 + 8)
    assert Costs(plan).of(plan.record("cifar100", "wide2-s0.0-2048", "linear_probe")).gpu_hours == pytest.approx(
        cost.gpu_hours / 4
    )


def test_a_second_stage(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    cost = Costs(plan).of(plan.record("inaturalist18", "cat2", "two_stage"))
    head = 2 * 2 * 2048 * 8142
    assert cost.gpu_hours == pytest.approx(hours(3 * head * (3 * 437_513 + 24_426)))  # 3 settings, one epoch
    assert cost.logits == (43_751 + 24_426) * (4 * 8142 + 8)
    averaged = Costs(plan).of(plan.record("inaturalist18", "cat2", "averaged_head"))
    assert (averaged.gpu_hours, averaged.logits) == (0, cost.logits)


def test_features_of_the_members_of_a_concatenation_count_once(plans: dict[str, Plan]) -> None:
    plan = plans["recommended"]
    jobs = [plan.record("imagenet", name, "linear_probe") for name in ("cat10", "cat5", "cat2", "erm-s0")]
    every = behind(jobs)
    features = total(Costs(plan).of(job) for job in distinct(every) if job.stage == "extract").features
    assert features == 10 * 1_331_167 * (2 * 2048 + 8)
    networks = total(Costs(plan).of(job) for job in distinct(every)).networks
    assert networks == 10 * 4 * 23_508_032


def test_networks_of_several_trunks_and_transformers(plans: dict[str, Plan]) -> None:
    costs = Costs(plans["recommended"])
    joint, vit = (plans["recommended"].features(*of) for of in (("cifar10", "joint4-s0"), ("imagenet-384-vit", "vit_b16-s0")))  # fmt: skip
    assert costs.of(joint).gpu_hours == pytest.approx(hours(60_000 * 2 * 4 * RESNET50))
    assert costs.of(vit).gpu_hours == pytest.approx(hours(1_331_167 * 2 * 55_483_582_464))


def test_trainings_of_the_claims() -> None:
    plan = load_plan(CLAIMS)
    costs = Costs(plan)
    pretrained = costs.of(plan.network("wide2-s20"))
    assert pretrained.gpu_hours == pytest.approx(hours(3 * 6 * 10_000 * 2 * (2_551_360 + 64 * 5)))
    assert pretrained.networks == 4 * (77_104 + 65 * 5)
    assert costs.of(plan.network("random-s50")).gpu_hours == pytest.approx(hours(10_000 * 2 * 644_896))
    finetuned = costs.of(plan.finetuned("erm-s0.mnist.heldout-lr0.8-wd0.0005-e8"))
    passes = 3 * 8 * 20 * 64 + 8 * 300 + 300 + 3_700
    assert finetuned.gpu_hours == pytest.approx(hours(passes * 2 * (644_896 + 32 * 10)))
    probe = costs.of(plan.record("mnist", "erm-s0", "linear_probe"))
    steps = 3 * 20 * 20 * 128  # both rules share the training of a number of shots
    assert probe.gpu_hours == pytest.approx(hours(2 * (steps + 20 * (300 + 3_700)) * 2 * 32 * 10 * 9))
    assert probe.logits == 4_000 * (4 * 4 * 10 + 8)


def test_a_search_for_the_best_subset_tries_every_member_at_every_size() -> None:
    plan = load_plan(TINY)
    probe = plan.record("fashion-source", "cat2", "linear_probe")
    search = Planned("best_subset", probe.artifact, probe.settings, probe.inputs)
    cost = Costs(plan).of(search)
    columns = 2 * 32 + 64  # each of two, then both
    assert cost.gpu_hours == pytest.approx(hours(2 * columns * 5 * 2 * (3 * 2 * 500 + 2 * 100)))


def test_what_is_not_known_is_counted(plans: dict[str, Plan], tmp_path: Path) -> None:
    costs = Costs(plans["recommended"])
    images = Planned("image_target", "targets/birds", {"dataset": "images"})
    network = Planned("library_network", "networks/a-s0", {"arch": "timm/resnet18", "seed": 0})
    settings = {"transform": PHOTOGRAPHS, "views": 1, "dtype": "float16"}
    unknown = Cost(cpu_hours=START / 3600, unknown=1)
    assert costs.of(Planned("extract", "features/birds/a-s0", settings, (images, network))) == unknown
    miniature = Planned("extract", "features/imagenet/a-s0", settings, (imagenet(classes=10), network))
    assert costs.of(miniature) == unknown
    assert costs.of(Planned("a_new_stage", "records/x", {})) == unknown
    known = Planned("extract", "features/imagenet/a-s0", settings, (imagenet(), network))
    assert costs.of(known).features == 1_331_167 * (2 * 512 + 8)
    assert list(cells([Cost(cpu_hours=2), unknown], "cpu_hours", "disk")) == ["2.0 / < 0.01 + ?", "0 / 0 + ?"]


# An experiment


def test_jobs_are_those_that_snakemake_would_run(tmp_path: Path) -> None:
    named_otherwise = {"finetune_kept": "finetune", "ensemble_finetune": "ensemble"}
    expected: dict[str, int] = {}
    for rule, count in planned_jobs(copy_clone(tmp_path), config="claims").items():
        stage = named_otherwise.get(rule, rule)
        expected[stage] = expected.get(stage, 0) + count
    assert len(expected) > 10
    assert dict(Estimate(load_plan(CLAIMS)).stages(ALL)) == expected


def test_tables_and_figures_add_up_to_more_than_all(estimates: dict[str, Estimate]) -> None:
    for estimate in estimates.values():
        together = total(estimate.total(part) for part in estimate.parts if part != ALL)
        whole = estimate.total(ALL)
        for of in ("gpu_hours", "cpu_hours", "features", "networks", "logits"):
            assert (1 + 1e-9) * getattr(together, of) >= getattr(whole, of) > 0
            assert all(getattr(estimate.total(table), of) <= getattr(whole, of) for table in estimate.parts)
        assert sum(len(jobs) for name, jobs in estimate.parts.items() if name != ALL) > len(estimate.parts[ALL])
        assert whole.unknown == 0
        assert total(estimate.total(ALL, stage) for stage in estimate.stages(ALL)).gpu_hours == pytest.approx(
            whole.gpu_hours
        )


def test_the_published_grid_costs_more_where_networks_are_fine_tuned(estimates: dict[str, Estimate]) -> None:
    recommended, published = estimates["recommended"], estimates["published"]
    for table in ("table1", "table4", ALL):
        assert len(published.parts[table]) > len(recommended.parts[table])
        assert published.total(table).gpu_hours > 3 * recommended.total(table).gpu_hours
        assert published.total(table).logits > recommended.total(table).logits
        assert published.total(table).features == recommended.total(table).features
    for table in ("table2", "table3"):
        assert published.total(table) == recommended.total(table)


def test_the_papers_costs_need_no_torch() -> None:
    code = "import sys; from rrl.cli.costs import main; main(['config.yaml']); assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "recommended / published" in result.stdout and "| resnet50w5     |    224 |" in result.stdout
    assert "one A100 in bf16, 312 TFLOP/s at 20 %" in result.stdout
    assert "Fine-tuning on cifar10: 4 / 12 settings x 100 epochs; second stage x 2." in result.stdout
    assert re.search(r"Checkpoints to download: \d+ files; ", result.stdout) and "?" not in result.stdout


@pytest.mark.parametrize("path", [TINY, CLAIMS])
def test_other_experiments_are_told_too(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(path)])
    output = capsys.readouterr().out
    assert " / " not in output.partition("Assumptions")[0].replace(str(path), "") and "not known" not in output.lower()
    assert "\n| in all      |" in output and "| resnet8w2 |     28 |" in output and "download" not in output.partition("Assumptions")[0]  # fmt: skip


def test_what_exists_can_be_left_out(tiny: Path) -> None:
    command = [sys.executable, "-m", "rrl.cli.costs", "workflow/config/tiny.yaml", "--missing"]
    path = tiny / "results/tiny/records/mnist/cat2/ensemble.json"
    aside = path.rename(tiny / "aside.json")  # and back: other tests go by its time
    try:
        output = subprocess.run(command, cwd=tiny, capture_output=True, text=True, check=True).stdout
    finally:
        aside.rename(path)
    jobs = dict(re.findall(r"^\| (table1|table2|all figures|in all) +\| +(\d+) \|", output, flags=re.MULTILINE))
    assert jobs == {"table1": "0", "table2": "1", "all figures": "1", "in all": "1"}
    assert "\n| ensemble |    1 |" in output


def test_a_missing_or_wrong_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing; name the config"):
        main([str(tmp_path / "none.yaml")])
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | {"grid": "all of it"}))
    with pytest.raises(UserError, match="1 mistake"):
        main([str(path)])
    result = subprocess.run([sys.executable, "-m", "rrl.cli.costs", path], capture_output=True, text=True)
    first, second = result.stderr.splitlines()
    assert first == f"Error: {path}: 1 mistake" and second.startswith("  grid: found 'all of it'")


def test_a_table_is_aligned() -> None:
    assert list(markdown(["", "jobs"], [["in all", "1,169"], ["t", "1"]])) == [
        "|        |  jobs |",
        "|--------|------:|",
        "| in all | 1,169 |",
        "| t      |     1 |",
    ]
