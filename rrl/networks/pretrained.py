"""Published weights of timm and torchvision, and how images become inputs of a network."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from rrl.errors import UserError
from rrl.networks.architectures import LIBRARIES, parse_architecture
from rrl.networks.libraries import timm_trunk, torchvision_trunk
from rrl.networks.shapes import expected_shapes, mistakes
from rrl.networks.trunks import Trunk
from rrl.store.files import space_for

AUGMENTATION = {"scale": [0.08, 1.0], "flip": True}  # of training; not used where views is 1
# torchvision's models of these names change the input themselves, from ImageNet's mean and std to these, but only where
# torchvision loads the weights. Here the transform does it, wherever the weights came from.
TRANSFORMS_INPUT = ("googlenet", "inception_v3")
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def pretrained_trunk(arch: str) -> Trunk:
    """timm/<name> or torchvision/<name> with its published weights, downloaded if they are not in the library's cache.

    Raises UserError if the library has no such model, its weights cannot be had, or they are for a network that is
    not the one which is built here by this name.
    """
    library = arch.partition("/")[0]
    if library not in LIBRARIES:
        raise UserError(f"found {arch!r}; weights are published for timm/<name> and torchvision/<name>")
    architecture = parse_architecture(arch)
    preprocessing(arch)  # is there such a network? Before anything is downloaded
    expected_shapes(arch)
    try:
        if library == "timm":
            with _hub_asked_once() as cache, space_for(cache):
                trunk = timm_trunk(architecture, None, pretrained=True)
        else:
            with space_for(Path(torch.hub.get_dir(), "checkpoints")):
                trunk = torchvision_trunk(architecture, None, pretrained=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{arch}: its published weights cannot be had ({reason}). Where there is no internet: download the file "
            f"elsewhere and name it as {arch}=FILE. A damaged file in the library's cache: delete it"
        ) from None
    if lines := mistakes(trunk.state_dict(), arch):
        raise UserError(f"{arch}: its published weights are for a network with other parts: {'; '.join(lines)}")
    if hasattr(trunk.model, "transform_input"):
        trunk.model.transform_input = False  # type: ignore[assignment]
    return trunk


@contextmanager
def _hub_asked_once() -> Iterator[Path]:
    """Where there is no internet, the client of timm's hub asks six times for each of two files: a minute, or many.
    So it is asked for one answer first; without one, only its cache is looked at, which this gives."""
    from huggingface_hub import constants, get_session

    before = constants.HF_HUB_OFFLINE
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception:  # of the library that it asks with
        constants.HF_HUB_OFFLINE = True
    try:
        yield Path(constants.HF_HUB_CACHE)
    except OSError as error:
        if constants.HF_HUB_OFFLINE:
            missing = f"{constants.ENDPOINT} does not answer, and they are not in {constants.HF_HUB_CACHE}"
            raise OSError(missing) from error
        raise
    finally:
        constants.HF_HUB_OFFLINE = before


def preprocessing(arch: str, file: str | None = None) -> dict[str, Any]:
    """The transform that a network of this architecture wants, by its library's own data config, as in a config.
    It is a centre crop also where timm squashes a picture or pads it.

    file : name of the checkpoint; if torchvision publishes weights by this name, those weights' transform.
    Raises UserError if the library has no such model, or it does not take square RGB images.
    """
    architecture = parse_architecture(arch)
    if file in _published():
        return _from_torchvision(*_published()[file]) | AUGMENTATION
    if architecture.entry.preprocessing is not None:
        return architecture.entry.preprocessing | AUGMENTATION
    if architecture.entry.name != "torchvision":
        return _from_timm(architecture.model) | AUGMENTATION
    every = [weights for model, weights in _published().values() if model == architecture.model]
    if not every:
        raise UserError(
            f"{architecture.family}: torchvision has no image classifier of this name; "
            "torchvision.models.list_models(torchvision.models) lists them"
        )
    return _from_torchvision(architecture.model, every[0] if file else every[0].__class__.DEFAULT) | AUGMENTATION


@cache
def _published() -> dict[str | None, tuple[str, Any]]:
    """Name of a file -> model and weights: all that torchvision publishes for its classifiers, oldest first."""
    from torchvision import models

    every = ((name, weights) for name in models.list_models(models) for weights in models.get_model_weights(name))
    return {weights.url.rpartition("/")[2]: (name, weights) for name, weights in every}


def _from_torchvision(name: str, weights: Any) -> dict[str, Any]:
    preset = weights.transforms()
    normalisation = {"mean": list(preset.mean), "std": list(preset.std)}
    return {
        "size": preset.crop_size[0],
        "resize": preset.resize_size[0],
        "interpolation": preset.interpolation.value,
        **(HALF if name in TRANSFORMS_INPUT else normalisation),
    }


def _from_timm(name: str) -> dict[str, Any]:
    import timm
    from timm.data.config import resolve_data_config

    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*"))
        raise UserError(f"timm/{name}: timm {timm.__version__} has no such weights; it must be one of {tags}") from None
    if config is None:
        raise UserError(f"timm/{name}: timm {timm.__version__} has no such model; timm.list_models() lists them")
    wanted = resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = wanted["input_size"]
    if channels != 3 or height != width:
        raise UserError(f"timm/{name}: takes inputs {wanted['input_size']}; they must be square RGB images")
    return {
        "size": height,
        "resize": int(height / wanted["crop_pct"]),
        "interpolation": wanted["interpolation"],
        "mean": list(wanted["mean"]),
        "std": list(wanted["std"]),
    }
