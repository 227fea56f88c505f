"""What stands beside a number: from how many a pick is the best, and whether val is new to published networks."""

import json
from pathlib import Path
from typing import Any

import pytest

from rrl.caveats import known_val, of_pick, trained_on_imagenet
from rrl.cli import show
from rrl.config.load import load_plan
from rrl.config.settings import LibraryModel
from rrl.job import Job, read_card
from rrl.jobs import Planned, behind
from rrl.jobs.networks import ImportNetwork
from rrl.networks.checkpoints import checkpoints
from rrl.stages.table import note
from tests.helpers.clones import CLONE

PAPER, DEMO = (load_plan(CLONE / path) for path in ("config.yaml", "workflow/config/demo.yaml"))
CURVE = [0.5, 0.6, 0.7]


@pytest.mark.parametrize(
    ("split", "grid", "expected"),
    [
        ("val", [{"top1": CURVE}] * 4, "best of 4 settings x 3 epochs on val, so val is optimistic; test was read once"),
        ("test", [{"top1": CURVE}], "best of 1 setting x 3 epochs on test, so test is optimistic"),
        ("test", [{"top1": CURVE}, {"top1": CURVE[:2]}], "best of 2 settings with 5 epochs in all on test, so test is"),
        ("val", [{"top1": 0.5}] * 6, "best of 6 settings on val, so val is optimistic"),  # by L-BFGS
        ("val", [{"top1": [0.5]}] * 2, "best of 2 settings on val, so val is optimistic"),  # of averaged heads
        ("val", [{"top1": [0.5]}], "nothing was picked"),
        ("val", [{"members": ["a"], "val_top1": 0.5}], "best of all subsets, settings and epochs tried on val, so val is"),
        ("val", None, "each member was picked on val, so val is optimistic; test was read once"),
    ],
)  # fmt: skip
def test_a_pick_says_of_how_many_it_is_the_best(split: str, grid: Any, expected: str) -> None:
    assert of_pick({"selected_on": split, "grid": grid}).startswith(expected)


def known(target: str, representation: str, transfer: str) -> list[str]:
    record = PAPER.record(target, representation, transfer)
    return known_val(record.artifact, behind([record]))


def test_published_networks_know_the_val_images_of_imagenet() -> None:
    assert known("imagenet", "cat2", "linear_probe") == ["erm-s0", "erm-s1"]
    assert known("imagenet", "wide2-s0", "ensemble") == ["wide2-s0"]
    assert known("imagenet-384-vit", "vit_cat2", "linear_probe") == ["vit_b16-s0", "vit_l16-s0"]
    assert known("imagenet", "swav-s0", "finetune") == ["swav-s0"]
    assert known("imagenet-384", "seer_cat2", "averaged_head") == ["seer_32_imagenet-s0", "seer_64_imagenet-s0"]
    assert known("imagenet", "seer_cat2", "linear_probe") == known("cifar10", "cat2", "linear_probe") == []


def test_of_the_libraries_any_network_may_know_them_of_those_trained_here_none_does() -> None:
    library = Planned("import_network", "networks/a-s0", ImportNetwork(LibraryModel("library", "timm/resnet50", 0)))
    trained, target, other = DEMO.network("erm-s0"), PAPER.target("imagenet"), PAPER.target("cifar10")
    assert trained_on_imagenet(library) and not trained_on_imagenet(trained)
    assert known_val("records/imagenet/a-s0/linear_probe", [target, library, trained]) == ["a-s0"]
    assert known_val("records/cifar10/a-s0/linear_probe", [other, target, library]) == []


def test_every_published_network_says_what_it_was_trained_on() -> None:
    on = {name: of.trained_on for name, of in checkpoints().items()}
    assert {name for name, images in on.items() if images == "instagram"} == {
        f"seer-regnet{size}gf" for size in (32, 64, 128, 256)
    }
    assert {name for name, images in on.items() if images == "imagenet-21k"} == {
        f"{kind}-{size}16-i21k" for kind in ("vit", "vitaugreg") for size in "bl"
    }


def test_the_note_of_a_table_says_so_where_it_is_so() -> None:
    layout = PAPER.table("table2").settings.layout
    (remark,) = layout["remarks"]
    assert "val is not new to ERM, WIDE2, WIDE4, JOINT2, JOINT4, CAT2, " in remark
    assert note(layout, "").endswith(remark)
    for plan, name in ((PAPER, "table1"), (PAPER, "table4"), *((DEMO, name) for name in DEMO.config.tables)):
        assert "remarks" not in plan.table(name).settings.layout


def test_a_record_is_shown_with_it(tmp_path: Path) -> None:
    """From the cards alone: of a target, a network, its features and a record, as the stages write them."""

    def card(planned: Planned, facts: Any) -> Path:
        inputs = tuple(read_card(tmp_path / f"{source.artifact}.json") for source in planned.inputs)
        path = tmp_path / f"{planned.artifact}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        Job(planned.stage, planned.settings, inputs, path).write_card("digest", facts)
        return path

    record = PAPER.record("imagenet", "erm-s0", "linear_probe")
    result: dict[str, Any] = {"shots": "all", "selection": "heldout", "selected_on": "val", "n_train": 9, "n_test": 50}
    result |= {"selected": {"epoch": 2}, "top1": 0.7, "val_top1": 0.725, "grid": [{"top1": CURVE}] * 2}
    for planned in behind([record]):
        path = card(planned, {"results": [result]} if planned is record else {"arch": "resnet50"})
    text = "\n".join(show.lines(json.loads(json.dumps(show.describe(read_card(path))))))
    assert "picked on val: {epoch 2}; val top-1 72.50 %; best of 2 settings x 3 epochs on val, so val is" in text
    assert "ImageNet's training images, and published networks were trained on these: val is not new to erm-s0;" in text
