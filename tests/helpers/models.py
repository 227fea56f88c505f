"""Networks of other projects, their files in the exact layouts, and comparisons with what is loaded from them."""

import collections
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

Tensors = dict[str, Tensor]


def randomise(model: nn.Module) -> nn.Module:
    """Batch norm other than the identity, so that a wrong key would show."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
    return model.eval()


def resnet(name: str = "resnet50") -> nn.Module:
    torch.manual_seed(1)
    return randomise(getattr(torchvision.models, name)())


def features_of(model: Any, images: Tensor) -> Tensor:
    """Of a torchvision model, without its fc."""
    model = model.eval()
    model.fc = nn.Identity()
    with torch.inference_mode():
        return model(images)


def trunk_and_fc(model: nn.Module) -> tuple[Tensors, Tensors]:
    state = model.state_dict()
    return {k: v for k, v in state.items() if not k.startswith("fc.")}, {
        k: v for k, v in state.items() if k.startswith("fc.")
    }


def rrl_file(models: list[nn.Module], path: Path, norm: nn.BatchNorm1d | None = None) -> Path:
    """As the published training script saves: optimizer, scheduler with a Counter, best accuracy, head."""
    state: Tensors = {}
    for number, model in enumerate(models):
        prefix = "module.model0." + (f"model{number}." if len(models) > 1 else "")
        state |= {prefix + key: value for key, value in trunk_and_fc(model)[0].items()}
    linear = nn.Linear(2048 * len(models), 10)
    state |= {f"module.classifier.linear.{key}": value for key, value in linear.state_dict().items()}
    if norm is not None:
        state |= {f"module.classifier.bn.{key}": value for key, value in norm.state_dict().items()}
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1, momentum=0.9)
    linear(torch.rand(2, linear.in_features)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60])
    assert isinstance(scheduler.state_dict()["milestones"], collections.Counter)
    content = {"epoch": 90, "arch": "resnet50", "state_dict": state, "best_acc1": torch.tensor(76.1),
               "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}  # fmt: skip
    torch.save(content, path)
    return path


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert ((found - expected).norm() / expected.norm()).item() <= tolerance


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def run(network: Any, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(images)


def vissl_key(key: str) -> str:
    """VISSL's key for one of torchvision's regnet."""
    key = key.replace("stem.0.", "_feature_blocks.conv1.stem.0.").replace("stem.1.", "_feature_blocks.conv1.stem.1.")
    for block in range(1, 5):
        key = key.replace(f"trunk_output.block{block}.", f"_feature_blocks.res{block + 1}.")
    key = key.replace(".proj.0.", ".proj.").replace(".proj.1.", ".bn.").replace(".f.se.fc1.", ".f.se.excitation.0.")
    return (
        key.replace(".f.se.fc2.", ".f.se.excitation.2.").replace(".f.c.0.", ".f.c.").replace(".f.c.1.", ".f.final_bn.")
    )


def without(key: str) -> Callable[[Tensors], Tensors]:
    return lambda state: {name: value for name, value in state.items() if not name.endswith(key)}


def reshaped(key: str) -> Callable[[Tensors], Tensors]:
    return lambda state: {name: value[:-1] if name.endswith(key) else value for name, value in state.items()}


def spoilt_files(folder: Path, state: Tensors) -> dict[str, str]:
    """Name of a file that must be refused -> the words of the message."""
    with open(folder / "code.pth", "wb") as file:
        pickle.dump({"state_dict": Run()}, file)
    torch.save({"state_dict": Run()}, folder / "zip_code.pth")
    np.savez(folder / "code.npz", a=np.array([Run()], dtype=object))
    torch.save(state, folder / "whole.pth")
    content = (folder / "whole.pth").read_bytes()
    (folder / "whole.pth").unlink()
    (folder / "cut.pth").write_bytes(content[: len(content) // 2])
    (folder / "empty.pth").write_bytes(b"")
    (folder / "page.pth").write_text("<!DOCTYPE html><html><body>Quota exceeded</body></html>")
    (folder / "text.pth").write_text("404: Not Found")
    torch.save({"epoch": 3}, folder / "nothing.pth")
    torch.save(nn.Linear(2, 2), folder / "module.pth")
    return {
        "code.pth": "holds more than tensors, or is damaged.*nothing in it was run",
        "zip_code.pth": "holds more than tensors, or is damaged.*nothing in it was run",
        "code.npz": "cut off or not a checkpoint",
        "cut.pth": "cut off or not a checkpoint",
        "empty.pth": "cut off or not a checkpoint",
        "page.pth": "a web page, not a checkpoint",
        "text.pth": "not read, as it holds more than tensors, or is damaged",
        "nothing.pth": "holds no tensors by name",
        "module.pth": "holds more than tensors, or is damaged.*Linear",
        "absent.pth": "cannot be read .No such file",
    }


class Run:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)
