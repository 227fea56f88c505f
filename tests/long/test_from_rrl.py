"""docs/from-rrl.md: each command is planned, and does the work of the published script beside it."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from rrl.config.load import load_config
from rrl.jobs import Planned
from rrl.plan import Plan
from tests.helpers.clones import CLONE, copy_clone, snakemake

PAGE = (CLONE / "docs/from-rrl.md").read_text()
CONFIG = yaml.safe_load((CLONE / "config.yaml").read_text())
PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())
TRAINED_HERE = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)[0])
PRETRAIN = CONFIG | {"networks": CONFIG["networks"] | TRAINED_HERE}

# The facts of the published scripts, by the parts of their paths: representation -> its networks.
ERM = {f"erm-s{seed}": {f"erm-s{seed}"} for seed in range(10)}
WIDE = {f"{name}-s0": {f"{name}-s0"} for name in ("wide2", "wide4", "joint2", "joint4")}
CAT = {f"cat{count}": {f"erm-s{seed}" for seed in range(count)} for count in (2, 4, 5, 10)}
DISTILL = {"distill5-s0": {"distill5-s0"}}
REPRESENTATIONS = {
    "cifar_bn": ERM, "inat": ERM, "finetune": ERM,
    "cifar_bn_wide": WIDE, "rn50wide": WIDE, "finetune_wide": WIDE,
    "cat_cifar_bn": CAT, "cat_inat": CAT, "finetune_cat": CAT, "rich_finetune": CAT,
    "distill5": DISTILL, "finetune_distill5": DISTILL,
}  # fmt: skip
TARGETS = {"to_cifar": ["cifar10", "cifar100"], "to_inat18": ["inaturalist18"]}
TRANSFERS = {"linear_probing": "linear_probe", "fine-tuning": "finetune", "two-stage_fine-tuning": "two_stage"}
VIT = {
    "vit": {"vit_b16-s0": {"vit_b16-s0"}, "vit_l16-s0": {"vit_l16-s0"}},
    "vitaugreg": {"augreg_b16-s0": {"augreg_b16-s0"}, "augreg_l16-s0": {"augreg_l16-s0"}},
    "cat_vit": {"vit_cat2": {"vit_b16-s0", "vit_l16-s0"}},
    "bcat2_vitaugreg": {"augreg_cat2": {"augreg_b16-s0", "augreg_l16-s0"}},
    "2ft_vit": {"vit_cat2": {"vit_b16_imagenet-s0", "vit_l16_imagenet-s0"}},
    "2ft_bcat2_vitagureg": {"augreg_cat2": {"augreg_b16_imagenet-s0", "augreg_l16_imagenet-s0"}},
}
PRETRAINED = {
    "resnet50": dict.fromkeys(ERM, "resnet50"),
    "resnet50_wide": {
        "wide2-s0": "resnet50w2", "wide4-s0": "resnet50w4", "joint2-s0": "2xresnet50", "joint4-s0": "4xresnet50",
    },
    "resnet152": {f"deep-s{seed}": "resnet152" for seed in range(10)},
}  # fmt: skip
# Of these the script tries one weight decay, the command three.
MORE_HERE = {"to_inat18/linear_probing/distill5": 3}


def rows(heading: str) -> list[list[str]]:
    """The cells of the one table below a heading, without its head."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def scripts(heading: str) -> dict[str, list[str]]:
    """Name of each script -> the other cells of its row."""
    table = rows(heading)
    found = {cells[0].strip("`").removesuffix(".sh"): cells[1:] for cells in table}
    assert len(found) == len(table)
    return found


def expanded(text: str) -> list[str]:
    """The files below results/ that the shell makes of a text, such as a command."""
    words = re.findall(r"results/[\w.{},/-]*\w", text)
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {' '.join(words)}"], capture_output=True, text=True, check=True
    )
    return printed.stdout.split()


def targets_of(target: str) -> list[str]:
    assert "Each command is `snakemake --cores all` and the target beside the script." in PAGE
    assert re.fullmatch(r"`results/\S+`", target), target
    return expanded(target)


def behind(job: Planned) -> Iterator[Planned]:
    """A job and all jobs before it; one more than once where several need it."""
    yield job
    for source in job.inputs:
        yield from behind(source)


def records(plan: Plan, cell: str) -> dict[tuple[str, str, str], Planned]:
    """(target, representation, transfer) -> job, of the records that the command of a cell makes."""
    names = [Path(target).with_suffix("").parts[-3:] for target in targets_of(cell)]
    return {(target, of, transfer): plan.record(target, of, transfer) for target, of, transfer in names}


def networks_and_data(job: Planned, plan: Plan) -> tuple[set[str], set[str]]:
    """The downloaded networks behind a job, and the data sets."""
    jobs = {job.artifact: job for job in behind(job)}
    networks = {artifact.partition("/")[2] for artifact, job in jobs.items() if job.stage == "import_network"}
    targets = [artifact.partition("/")[2] for artifact in jobs if artifact.startswith("targets/")]
    return networks, {plan.config.targets[target].dataset for target in targets}


def runs(job: Planned, plan: Plan) -> int:
    """How many settings a record tries."""
    _, target, _, transfer = job.artifact.split("/")
    if transfer == "linear_probe":
        return len(job.settings.probe.learning_rates) * len(job.settings.probe.weight_decays)
    if transfer == "finetune":
        return len(plan.settings(target))
    return len(job.settings.stage_one) * len(job.settings.heads.learning_rates)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load_config(CONFIG, []), PINS)


@pytest.fixture(scope="module")
def published() -> Plan:
    """With everything that the published code tries."""
    return Plan(load_config(CONFIG | {"grid": "published"}, []), PINS)


def test_each_published_script_has_one_row() -> None:
    readme = scripts("The 18 scripts of the README")
    assert len(readme) == 18
    assert {name.rpartition("/")[2] for name in readme} == set(REPRESENTATIONS)
    assert set(scripts("The 6 scripts for vision transformers")) == set(VIT) and len(VIT) == 6
    assert set(scripts("The 3 scripts for pretraining")) == set(PRETRAINED) and len(PRETRAINED) == 3


@pytest.mark.parametrize("script", scripts("The 18 scripts of the README"))
def test_a_command_makes_what_its_script_makes(script: str, plan: Plan, published: Plan) -> None:
    does, cell = scripts("The 18 scripts of the README")[script]
    target, transfer, name = script.split("/")
    expected = {
        (data, representation, TRANSFERS[transfer]): (networks, {data})
        for data in TARGETS[target]
        for representation, networks in REPRESENTATIONS[name].items()
    }
    made = records(plan, cell)
    assert {key: networks_and_data(job, plan) for key, job in made.items()} == expected

    (stated,) = re.findall(r", (\d+) runs?$", does)
    tried = sum(runs(job, published) for job in records(published, cell).values())
    assert tried == MORE_HERE.get(script, int(stated))


@pytest.mark.parametrize("script", VIT)
def test_vision_transformers_are_those_that_the_name_says(script: str, plan: Plan) -> None:
    _, cell = scripts("The 6 scripts for vision transformers")[script]
    transfer = "two_stage" if script.startswith("2ft") else "linear_probe"
    expected = {
        ("imagenet-384-vit", representation, transfer): (networks, {"imagenet"})
        for representation, networks in VIT[script].items()
    }
    assert {key: networks_and_data(job, plan) for key, job in records(plan, cell).items()} == expected


@pytest.mark.parametrize("script", PRETRAINED)
def test_pretraining_is_that_of_the_script(script: str) -> None:
    does, cell = scripts("The 3 scripts for pretraining")[script]
    plan = Plan(load_config(PRETRAIN, []), PINS)
    jobs = {Path(target).stem: plan.network(Path(target).stem) for target in targets_of(cell)}
    assert {name: job.settings.arch for name, job in jobs.items()} == PRETRAINED[script]
    assert does.endswith(f", {len(jobs)} runs")
    for name, job in jobs.items():
        assert job.stage == "pretrain" and [source.artifact for source in job.inputs] == ["targets/imagenet"]
        assert job.settings.seed == int(name.rpartition("-s")[2])
        numbers = [
            getattr(job.settings.recipe, key) for key in ("epochs", "batch_size", "learning_rate", "weight_decay")
        ]
        assert numbers == [90, 256, 0.1, 1e-4]


def fresh_clone(folder: Path) -> Path:
    copy_clone(folder)
    (folder / "data").unlink()
    return folder


def planned_files(folder: Path, targets: Iterable[str]) -> set[str]:
    """The files that a dry run would make."""
    output = snakemake(folder, *targets, options=("--dry-run",), config=None, quiet=False)
    return {file for line in re.findall(r"^    output: (.*)$", output, flags=re.MULTILINE) for file in line.split(", ")}


def test_all_targets_of_the_page_are_planned_on_a_fresh_clone_without_data(tmp_path: Path) -> None:
    targets = {target for target in expanded(PAGE) if "/deep-" not in target}
    assert {"results/table1.csv", "results/records/cifar100/cat4/ensemble.json"} <= targets
    assert targets <= planned_files(fresh_clone(tmp_path), targets)


def test_pretraining_is_planned_on_a_fresh_clone_without_data(tmp_path: Path) -> None:
    folder = fresh_clone(tmp_path)
    (folder / "config.yaml").write_text(yaml.safe_dump(PRETRAIN))
    cells = [cell for _, cell in scripts("The 3 scripts for pretraining").values()]
    targets = {target for cell in cells for target in targets_of(cell)}
    planned = planned_files(folder, targets)
    assert targets <= planned and not any(file.startswith("checkpoints/") for file in planned)
