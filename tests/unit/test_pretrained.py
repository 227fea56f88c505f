"""Weights that timm and torchvision publish, from their own caches, and what the libraries make of a picture.

The caches are the libraries' own; what lies in them was written here, as nothing can be downloaded in a test. The hub is
one address of this machine, where nothing answers, or a server that the test starts.
"""

import hashlib
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from torch import nn
from torchvision.models import get_model, get_model_weights

from rrl.config.settings import Photographs
from rrl.data.photographs import network_input
from rrl.errors import UserError
from rrl.networks.pretrained import preprocessing, pretrained_trunk
from tests.helpers.library_weights import classifier, in_torchs_cache, penultimate, photograph, transform
from tests.helpers.models import randomise, run, same

TIMM_MODEL = "mobilenetv3_small_050.lamb_in1k"
NOWHERE = "http://127.0.0.1:9"  # nothing answers there
IMAGES = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
CLASSIFIERS = torchvision.models.list_models(torchvision.models)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, and no network, also where there is one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "no_proxy", "NO_PROXY", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)


# torchvision's weights


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "regnet_y_400mf"])
def test_torchvisions_weights_from_its_cache(name: str) -> None:
    model = classifier(name)
    in_torchs_cache(name, model)
    trunk = pretrained_trunk(f"torchvision/{name}").eval()
    found = run(trunk, IMAGES)
    assert found.shape == (2, trunk.feature_dim)
    expected = penultimate(get_model(name, weights="DEFAULT"), IMAGES)
    if name == "mobilenet_v3_small":  # its head has a layer more, and dropout, in front of the last
        assert found.shape == (2, 1024)
    same(found, expected)
    same(found, penultimate(model, IMAGES))


def test_inception_takes_its_inputs_as_torchvision_gives_them() -> None:
    """torchvision's own changes mean and std of the input where it loads the weights itself; here the transform does."""
    in_torchs_cache("inception_v3", classifier("inception_v3", init_weights=False))
    trunk = pretrained_trunk("torchvision/inception_v3").eval()
    theirs = get_model("inception_v3", weights="DEFAULT")
    weights = get_model_weights("inception_v3").DEFAULT  # type: ignore[attr-defined]
    ours = network_input(photograph(), transform("torchvision/inception_v3"), None)[None]
    same(run(trunk, ours), penultimate(theirs, weights.transforms()(photograph())[None]))


def test_a_published_network_that_is_built_in_another_way_is_refused() -> None:
    """torchvision leaves out parts of GoogLeNet where it loads the weights; the network would not be read again."""
    in_torchs_cache("googlenet", classifier("googlenet", init_weights=False))
    with pytest.raises(UserError, match="torchvision/googlenet: its published weights are for a network with other"):
        pretrained_trunk("torchvision/googlenet")


def test_torchvisions_weights_that_cannot_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError) as caught:
        pretrained_trunk("torchvision/shufflenet_v2_x0_5")
    message = str(caught.value)
    assert message.startswith("torchvision/shufflenet_v2_x0_5: its published weights cannot be had (<urlopen error")
    assert "name it as torchvision/shufflenet_v2_x0_5=FILE" in message and "\n" not in message


@pytest.mark.parametrize("content", [b"", b"<html>", b"cut"])
def test_a_damaged_file_in_torchvisions_cache_is_one_message(content: bytes) -> None:
    path = in_torchs_cache("shufflenet_v2_x0_5", classifier("shufflenet_v2_x0_5"))
    path.write_bytes(path.read_bytes()[:500_000] if content == b"cut" else content)
    with pytest.raises(UserError, match="cannot be had .*A damaged file in the library's cache: delete it") as caught:
        pretrained_trunk("torchvision/shufflenet_v2_x0_5")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("torchvision/nothing", "torchvision/nothing: torchvision has no image classifier of this name"),
        ("torchvision/fasterrcnn_resnet50_fpn", "torchvision has no image classifier of this name"),
        ("torchvision/squeezenet1_0", "torchvision/squeezenet1_0: does not end in a linear layer"),
        ("timm/nothing", "timm/nothing: timm .* has no such model"),
        (
            "timm/resnet18.foo",
            r"timm/resnet18.foo: timm .* has no such weights; it must be one of resnet18.a1_in1k, resnet18",
        ),
        ("2xtimm/resnet18", "found '2xtimm/resnet18'; weights are published for timm/<name> and torchvision/<name>"),
        ("resnet50", "found 'resnet50'; weights are published for timm/<name> and torchvision/<name>"),
    ],
)
def test_a_name_that_has_no_published_weights_is_refused_before_anything_is_downloaded(
    tmp_path: Path, arch: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        pretrained_trunk(arch)
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("*"))


# timm's weights: huggingface_hub reads its settings when it is imported, so in processes of their own


def timm_classifier() -> nn.Module:
    torch.manual_seed(6)
    return randomise(timm.create_model(TIMM_MODEL.partition(".")[0]))


def in_the_hubs_cache(folder: Path, model: nn.Module) -> Path:
    """The layout of Hugging Face: a blob, a link to it below the revision, and what `main` is."""
    repository, revision = folder / f"hub/models--timm--{TIMM_MODEL}", "0123456789" * 4
    for part in ("blobs", "refs", f"snapshots/{revision}"):
        (repository / part).mkdir(parents=True)
    save_file(model.state_dict(), repository / "blobs/0")
    content = (repository / "blobs/0").read_bytes()
    blob = (repository / "blobs/0").rename(repository / "blobs" / hashlib.sha256(content).hexdigest())
    (repository / f"snapshots/{revision}/model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    (repository / "refs/main").write_text(revision)
    return blob


def in_a_process(folder: Path, **environment: str) -> str:
    """The features of IMAGES by the pretrained trunk, in folder/features.pt, or the error."""
    code = (
        "import sys, torch; from rrl.networks.pretrained import pretrained_trunk\n"
        "from rrl.errors import UserError\n"
        "try: trunk = pretrained_trunk(sys.argv[1]).eval()\n"
        "except UserError as error: sys.exit(f'Error: {error}')\n"
        "torch.set_grad_enabled(False); torch.save(trunk(torch.load(sys.argv[2])), sys.argv[3])\n"
    )
    torch.save(IMAGES, folder / "images.pt")
    command = [sys.executable, "-c", code, f"timm/{TIMM_MODEL}", folder / "images.pt", folder / "features.pt"]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.strip() if result.returncode else ""


def test_timms_weights_from_its_cache(tmp_path: Path) -> None:
    model = timm_classifier()
    in_the_hubs_cache(tmp_path / "hub", model)
    assert in_a_process(tmp_path, HF_HUB_OFFLINE="1") == ""
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(IMAGES), pre_logits=True)  # type: ignore[operator]
    same(torch.load(tmp_path / "features.pt"), expected)
    same(expected, penultimate(model, IMAGES))


def test_timms_weights_that_cannot_be_had_are_asked_for_once(tmp_path: Path) -> None:
    """The hub's client by itself asks twelve times, and waits in between."""
    asked = []

    class Silent(BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.client_address)

    with ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        error = in_a_process(tmp_path, HF_ENDPOINT=address, NO_PROXY="127.0.0.1")
        server.shutdown()
    assert len(asked) == 1
    assert error.startswith(f"Error: timm/{TIMM_MODEL}: its published weights cannot be had (http")
    assert f"does not answer, and they are not in {tmp_path}/hub/hub)" in error
    assert error.endswith(f"name it as timm/{TIMM_MODEL}=FILE. A damaged file in the library's cache: delete it")
    assert "\n" not in error


def test_a_damaged_file_in_timms_cache_is_one_message(tmp_path: Path) -> None:
    blob = in_the_hubs_cache(tmp_path / "hub", timm_classifier())
    blob.write_bytes(blob.read_bytes()[:-100])
    error = in_a_process(tmp_path, HF_HUB_OFFLINE="1")
    assert error.startswith(f"Error: timm/{TIMM_MODEL}: its published weights cannot be had (") and "\n" not in error


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub of one file, and what it was asked for."""
    save_file(timm_classifier().state_dict(), tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.command} {self.path}")
            there = self.path == f"/timm/{TIMM_MODEL}/resolve/main/model.safetensors"
            self.send_response(200 if there else 404)
            self.send_header("Content-Length", str(len(content) if there else 0))
            if there:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", "0123456789" * 4)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            if self.path.endswith("/model.safetensors"):
                self.wfile.write(content)

        def log_message(self, *of: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_timms_weights_are_downloaded_from_a_hub_that_answers(tmp_path: Path, hub: tuple[str, list[str]]) -> None:
    """Also from one that has nothing at its root; a second time from the cache, when the hub is gone."""
    address, asked = hub
    assert in_a_process(tmp_path, HF_ENDPOINT=address, NO_PROXY="127.0.0.1") == ""
    assert any(line.startswith("GET ") and line.endswith("model.safetensors") for line in asked)
    expected = penultimate(timm_classifier(), IMAGES)
    same(torch.load(tmp_path / "features.pt"), expected)
    (tmp_path / "features.pt").unlink()
    assert in_a_process(tmp_path, HF_ENDPOINT=NOWHERE, NO_PROXY="127.0.0.1") == ""
    same(torch.load(tmp_path / "features.pt"), expected)


def test_a_cache_on_a_full_disk_is_one_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rrl.networks.pretrained.timm_trunk", full)
    with pytest.raises(UserError, match="no space left on the disk: it needs more than there is") as caught:
        pretrained_trunk(f"timm/{TIMM_MODEL}")
    assert "\n" not in str(caught.value)


# How images become inputs


def check(ours: Photographs, theirs: Any) -> None:
    """On a photograph that is higher than wide, and on one that is wider than high."""
    for picture in (photograph(), photograph().transpose(Image.Transpose.ROTATE_90).crop((7, 0, 600, 333))):
        expected = theirs(picture)
        found = network_input(picture, ours, None)
        assert found.shape == expected.shape and (found - expected).abs().max() <= 1e-6


def test_torchvisions_transforms() -> None:
    """Of every classifier, by its default weights; each transform once."""
    checked: list[Photographs] = []
    for name in CLASSIFIERS:
        ours = transform(f"torchvision/{name}")
        if ours not in checked and name not in ("googlenet", "inception_v3"):
            checked.append(ours)
            check(ours, get_model_weights(name).DEFAULT.transforms())  # type: ignore[attr-defined]
    assert len(checked) > 20 and {ours.interpolation for ours in checked} == {"bilinear", "bicubic"}


def test_torchvisions_transforms_by_the_name_of_a_file() -> None:
    """A published file's own, whatever the architecture is called here."""
    for name in CLASSIFIERS:
        for weights in get_model_weights(name):  # type: ignore[attr-defined]
            preset, found = weights.transforms(), transform(f"torchvision/{name}", weights.url.rpartition("/")[2])
            assert (found.size, found.resize) == (preset.crop_size[0], preset.resize_size[0])
            assert found.interpolation == preset.interpolation.value
            if name not in ("googlenet", "inception_v3"):
                assert (found.mean, found.std) == (list(preset.mean), list(preset.std))
    assert transform("torchvision/mobilenet_v2", "mobilenet_v2-b0353104.pth").resize == 256  # V1
    assert transform("torchvision/mobilenet_v2", "mobilenet_v2-7ebf99e0.pth").resize == 232  # V2
    assert transform("torchvision/mobilenet_v2").resize == 232  # the default is V2
    assert transform("torchvision/mobilenet_v2", "mine.pth").resize == 256  # nothing known: V1
    assert transform("resnet50", "resnet50-0676ba61.pth").resize == 256
    assert transform("resnet50", "resnet50-11ad3fa6.pth").resize == 232
    swag = transform("regnet_y_32gf", "regnet_y_32gf_swag-04fdfa75.pth")
    assert (swag.size, swag.resize, swag.interpolation) == (384, 384, "bicubic")


TIMM_MODELS = {
    "resnet18.tv_in1k": (0.875, "bilinear", 224),
    "resnet50.a1_in1k": (0.95, "bicubic", 224),
    "regnety_032.ra_in1k": (0.95, "bicubic", 224),
    "vit_base_patch16_224.augreg_in21k": (0.9, "bicubic", 224),
    "vit_base_patch16_clip_224.openai": (0.9, "bicubic", 224),
    "mobilenetv3_small_050.lamb_in1k": (0.875, "bicubic", 224),
    "convmixer_768_32.in1k": (0.96, "bicubic", 224),
    "hrnet_w18.ms_aug_in1k": (0.95, "bilinear", 224),
    "convnext_base.clip_laion2b": (1.0, "bicubic", 256),
    "aimv2_huge_patch14_224.apple_pt": (1.0, "bicubic", 224),
    "tf_efficientnet_b0.ns_jft_in1k": (0.875, "bicubic", 224),
    "inception_v3.tf_in1k": (0.875, "bicubic", 299),
}


@pytest.mark.parametrize("name", TIMM_MODELS)
def test_timms_transforms(name: str) -> None:
    config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())  # type: ignore[union-attr]
    assert (config["crop_pct"], config["interpolation"], config["input_size"][1]) == TIMM_MODELS[name]
    check(transform(f"timm/{name}"), create_transform(**config, is_training=False))


def test_timms_transforms_by_its_own_model() -> None:
    for name in ("mobilenetv3_small_050", "resnet10t"):
        model = timm.create_model(name)
        check(transform(f"timm/{name}"), create_transform(**resolve_data_config({}, model=model), is_training=False))


def test_every_published_model_of_timm_has_a_transform_or_a_message() -> None:
    """Each that crops the centre is what timm makes of a photograph; of settings that differ in mean and std alone,
    one is looked at."""
    refused, checked = 0, set()
    for name in timm.list_pretrained():
        config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())  # type: ignore[union-attr]
        channels, height, width = config["input_size"]
        if channels != 3 or height != width:
            refused += 1
            with pytest.raises(UserError, match=rf"timm/{name}: takes inputs \({channels}, {height}, {width}\)"):
                preprocessing(f"timm/{name}")
            continue
        found = transform(f"timm/{name}")
        assert (found.size, found.resize) == (height, math.floor(height / config["crop_pct"]))
        assert (found.interpolation, *found.mean, *found.std) == (
            config["interpolation"], *config["mean"], *config["std"]
        )  # fmt: skip
        kind = (found.size, found.resize, found.interpolation)
        if config["crop_mode"] == "center" and height <= 320 and kind not in checked:
            checked.add(kind)
            expected = create_transform(**config, is_training=False)(photograph())
            assert (network_input(photograph(), found, None) - expected).abs().max() <= 1e-6  # type: ignore[operator]
    assert refused and len(checked) > 40


def test_transforms_of_this_projects_networks() -> None:
    mnist = {"size": 28, "resize": 28, "interpolation": "bilinear", "mean": [0.286], "std": [0.353]}
    cifar = {"size": 32, "resize": 32, "interpolation": "bilinear", "mean": [0.4914, 0.4822, 0.4465]}
    standard = {"size": 224, "resize": 256, "interpolation": "bilinear", "mean": [0.485, 0.456, 0.406]}
    vit = {"size": 224, "resize": 248, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    expected = {
        "resnet8": mnist, "resnet8w2": mnist, "4xresnet8": mnist, "cifar_resnet18": cifar, "cifar_resnet18w4": cifar,
        "resnet50": standard, "resnet50w2": standard, "2xresnet50": standard, "resnet152": standard,
        "regnet_y_32gf": standard, "vit_b16": vit, "vit_l16": vit,
    }  # fmt: skip
    for arch, values in expected.items():
        for file in (None, "checkpoint.pth"):
            found = transform(arch, file)
            assert {key: getattr(found, key) for key in values} == values, arch
    assert transform("resnet8").channels == 1 and transform("2xtimm/resnet18") == transform("timm/resnet18")


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("timm/vit_base_patch16_sapiens2.fb", r"takes inputs \(3, 1024, 768\); they must be square RGB images"),
        ("timm/nothing", "timm/nothing: timm .* has no such model; timm.list_models"),
        ("timm/resnet18.foo", "timm/resnet18.foo: timm .* has no such weights; it must be one of resnet18.a1_in1k, resnet18"),
        ("torchvision/nothing", "torchvision/nothing: torchvision has no image classifier of this name; torchvision.models"),
        ("torchvision/r3d_18", "torchvision/r3d_18: torchvision has no image classifier of this name"),
        ("torchvision/fcn_resnet50", "torchvision/fcn_resnet50: torchvision has no image classifier of this name"),
        ("resnet51", "found 'resnet51'; must be one of resnet8, "),
    ],
)  # fmt: skip
def test_networks_without_a_transform_are_one_message(arch: str, message: str) -> None:
    for file in (None, "file.pth"):
        with pytest.raises(UserError, match=message) as caught:
            preprocessing(arch, file)
        assert "\n" not in str(caught.value)
