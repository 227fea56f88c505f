"""Networks of every published format, against independent implementations, from files written in the exact layout.

The other implementation (torchvision, timm) has random weights, batch-norm statistics included; its file is converted
and loaded, and the features must agree.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from rrl.errors import UserError
from rrl.networks import build, convert, load
from rrl.networks.architectures import NAMED, parse_architecture
from rrl.networks.stored_networks import resize_position_embeddings
from rrl.networks.trunks import parameter_count
from tests.helpers.clones import CLONE
from tests.helpers.models import (
    IMAGES,
    Tensors,
    features_of,
    randomise,
    reshaped,
    resnet,
    rrl_file,
    run,
    same,
    spoilt_files,
    trunk_and_fc,
    vissl_key,
    without,
)

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("arch", "feature_dim", "parameters"),
    [
        ("resnet8", 32, 19_480),
        ("resnet50", 2048, 23_508_032),
        ("resnet50w2", 4096, 93_907_072),
        ("resnet50w4", 8192, 375_378_176),
        ("resnet50w5", 10240, 586_450_240),
        ("2xresnet50", 4096, 47_016_064),
        ("4xresnet50", 8192, 94_032_128),
        ("resnet152", 2048, 58_143_808),
        ("regnet_y_32gf", 3712, 141_333_770),
        ("regnet_y_64gf", 4920, 276_457_786),
        ("regnet_y_128gf", 7392, 637_419_894),
        ("regnet_y_256gf", 10444, 1_272_156_138),
        ("vit_b16", 768, 85_798_656),
        ("vit_l16", 1024, 303_301_632),
        ("cifar_resnet18", 512, 11_168_832),
        ("cifar_resnet18w2", 1024, 44_652_672),
        ("cifar_resnet18w4", 2048, 178_565_376),
    ],
)
def test_sizes_are_the_published_ones(arch: str, feature_dim: int, parameters: int) -> None:
    with torch.device("meta"):
        trunk = build(arch)
    assert (trunk.feature_dim, parameter_count(trunk)) == (feature_dim, parameters)
    assert trunk.head is None and parse_architecture(arch).feature_dim == feature_dim


@pytest.mark.parametrize(("arch", "parameters"), [("vit_b16", 86_090_496), ("vit_l16", 303_690_752)])
def test_sizes_of_vision_transformers_at_384_pixels(arch: str, parameters: int) -> None:
    with torch.device("meta"):
        assert parameter_count(build(arch, image_size=384)) == parameters


@pytest.mark.parametrize(
    ("arch", "size"),
    [("resnet50w2", 64), ("2xresnet50", 64), ("cifar_resnet18", 32), ("cifar_resnet18", 64), ("vit_b16", 224),
     ("torchvision/densenet121", 64), ("torchvision/vgg11", 64), ("torchvision/swin_t", 64),
     ("timm/convnext_atto", 64), ("timm/mobilenetv3_small_050", 64)],
)  # fmt: skip
def test_features_have_the_shape_that_is_announced(arch: str, size: int) -> None:
    trunk = build(arch).eval()
    with torch.inference_mode():
        assert trunk(torch.rand(2, 3, size, size)).shape == (2, trunk.feature_dim)


@pytest.mark.parametrize(
    ("arch", "size", "message"),
    [
        ("resnet51", None, "found 'resnet51'; must be one of resnet8, resnet8rgb, cifar_resnet18, resnet50, resnet152"),
        ("timm/resnet51x", None, "timm/resnet51x: timm .* has no such model"),
        ("torchvision/nothing", None, "torchvision/nothing: torchvision has no such model"),
        ("torchvision/squeezenet1_0", None, "does not end in a linear layer"),
        ("vit_b16", 100, "not for images of 100 pixels"),
    ],
)
def test_what_cannot_be_built_is_one_message(arch: str, size: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(arch, image_size=size)


def test_a_wide_resnet_is_initialised_as_torchvisions() -> None:
    """Standard deviation of every convolution: sqrt(2 / (outputs x area))."""
    for name, module in build("resnet50w2").named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1), name


# Files in the layout of each project


def loaded(source: Path, arch: str, format: str, image_size: int | None = None) -> Any:
    destination = source.with_name("network.safetensors")
    convert(source, destination, arch=arch, format=format)
    network = load(destination, image_size=image_size)
    assert not network.training
    return network


@pytest.mark.parametrize("format", ["rrl", "auto"])
def test_rrl(tmp_path: Path, format: str) -> None:
    model = resnet()
    path = rrl_file([model], tmp_path / "checkpoint_run0.pth.tar")
    network = loaded(path, "resnet50", format)
    same(run(network, IMAGES), features_of(model, IMAGES))
    linear = torch.load(path, weights_only=True)["state_dict"]["module.classifier.linear.weight"]
    assert torch.equal(network.head.weight, linear)
    assert parameter_count(network) == 23_508_032  # the head is not among them


def test_rrl_joint(tmp_path: Path) -> None:
    models = [resnet(), resnet("resnet50")]
    randomise(models[1].layer1)
    models[1].conv1.weight.data.mul_(1.1)
    network = loaded(rrl_file(models, tmp_path / "2resnet50.pth.tar"), "2xresnet50", "rrl")
    same(run(network, IMAGES), torch.cat([features_of(model, IMAGES) for model in models], dim=1))
    assert network.head.in_features == 4096


def test_rrl_head_with_batch_norm_is_folded(tmp_path: Path) -> None:
    norm = nn.BatchNorm1d(2048)
    norm.running_mean.uniform_(0.1, 1)
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.uniform_(-1, 1)
    path = rrl_file([resnet()], tmp_path / "file.pth.tar", norm)
    network = loaded(path, "resnet50", "rrl")
    state = torch.load(path, weights_only=True)["state_dict"]
    features = torch.rand(4, 2048)
    expected = nn.functional.linear(
        norm.eval()(features), state["module.classifier.linear.weight"], state["module.classifier.linear.bias"]
    )
    same(network.head(features), expected)


def test_rrl_with_a_head_for_other_features_is_refused(tmp_path: Path) -> None:
    path = rrl_file([resnet()], tmp_path / "file.pth.tar")
    content = torch.load(path, weights_only=True)
    content["state_dict"]["module.classifier.linear.weight"] = torch.rand(10, 4096)
    torch.save(content, path)
    with pytest.raises(UserError, match="its head is for 4096 features, resnet50 has 2048"):
        convert(path, tmp_path / "out", arch="resnet50", format="rrl")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("format", ["swav", "auto"])
def test_swav(tmp_path: Path, nested: bool, format: str) -> None:
    model = resnet()
    state = {f"module.{key}": value for key, value in trunk_and_fc(model)[0].items()}
    state |= {"module.projection_head.0.weight": torch.rand(8, 2048), "module.projection_head.0.bias": torch.rand(8)}
    state |= {"module.prototypes.weight": torch.rand(30, 8)}
    torch.save({"state_dict": state, "epoch": 400} if nested else state, tmp_path / "swav.pth.tar")
    network = loaded(tmp_path / "swav.pth.tar", "resnet50", format)
    same(run(network, IMAGES), features_of(model, IMAGES))
    assert network.head is None


@pytest.fixture(scope="module")
def regnet() -> Any:
    torch.manual_seed(3)
    return randomise(torchvision.models.regnet_y_32gf())


@pytest.mark.parametrize("finetuned", [False, True])
def test_vissl(tmp_path: Path, regnet: Any, finetuned: bool) -> None:
    state = regnet.state_dict()
    trunk = {vissl_key(key): value for key, value in state.items() if not key.startswith("fc.")}
    heads = {"0.clf.0.weight": state["fc.weight"], "0.clf.0.bias": state["fc.bias"]}
    if not finetuned:
        heads = {"0.projection_head.0.weight": torch.rand(8, 3712), "0.prototypes0.weight": torch.rand(30, 8)}
    model = {"trunk": trunk, "heads": heads}
    content = {"classy_state_dict": {"base_model": {"model": model, "meta": {}}}, "iteration": 244_000, "phase_idx": 0}
    path = tmp_path / "seer.torch"
    torch.save(content, path)
    network = loaded(path, "regnet_y_32gf", "vissl" if finetuned else "auto")
    with torch.inference_mode():
        expected = regnet.avgpool(regnet.trunk_output(regnet.stem(IMAGES))).flatten(1)
    same(run(network, IMAGES), expected)
    assert (network.head is not None) == finetuned
    if finetuned:
        assert torch.equal(network.head.weight, state["fc.weight"])
    # and by timm's own reading of the file
    theirs = timm.create_model("regnety_320.seer", pretrained=False, num_classes=0).eval()
    filtered = timm.models.regnet._filter_fn(content)
    theirs.load_state_dict({key: value for key, value in filtered.items() if not key.startswith("head.")})
    same(run(network, IMAGES), run(theirs, IMAGES))


def flax_file(model: Any, path: Path, classes: int, pre_logits: bool) -> Path:
    """Google's ViT layout, from a timm model."""
    state = model.state_dict()
    width, heads = model.embed_dim, model.blocks[0].attn.num_heads
    arrays = {
        "cls": state["cls_token"],
        "embedding/kernel": state["patch_embed.proj.weight"].permute(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": torch.rand(width, classes),
        "head/bias": torch.rand(classes),
    }
    if pre_logits:
        arrays |= {"pre_logits/kernel": torch.rand(width, width), "pre_logits/bias": torch.rand(width)}
    for number in range(len(model.blocks)):
        ours, theirs = f"blocks.{number}.", f"Transformer/encoderblock_{number}/"
        attention = f"{theirs}MultiHeadDotProductAttention_1/"
        for name, weight, bias in zip(("query", "key", "value"), state[f"{ours}attn.qkv.weight"].chunk(3),
                                      state[f"{ours}attn.qkv.bias"].chunk(3), strict=True):  # fmt: skip
            arrays[f"{attention}{name}/kernel"] = weight.T.reshape(width, heads, width // heads)
            arrays[f"{attention}{name}/bias"] = bias.reshape(heads, width // heads)
        arrays[f"{attention}out/kernel"] = state[f"{ours}attn.proj.weight"].T.reshape(heads, width // heads, width)
        arrays[f"{attention}out/bias"] = state[f"{ours}attn.proj.bias"]
        for old, new in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            arrays |= {
                f"{theirs}{new}/scale": state[f"{ours}{old}.weight"],
                f"{theirs}{new}/bias": state[f"{ours}{old}.bias"],
            }
        for old, new in (("mlp.fc1", "MlpBlock_3/Dense_0"), ("mlp.fc2", "MlpBlock_3/Dense_1")):
            arrays |= {
                f"{theirs}{new}/kernel": state[f"{ours}{old}.weight"].T,
                f"{theirs}{new}/bias": state[f"{ours}{old}.bias"],
            }
    np.savez(path, **{key: value.numpy() for key, value in arrays.items()})
    return path


@pytest.fixture(scope="module")
def vit() -> Any:
    torch.manual_seed(4)
    model = timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    return model


@pytest.mark.parametrize(("classes", "pre_logits"), [(21_843, True), (1000, False)])
def test_vit(tmp_path: Path, vit: Any, classes: int, pre_logits: bool) -> None:
    path = flax_file(vit, tmp_path / "ViT-B_16.npz", classes, pre_logits)
    images = torch.rand(2, 3, 224, 224)
    network = loaded(path, "vit_b16", "vit-npz" if pre_logits else "auto")
    same(run(network, images), run(vit, images))
    assert network.head.weight.shape == (classes, 768)
    theirs = timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0).eval()
    theirs.load_pretrained(path)  # timm's own reading of the file
    same(run(network, images), run(theirs, images))


def test_position_embeddings_are_resized_as_published(tmp_path: Path, vit: Any) -> None:
    """Linear, corners aligned: against the formula, and by features of a network that was given them."""
    path = flax_file(vit, tmp_path / "ViT-B_16.npz", 10, False)
    network = loaded(path, "vit_b16", "vit-npz", image_size=384)
    embeddings = vit.pos_embed.detach()
    grid = embeddings[0, 1:].reshape(14, 14, 768).double().numpy()
    at = np.arange(24) * 13 / 23
    low = np.minimum(np.floor(at).astype(int), 12)
    share = (at - low)[:, None, None]
    rows = grid[low] * (1 - share) + grid[low + 1] * share
    both = rows[:, low] * (1 - share.reshape(1, -1, 1)) + rows[:, low + 1] * share.reshape(1, -1, 1)
    resized = resize_position_embeddings(embeddings, 1 + 24 * 24)
    np.testing.assert_allclose(resized[0, 1:].numpy(), both.reshape(-1, 768), atol=1e-6)
    assert torch.equal(resized[:, 0], embeddings[:, 0])
    theirs = timm.create_model("vit_base_patch16_384", pretrained=False, num_classes=0).eval()
    theirs.load_state_dict(vit.state_dict() | {"pos_embed": resized})
    images = torch.rand(1, 3, 384, 384)
    same(run(network, images), run(theirs, images))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["resnet50", "resnet152"])
def test_torchvision(tmp_path: Path, name: str, legacy: bool) -> None:
    model = resnet(name)
    torch.save(model.state_dict(), tmp_path / "file.pth", _use_new_zipfile_serialization=not legacy)
    weight = model.fc.weight.detach().clone()
    for format in ("torchvision", "auto"):
        network = loaded(tmp_path / "file.pth", name, format)
        same(run(network, IMAGES), features_of(model, IMAGES))
        assert torch.equal(network.head.weight, weight)


def test_torchvision_regnet(tmp_path: Path, regnet: Any) -> None:
    torch.save(regnet.state_dict(), tmp_path / "file.pth")
    network = loaded(tmp_path / "file.pth", "regnet_y_32gf", "torchvision")
    with torch.inference_mode():
        same(run(network, IMAGES), regnet.avgpool(regnet.trunk_output(regnet.stem(IMAGES))).flatten(1))


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.encoder_q.", "teacher.backbone."])
def test_checkpoints_of_other_projects_are_found_behind_their_prefix(tmp_path: Path, prefix: str) -> None:
    model = resnet()
    trunk, head = trunk_and_fc(model)
    state = {prefix + key: value for key, value in (trunk | head).items()} | {
        "queue": torch.rand(3, 3),
        "head.x": torch.rand(1),
    }
    torch.save({"model": state, "epoch": 3}, tmp_path / "other.pth")
    network = loaded(tmp_path / "other.pth", "resnet50", "auto")
    same(run(network, IMAGES), features_of(model, IMAGES))
    assert torch.equal(network.head.weight, head["fc.weight"])


def test_a_safetensors_file_of_a_library(tmp_path: Path) -> None:
    model = timm.create_model("resnet18", pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    network = loaded(tmp_path / "model.safetensors", "timm/resnet18", "auto")
    model.reset_classifier(0)
    same(run(network, IMAGES), run(model, IMAGES))


# Refusals


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda state: {prefix + name: value for name, value in state.items()}


@pytest.fixture(scope="module")
def state() -> Tensors:
    return resnet().state_dict()


@pytest.mark.parametrize(
    ("edit", "arch", "format", "message"),
    [
        (dict, "resnet152", "torchvision", r"not a resnet152: missing: model.layer2.4.*It would fit arch resnet50$"),
        (dict, "resnet152", "auto", r"not a resnet152: missing: model.layer2.4.*It would fit arch resnet50$"),
        (dict, "resnet50w2", "auto", r"not a resnet50w2: model.bn1.bias: found shape \(64,\), resnet50w2 has \(128,\)"),
        (dict, "vit_b16", "auto", "not a vit_b16 under any prefix; the keys begin with .*It would fit arch resnet50$"),
        (without("layer3.2.bn2.running_mean"), "resnet50", "torchvision", "missing: model.layer3.2.bn2.running_mean. No arch"),
        (without("layer3.2.bn2.running_mean"), "resnet50", "auto", "missing: model.layer3.2.bn2.running_mean. No arch"),
        (reshaped("layer1.0.conv1.weight"), "resnet50", "auto", r"layer1.0.conv1.weight: found shape \(63, 64, 1, 1\), resnet50 has"),
        (prefixed("module.net."), "resnet50", "torchvision", "not a resnet50: missing"),
        (prefixed("module."), "resnet50", "rrl", "not a resnet50: missing"),
    ],
)  # fmt: skip
def test_another_network_is_refused(
    tmp_path: Path, state: Tensors, edit: Callable[[Tensors], Tensors], arch: str, format: str, message: str
) -> None:
    torch.save(edit(state), tmp_path / "file.pth")
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "file.pth", tmp_path / "out.safetensors", arch=arch, format=format)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]


def test_a_larger_network_is_refused_under_a_smaller_name(tmp_path: Path) -> None:
    """resnet152 has every key of resnet50, with the same shapes, and more."""
    torch.save(torchvision.models.resnet101().state_dict(), tmp_path / "file.pth")
    for format in ("torchvision", "auto"):
        with pytest.raises(UserError, match="not a resnet50: unexpected: model.layer3.10"):
            convert(tmp_path / "file.pth", tmp_path / "out.safetensors", arch="resnet50", format=format)


def test_what_cannot_be_read_safely_is_refused(tmp_path: Path, state: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = spoilt_files(tmp_path, state)
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, message in files.items():
        for format in ("auto", "rrl", "torchvision"):
            with pytest.raises(UserError, match=f"{name}: .*{message}") as caught:
                convert(tmp_path / name, tmp_path / "out.safetensors", arch="resnet50", format=format)
            assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # nothing ran, nothing is left


def test_a_file_that_is_not_ours_is_not_loaded(tmp_path: Path, state: Tensors) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not a network of this project; rrl.networks.convert makes one"):
        load(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="absent.safetensors: missing"):
        load(tmp_path / "absent.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="damaged, or not a safetensors file"):
        load(tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match="format: found 'pickle'; must be one of auto, rrl, swav"):
        convert(tmp_path / "other.safetensors", tmp_path / "out", arch="resnet50", format="pickle")


def test_two_conversions_give_the_same_bytes(tmp_path: Path, state: Tensors) -> None:
    torch.save(state, tmp_path / "file.pth")
    for name in ("a", "b"):
        convert(tmp_path / "file.pth", tmp_path / name, arch="resnet50", format="auto")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert all(value.dtype in (torch.float32, torch.int64) for value in load_file(tmp_path / "a").values())


def test_the_example_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (CLONE / "docs/networks.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    rrl_file([resnet()], tmp_path / "checkpoint_run0.pth.tar")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["features"].shape == (4, 2048) and names["network"].head.in_features == 2048
    assert names["untrained"].feature_dim == 768


def test_the_docs_have_every_architecture_of_the_sizes_test() -> None:
    text = (CLONE / "docs/networks.md").read_text()
    for name in NAMED:
        assert f"`{name}`" in text or f"`_{name.rpartition('_')[2]}`" in text, name


def test_counters_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    """As in torchvision's first networks; nothing else may."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = resnet18()
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    convert(tmp_path / "old.pth", tmp_path / "new.safetensors", arch="torchvision/resnet18", format="auto")
    images = torch.rand(2, 3, 64, 64)
    model.fc = torch.nn.Identity()
    with torch.inference_mode():
        found, expected = load(tmp_path / "new.safetensors")(images), model.eval()(images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    state.pop("layer1.0.bn1.running_mean")
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(UserError, match="missing: model.layer1.0.bn1.running_mean"):
        convert(tmp_path / "cut.pth", tmp_path / "cut.safetensors", arch="torchvision/resnet18", format="auto")
