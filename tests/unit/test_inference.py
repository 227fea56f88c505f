"""The trunk that extraction runs is the plain one, but faster."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from rrl.networks import inference
from rrl.networks.inference import COMPILED_FROM, compiles, folded, for_inference
from rrl.networks.trunks import JointTrunk, Trunk, build_trunk, parameter_count

CPU = torch.device("cpu")


def trained_a_little(arch: str) -> Trunk:
    """Batch norms that are not the identity."""
    torch.manual_seed(0)
    trunk = build_trunk(arch)
    trunk.train()
    for _ in range(3):
        trunk(torch.randn(8, 1, 28, 28) * 2 + 1)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return trunk.eval()


def largest_error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("arch", ["resnet8", "2xresnet8"])
@pytest.mark.parametrize(
    ("precision", "compiled", "error"),
    [("float32", False, 1e-5), ("float32", True, 1e-5), ("bfloat16", False, 3e-2), ("bfloat16", True, 3e-2)],
)
def test_features_are_those_of_the_plain_forward_pass(arch: str, precision: str, compiled: bool, error: float) -> None:
    trunk = trained_a_little(arch)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    features_of = for_inference(trunk, precision, CPU, compiled, batch_size=16)
    for count in (16, 16, 5):  # the last batch of a split is smaller
        images = torch.randn(count, 1, 28, 28)
        with torch.no_grad():
            exact = trunk(images)
        found = features_of(images)
        assert found.dtype == torch.float32
        assert found.shape == exact.shape
        assert largest_error(found, exact) < error
        assert precision == "float32" or largest_error(found, exact) > 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


def test_folding_leaves_no_batch_norm_behind_a_convolution() -> None:
    trunk = trained_a_little("resnet8")
    assert any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(trunk).modules())


class Winding(Trunk):
    """Code that torch.fx cannot follow."""

    feature_dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.convolution(images)).mean((2, 3))
        return features if float(features.sum()) > 0 else -features


def test_what_cannot_be_folded_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    trunk, images = Winding().eval(), torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(for_inference(trunk, "float32", CPU, False, 4)(images), trunk(images))
    assert "batch norms stay" in capsys.readouterr().err


@pytest.mark.parametrize(("device", "compiler"), [("cpu", "g++"), ("cuda", "gcc")])
def test_few_images_never_pay_for_the_compiler(device: str, compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk, where = JointTrunk([build_trunk("resnet8"), build_trunk("resnet8")]), torch.device(device)
    enough = -(-int(COMPILED_FROM[device]) // parameter_count(trunk))
    monkeypatch.setattr(inference, "find_spec", lambda name: name)  # Triton
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == compiler else None)
    assert compiles(trunk, enough, where)
    assert not compiles(trunk, enough - 1, where)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not compiles(trunk, enough, where)


def test_a_gpu_needs_triton_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(inference, "find_spec", lambda name: None)
    assert not compiles(build_trunk("resnet8"), 10**12, torch.device("cuda"))
    assert compiles(build_trunk("resnet8"), 10**12, CPU)


def test_without_a_working_compiler_the_features_are_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(module: nn.Module, **of: object) -> object:
        def fails(images: Tensor) -> Tensor:
            raise RuntimeError("g++: no space left")

        return fails

    monkeypatch.setattr(torch, "compile", broken)
    trunk = trained_a_little("resnet8")
    features_of = for_inference(trunk, "float32", CPU, True, batch_size=16)
    for count in (5, 16):
        images = torch.randn(count, 1, 28, 28)
        with torch.no_grad():
            assert largest_error(features_of(images), trunk(images)) < 1e-5
    assert capsys.readouterr().err.count("not compiled: g++: no space left") == 1
