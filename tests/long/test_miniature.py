"""The paper's whole graph in miniature: real JPEG trees, iNaturalist's lists, CIFAR's batches; every table of the paper."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from rrl.config.load import load_config
from rrl.job import read_card
from rrl.jobs import Planned
from rrl.plan import Plan
from tests.helpers.clones import CLONE, copy_clone, snakemake
from tests.helpers.miniature import CONFIGS, miniature, original, reduced, substituted, write_miniature
from tests.helpers.paper_data import make_cifar, make_imagenet, make_inaturalist

PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())


def plan_of(content: dict[str, Any]) -> Plan:
    return Plan(load_config(content, []), PINS)


def kinds(plan: Plan) -> Iterator[tuple[Any, ...]]:
    """(rule, families of networks, data set, transfer, selections) of each job of a plan."""
    for job in plan.jobs:
        stage = "pretrain" if job.stage == "import_network" else job.stage
        folder, *rest = job.artifact.split("/")
        target, name = (rest[0], rest[1]) if len(rest) > 1 else (None, rest[0] if rest else folder)
        dataset = plan.config.targets[target].dataset if target else None
        stage_one = tuple(sorted({first["selection"] for first in job.keyed.get("stage_one", ())}))
        selection = job.keyed.get("selection") or stage_one
        transfer = rest[2] if len(rest) > 2 and folder == "records" else None
        yield stage, families(plan, job), dataset, transfer, selection, folder, name if folder == "targets" else None


def families(plan: Plan, job: Planned) -> tuple[str, ...]:
    """Of the networks that a job makes, or is made of; None of several seeds is told from another."""
    if job.stage in ("table", "figure", "collect"):
        return (job.artifact,)
    name = job.artifact.removeprefix("networks/")
    if name in plan.networks and job.stage != "finetune":
        return (plan.networks[name][0],)
    found = {family for source in job.inputs for family in families(plan, source)}
    return tuple(sorted(found - {"targets"})) if found else ()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_whole_multiset_of_jobs_is_that_of_the_experiment(name: str) -> None:
    """Sizes, epochs and architectures substituted: as many jobs of each kind as the experiment has."""
    content = original(name)
    assert Counter(kinds(plan_of(substituted(content, name)))) == Counter(kinds(plan_of(content)))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_reduction_leaves_no_kind_of_job_out(name: str) -> None:
    """Fewer seeds, sizes and settings, but a job of every kind, except that fewer of them are put together."""
    content = original(name)
    small = plan_of(reduced(substituted(content, name)))
    assert set(kinds(small)) == set(kinds(plan_of(content)))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the configs, and miniatures of the data sets in their published layouts."""
    folder = copy_clone(tmp_path_factory.mktemp("miniature"))
    (folder / "data").unlink()
    for name in CONFIGS:
        write_miniature(folder, name)
    data = folder / "data/miniature"
    make_imagenet(data, classes=4, train_per_class=8, val_per_class=4, size=56)
    make_inaturalist(data, train_per_class=8, val_per_class=4, size=40)
    # Every process of the workflow imports from the clone.
    for dataset in ("cifar10", "cifar100"):
        cifar = make_cifar(data, dataset, classes=4, train_per_class=10, test_per_class=5)
        cifar.environment(folder)
    return folder


@pytest.fixture(scope="module")
def root(clone: Path) -> Path:
    """Results of the miniature."""
    snakemake(clone, config="miniature")
    return clone / "results/miniature"


def test_every_table_of_the_paper_exists(root: Path) -> None:
    for number, (rows, values) in enumerate([(8, 27), (10, 32), (6, 12), (22, 106)], start=1):
        table = pd.read_csv(root / f"table{number}.csv")
        paper = table[table["selection"] == "paper"]
        assert len(paper) == rows
        shown = [column for column in table if column.endswith(" paper")]
        assert int(paper[shown].notna().to_numpy().sum()) == values
        text = (root / f"table{number}.md").read_text()
        assert text.count("; paper ") == values
        assert (root / f"table{number}.tex").read_text().count("; paper ") == values


def test_each_network_is_extracted_once_per_target(root: Path) -> None:
    plan = plan_of(miniature("miniature"))
    extractions = [(job.inputs[0].artifact, job.inputs[1].artifact) for job in plan.jobs if job.stage == "extract"]
    assert len(set(extractions)) == len(extractions)
    for job in plan.jobs:
        assert read_card(root / f"{job.artifact}.json").key == job.key


def test_a_second_run_has_nothing_to_do(root: Path, clone: Path) -> None:
    assert "Nothing to be done" in snakemake(clone, config="miniature", quiet=False)


def test_what_one_person_can_do_in_miniature(clone: Path) -> None:
    snakemake(clone, config="miniature_cifar")
    root = clone / "results/miniature_cifar"
    table = pd.read_csv(root / "table2.csv")
    assert list(table[table["selection"] == "paper"]["method"]) == ["ERM", "CAT2", "CAT2^sub"]
    assert "the paper: CATn" in (root / "figures/accuracy.svg").read_text()
