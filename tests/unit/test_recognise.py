"""Which architecture a file is of: files in the layout of each project, most of them with shapes and no numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from rrl.errors import UserError
from rrl.networks import convert
from rrl.networks.architectures import published
from rrl.networks.read_prefix import holds
from rrl.networks.recognise import architecture_of
from rrl.networks.shapes import expected_shapes, without_weights
from rrl.networks.trunks import build_trunk
from tests.helpers.models import Tensors, reshaped, spoilt_files, vissl_key, without

CLASSIFIERS = torchvision.models.list_models(torchvision.models)


def of_shape(shape: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of which a file holds one number."""
    return torch.zeros((), dtype=dtype).expand(tuple(shape))


def shapes(model: nn.Module) -> Tensors:
    return {key: of_shape(value.shape, value.dtype) for key, value in model.state_dict().items()}


def library(name: str, of: Any = torchvision.models.get_model) -> Tensors:
    """The state_dict of a model, its head included."""
    return shapes(of(name))


def ours(arch: str) -> Tensors:
    """A trunk's tensors by the keys that torchvision has for them."""
    return {key.removeprefix("model."): of_shape(shape) for key, shape in expected_shapes(arch).items()}


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def resnet18() -> Tensors:
    return library("resnet18")


# Files that say what they are


@pytest.mark.parametrize("arch", ["torchvision/shufflenet_v2_x0_5", "timm/resnet10t", "resnet8w2", "2xresnet8"])
def test_a_file_that_convert_wrote_says_what_it_is(tmp_path: Path, arch: str) -> None:
    """Also of a timm model, which no trial would find, and whatever the file's name."""
    torch.save(build_trunk(arch).state_dict(), tmp_path / "file.pth")
    convert(tmp_path / "file.pth", tmp_path / "vgg11-0.safetensors", arch=arch, format="auto")
    assert architecture_of(tmp_path / "vgg11-0.safetensors") == arch


@pytest.mark.parametrize("about", ["{}", '["arch"]', '{"arch": null}', '"resnet8"'])
def test_a_file_with_other_words_of_this_name_is_tried_like_any(tmp_path: Path, resnet18: Tensors, about: str) -> None:
    tensors = {key: value.contiguous() for key, value in resnet18.items()}
    save_file(tensors, tmp_path / "resnet18.safetensors", metadata={"rrl": about})
    assert architecture_of(tmp_path / "resnet18.safetensors") == "torchvision/resnet18"


# Files that do not


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_16", "regnet_y_400mf", "swin_v2_t", "densenet121"])
@pytest.mark.parametrize("file", ["{}-0123abcd.pth", "{}.pth", "best_model.pth"])
def test_a_state_dict_of_torchvision_whatever_its_name(tmp_path: Path, name: str, file: str) -> None:
    state = ours(f"torchvision/{name}") | {"other_head.weight": of_shape((7, 5))}
    assert architecture_of(saved(state, tmp_path / file.format(name))) == f"torchvision/{name}"


def test_every_classifier_of_torchvision_is_told_from_the_others() -> None:
    """But two that do not end in a linear layer."""
    names = [f"torchvision/{name}" for name in CLASSIFIERS if not name.startswith("squeezenet")]
    assert len(names) == 78 and all(holds(ours(name), name) for name in names)
    assert len({frozenset(expected_shapes(name).items()) for name in names}) == len(names)


def test_networks_that_are_published_networks_of_this_project_have_its_names(tmp_path: Path) -> None:
    for name in ("resnet50", "resnet152", "regnet_y_32gf", "regnet_y_128gf"):
        assert architecture_of(saved(ours(f"torchvision/{name}"), tmp_path / f"{name}-0.pth")) == name


def test_a_name_that_names_another_model_misleads_nobody(tmp_path: Path, resnet18: Tensors) -> None:
    assert architecture_of(saved(resnet18, tmp_path / "vgg11-0123abcd.pth")) == "torchvision/resnet18"


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "model.", "trunk.model.", "teacher.net."])
def test_behind_a_prefix_in_a_dictionary(tmp_path: Path, resnet18: Tensors, prefix: str) -> None:
    content = {"epoch": 3, "model": {prefix + key: value for key, value in resnet18.items()}, "optimizer": {"x": [1]}}
    assert architecture_of(saved(content, tmp_path / "last.pth.tar")) == "torchvision/resnet18"


@pytest.mark.parametrize(
    "arch",
    ["resnet8", "resnet8w2", "cifar_resnet18w4", "resnet50", "resnet50w2", "resnet152"],
)
def test_trunks_of_this_project_by_their_own_keys(tmp_path: Path, arch: str) -> None:
    """`trunk.*`, as in its files, here without the words that say so."""
    state = {f"trunk.{key}": of_shape(shape) for key, shape in expected_shapes(arch).items()}
    assert architecture_of(saved(state, tmp_path / "file.pth")) == arch


def rrl_layout(arch: str) -> Tensors:
    state = ours(arch)
    if arch[1] == "x":
        keys = {key: f"model{key.split('.')[1]}.{key.split('.model.')[1]}" for key in state}
        state = {keys[key]: value for key, value in state.items()}
    width = without_weights(arch).feature_dim
    head = {"module.classifier.linear.weight": of_shape((10, width)), "module.classifier.linear.bias": of_shape((10,))}
    norm = {
        f"module.classifier.bn.{key}": of_shape((width,)) for key in ("weight", "bias", "running_mean", "running_var")
    }
    return {f"module.model0.{key}": value for key, value in state.items()} | head | norm


@pytest.mark.parametrize("arch", ["resnet50", "resnet50w2", "2xresnet50", "4xresnet50", "cifar_resnet18"])
def test_the_layout_of_the_published_training_script(tmp_path: Path, arch: str) -> None:
    content = {"epoch": 90, "arch": "anything", "state_dict": rrl_layout(arch), "best_acc1": torch.tensor(76.1)}
    assert architecture_of(saved(content, tmp_path / "checkpoint_run0.pth.tar")) == arch


@pytest.mark.parametrize("arch", ["resnet50", "resnet50w4"])
@pytest.mark.parametrize("nested", [False, True])
def test_swav(tmp_path: Path, arch: str, nested: bool) -> None:
    state = {f"module.{key}": value for key, value in ours(arch).items()}
    state |= {"module.projection_head.0.weight": of_shape((8, 9)), "module.prototypes.weight": of_shape((30, 8))}
    content = {"state_dict": state, "epoch": 400} if nested else state
    assert architecture_of(saved(content, tmp_path / "swav_800ep_pretrain.pth.tar")) == arch


def test_vissl(tmp_path: Path) -> None:
    state = ours("torchvision/regnet_y_32gf")
    model = {"trunk": {vissl_key(key): value for key, value in state.items()}, "heads": {"0.x": of_shape((8, 9))}}
    content = {"classy_state_dict": {"base_model": {"model": model, "meta": {}}}, "iteration": 244_000}
    assert architecture_of(saved(content, tmp_path / "seer.torch")) == "regnet_y_32gf"


def flax_layout(arch: str, places: int) -> dict[str, np.ndarray[Any, Any]]:
    """Google's ViT, its numbers of one byte: it is the shapes that count."""
    shape = {key.removeprefix("model."): value for key, value in expected_shapes(arch).items()}
    width = shape["cls_token"][2]
    heads, hidden = width // 64, shape["blocks.0.mlp.fc1.bias"][0]
    found: dict[str, Any] = {
        "cls": (1, 1, width),
        "embedding/kernel": (16, 16, 3, width),
        "embedding/bias": (width,),
        "Transformer/posembed_input/pos_embedding": (1, 1 + places, width),
        "Transformer/encoder_norm/scale": (width,),
        "Transformer/encoder_norm/bias": (width,),
        "pre_logits/kernel": (width, width),
        "pre_logits/bias": (width,),
        "head/kernel": (width, 10),
        "head/bias": (10,),
    }
    for number in range(sum(key.endswith("norm1.weight") for key in shape)):
        block = f"Transformer/encoderblock_{number}/"
        for name in ("query", "key", "value"):
            found[f"{block}MultiHeadDotProductAttention_1/{name}/kernel"] = (width, heads, 64)
            found[f"{block}MultiHeadDotProductAttention_1/{name}/bias"] = (heads, 64)
        found[f"{block}MultiHeadDotProductAttention_1/out/kernel"] = (heads, 64, width)
        found[f"{block}MultiHeadDotProductAttention_1/out/bias"] = (width,)
        for name in ("LayerNorm_0", "LayerNorm_2"):
            found |= {f"{block}{name}/{part}": (width,) for part in ("scale", "bias")}
        for name, size in (("Dense_0", (width, hidden)), ("Dense_1", (hidden, width))):
            found |= {f"{block}MlpBlock_3/{name}/kernel": size, f"{block}MlpBlock_3/{name}/bias": size[1:]}
    return {key: np.zeros(size, np.int8) for key, size in found.items()}


@pytest.mark.parametrize(("arch", "places"), [("vit_b16", 14 * 14), ("vit_b16", 24 * 24), ("vit_l16", 14 * 14)])
def test_a_vision_transformer_of_google(tmp_path: Path, arch: str, places: int) -> None:
    np.savez(tmp_path / "imagenet21k.npz", **flax_layout(arch, places))  # type: ignore[arg-type]
    assert architecture_of(tmp_path / "imagenet21k.npz") == arch


def test_a_vision_transformer_of_google_that_is_not_whole(tmp_path: Path) -> None:
    arrays = flax_layout("vit_b16", 14 * 14)
    del arrays["Transformer/encoderblock_5/MlpBlock_3/Dense_1/bias"]
    np.savez(tmp_path / "file.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"file\.npz: fits no architecture of the published networks or torchvision"):
        architecture_of(tmp_path / "file.npz")


# Files that nothing, or too much, fits


def test_networks_that_were_trained_jointly_are_also_networks_each(tmp_path: Path) -> None:
    state = {f"trunk.{key}": of_shape(shape) for key, shape in expected_shapes("2xresnet50").items()}
    with pytest.raises(UserError, match="fits resnet50, 2xresnet50; name it"):
        architecture_of(saved(state, tmp_path / "file.pth"))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "convnext_atto", "resnet10t"])
def test_a_timm_model_that_torchvision_has_not_is_to_be_named(tmp_path: Path, name: str) -> None:
    path = saved(library(name, timm.create_model), tmp_path / "model.pth")
    with pytest.raises(UserError) as caught:
        architecture_of(path)
    assert str(caught.value) == (
        f"{path}: fits no architecture of the published networks or torchvision; name it: timm/<name>={path}, "
        "or another architecture in its place"
    )


def test_a_timm_model_that_torchvision_has_too_is_torchvisions(tmp_path: Path) -> None:
    path = saved(library("resnet18", timm.create_model), tmp_path / "timm-resnet18.pth")
    assert architecture_of(path) == "torchvision/resnet18"


def test_a_classifier_without_a_linear_layer_at_its_end_is_no_reason_to_stop(tmp_path: Path) -> None:
    for file in ("squeezenet1_1-b8a52dc0.pth", "file.pth"):
        with pytest.raises(UserError, match="fits no architecture of the published networks or torchvision"):
            architecture_of(saved(library("squeezenet1_1"), tmp_path / file))


def test_two_networks_in_a_file_are_both_named(tmp_path: Path, resnet18: Tensors) -> None:
    both = {f"a.{key}": value for key, value in library("mobilenet_v2").items()}
    both |= {f"b.{key}": value for key, value in resnet18.items()}
    with pytest.raises(UserError, match="fits torchvision/mobilenet_v2, torchvision/resnet18; name it: timm/<name>="):
        architecture_of(saved(both, tmp_path / "both.pth"))


@pytest.mark.parametrize("edit", [without("layer3.0.bn2.running_mean"), reshaped("layer1.0.conv1.weight")])
def test_a_network_that_was_changed_fits_nothing(tmp_path: Path, resnet18: Tensors, edit: Any) -> None:
    with pytest.raises(UserError, match="fits no architecture"):
        architecture_of(saved(edit(resnet18), tmp_path / "resnet18.pth"))


def test_what_cannot_be_read_safely_is_refused_and_nothing_runs(
    tmp_path: Path, resnet18: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = spoilt_files(tmp_path, resnet18)
    np.savez(tmp_path / "whole.npz", **{"Transformer/x": np.zeros((100, 100))})
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "changed.npz").write_bytes(whole[:3000] + b"change" + whole[3006:])
    (tmp_path / "empty.npz").write_bytes(b"")
    files |= dict.fromkeys(("cut.npz", "changed.npz", "empty.npz"), "cut off or not a checkpoint")
    save_file({"x": torch.zeros(1000)}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    (tmp_path / "page.safetensors").write_bytes(b"<html>")
    for name in ("cut.safetensors", "page.safetensors", "absent.safetensors"):
        files[name] = "missing, damaged, or not a safetensors file"
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, message in files.items():
        with pytest.raises(UserError, match=f"{name}: .*{message}") as caught:
            architecture_of(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    for path in (tmp_path, tmp_path / "folder.safetensors"):
        with pytest.raises(UserError, match=f"{path.name}: "):
            architecture_of(path)


def test_every_architecture_is_built_once_at_most(tmp_path: Path) -> None:
    """For a file that nothing fits and whose name says nothing; without weights, which takes seconds for all."""
    path = saved({"x": of_shape((3, 4))}, tmp_path / "file.pth")
    expected_shapes.cache_clear()
    with pytest.raises(UserError, match="fits no architecture"):
        architecture_of(path)
    assert len(CLASSIFIERS) <= expected_shapes.cache_info().misses <= len(published()) + len(CLASSIFIERS)


# Shapes


@pytest.mark.parametrize("arch", ["torchvision/regnet_x_400mf", "torchvision/swin_t", "timm/resnet10t", "2xresnet8"])
def test_a_network_without_weights_has_the_shapes_of_one_with_weights(arch: str) -> None:
    """torchvision's RegNets compute with tensors while they are built."""
    empty, real = without_weights(arch), build_trunk(arch)
    assert empty.feature_dim == real.feature_dim and all(part.is_meta for part in empty.parameters())
    found = {key: (value.shape, value.dtype) for key, value in empty.state_dict().items()}
    assert found == {key: (value.shape, value.dtype) for key, value in real.state_dict().items()}


def test_a_network_without_weights_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    without_weights("torchvision/mobilenet_v3_small")
    assert torch.equal(torch.get_rng_state(), before)


def test_holds_asks_for_every_key_and_shape(resnet18: Tensors) -> None:
    arch = "torchvision/resnet18"
    assert holds(resnet18, arch)
    assert holds({f"module.{key}": value for key, value in resnet18.items()}, arch)
    assert holds(resnet18 | {"queue": of_shape((3,)), "fc.weight": of_shape((7, 512))}, arch)
    assert not holds(resnet18 | {"layer1.9.conv1.weight": of_shape((3,))}, arch)
    assert not holds(without("layer4.1.bn2.bias")(resnet18), arch)
    assert not holds(reshaped("layer4.1.bn2.bias")(resnet18), arch)
    assert not holds({}, arch)
    assert not holds(resnet18, "torchvision/resnet34") and not holds(resnet18, "cifar_resnet18")


@pytest.mark.parametrize("arch", ["resnet50", "2xresnet50", "vit_b16", "regnet_y_32gf"])
def test_holds_by_the_marks_of_each_layout(arch: str) -> None:
    """Each layout holds its own network and no other."""
    flax = {key: torch.from_numpy(value) for key, value in flax_layout("vit_b16", 196).items()}
    seer = {f"trunk.{vissl_key(key)}": value for key, value in ours("torchvision/regnet_y_32gf").items()}
    swav = {f"module.{key}": value for key, value in ours("resnet50").items()} | {
        "module.projection_head.0.bias": of_shape((3,))
    }
    files = [(rrl_layout("resnet50"), "resnet50"), (rrl_layout("2xresnet50"), "2xresnet50"), (swav, "resnet50"),
             (flax, "vit_b16"), (seer, "regnet_y_32gf")]  # fmt: skip
    for tensors, of in files:
        assert holds(tensors, arch) == (arch == of)
