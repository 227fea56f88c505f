"""Weights of timm and torchvision as these libraries keep them in their caches, and a picture to try them on."""

import os
from pathlib import Path
from typing import Any

import matplotlib
import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from rrl.config.settings import Photographs
from rrl.networks.pretrained import preprocessing
from tests.helpers.models import randomise, run


def penultimate(model: nn.Module, images: Tensor) -> Tensor:
    """What the last linear layer of a classifier is given."""
    *_, last = (module for module in model.eval().modules() if isinstance(module, nn.Linear))
    given: list[Tensor] = []
    with last.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])):  # type: ignore[func-returns-value]
        run(model, images)
    return given[0]


def in_torchs_cache(name: str, model: nn.Module) -> Path:
    """The file of a model's default weights, where torch.hub looks for it."""
    folder = Path(os.environ["TORCH_HOME"], "hub/checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / get_model_weights(name).DEFAULT.url.rpartition("/")[2]  # type: ignore[attr-defined]
    torch.save(model.state_dict(), path)
    return path


def classifier(name: str, **more: Any) -> nn.Module:
    torch.manual_seed(5)
    return randomise(get_model(name, **more))


def photograph() -> Image.Image:
    """512 x 600 pixels, in colour, from a camera."""
    return Image.open(Path(matplotlib.get_data_path(), "sample_data/grace_hopper.jpg")).convert("RGB")


def transform(arch: str, file: str | None = None) -> Photographs:
    """As a config holds it, and the stages read it."""
    transform = TypeAdapter(Photographs).validate_python(preprocessing(arch, file))
    assert (transform.scale, transform.flip) == ([0.08, 1.0], True)
    return transform
