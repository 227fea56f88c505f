"""Networks that are downloaded, in the workflow: what is planned, and what is made of a file put in place."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
import torchvision

from rrl.config.settings import CheckpointFile
from rrl.errors import UserError
from rrl.job import read_card
from rrl.networks import load
from rrl.networks.checkpoints import FIRST_USE
from rrl.networks.imports import import_network
from tests.helpers.clones import CLONE, copy_clone, edited, run_snakemake, snakemake
from tests.helpers.models import IMAGES, features_of, resnet, rrl_file, run, same
from tests.helpers.reruns import planned

FILE = "supervised_pretrain/resnet50/checkpoint_run3.pth.tar"
NETWORK = "results/tiny/networks/published-s3"
FAMILY = "  published: {origin: download, checkpoint: supervised-resnet50, seeds: [0, 3]}\n"


@pytest.fixture(scope="module")
def model() -> torchvision.models.ResNet:
    return resnet()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, model: torchvision.models.ResNet) -> Path:
    """An empty clone with a file in the published layout, and an experiment that uses it."""
    folder = copy_clone(tmp_path_factory.mktemp("convert") / "clone")
    config = folder / "workflow/config/tiny.yaml"
    config.write_text(config.read_text().replace("\nnetworks:\n", f"\nnetworks:\n{FAMILY}"))
    (folder / "checkpoints" / FILE).parent.mkdir(parents=True)
    rrl_file([model], folder / "checkpoints" / FILE)
    return folder


def rules(clone: Path, network: str) -> list[str]:
    output = snakemake(clone, f"{network}.json", options=("--dry-run",), quiet=False)
    return sorted(
        {line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith(("rule ", "localrule "))}
    )


def test_a_file_in_place_plans_no_download(clone: Path) -> None:
    assert rules(clone, NETWORK) == ["import_network"]
    assert rules(clone, NETWORK.replace("s3", "s0")) == ["download", "import_network"]


def test_a_file_in_place_becomes_a_network(clone: Path, model: torchvision.models.ResNet) -> None:
    before = (clone / "checkpoints" / FILE).read_bytes()
    snakemake(clone, f"{NETWORK}.json")
    card = read_card(clone / f"{NETWORK}.json")
    assert (card.facts["parameters"], card.facts["feature_dim"], card.facts["seed"]) == (23_508_032, 2048, 3)
    assert (card.facts["arch"], card.facts["origin"]) == ("resnet50", "download")
    network = load(clone / f"{NETWORK}.safetensors")
    same(run(network, IMAGES), features_of(model, IMAGES))
    assert network.head is not None and network.head.out_features == 10
    assert (clone / "checkpoints" / FILE).read_bytes() == before
    # Pinned on first use; the pin changes no plan.
    (pinned,) = json.loads((clone / "rrl/networks/checkpoint_pins.json").read_text()).items()
    assert pinned[0] == FILE and pinned[1]["sha256"] == pinned[1]["first_use"] and pinned[1]["size"] == len(before)
    assert "Nothing to be done" in snakemake(clone, f"{NETWORK}.json", options=("--dry-run",))


def test_another_file_under_the_pin_is_refused(clone: Path) -> None:
    card = (clone / f"{NETWORK}.json").read_bytes()
    (clone / f"{NETWORK}.json").unlink()
    path = clone / "checkpoints" / FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    result = run_snakemake(clone, f"{NETWORK}.json")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output
    assert f"Error: checkpoints/{FILE}: found {len(content)} bytes, sha256 " in output and "; pinned are " in output
    path.write_bytes(content)
    snakemake(clone, f"{NETWORK}.json")
    assert (clone / f"{NETWORK}.json").read_bytes() == card


def test_the_command_for_a_file_that_cannot_be_read_names_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "it's my folder"
    (folder / FILE).mkdir(parents=True)  # so that nothing is downloaded
    with pytest.raises(UserError, match="cannot be read") as caught:
        import_network(CheckpointFile("download", FILE, FIRST_USE, "rrl", "resnet50", 0), folder / FILE)
    command = str(caught.value).partition("to download it: ")[2].partition("; or put it there by hand")[0]
    script = f"source .venv/bin/activate; {command}"
    result = subprocess.run(["bash", "-c", script], cwd=CLONE, capture_output=True, text=True)
    assert result.stderr.startswith(f"Error: {folder / FILE}: not a file, or a link to none")


def test_a_pin_that_somebody_changes_is_another_plan(clone: Path) -> None:
    pin = json.loads((clone / "rrl/networks/checkpoint_pins.json").read_text())[FILE]["sha256"]
    with edited(clone / "rrl/networks/checkpoint_pins.json", f'"sha256": "{pin}"', f'"sha256": "{"0" * 64}"'):
        assert rules(clone, NETWORK) == ["import_network"]
    assert rules(clone, NETWORK) == []


def test_a_network_that_nothing_shows_is_not_asked_for(clone: Path) -> None:
    assert not any("published" in artifact for artifact in planned(clone))


def test_a_checkpoint_of_another_kind_is_refused(clone: Path) -> None:
    path = clone / "checkpoints" / FILE.replace("run3", "run0")
    torch.save({"state_dict": torchvision.models.resnet18().state_dict()}, path)
    result = run_snakemake(clone, f"{NETWORK.replace('s3', 's0')}.json")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output
    assert "checkpoint_run0.pth.tar: not a resnet50: missing: model.bn1.bias" in output
    assert not (clone / f"{NETWORK.replace('s3', 's0')}.safetensors").exists()
