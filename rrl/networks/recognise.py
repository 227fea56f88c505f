"""The architecture of a checkpoint, from its keys and shapes."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from rrl.errors import UserError
from rrl.networks.architectures import published
from rrl.networks.checkpoint_files import read_tensors
from rrl.networks.read_prefix import holds
from rrl.networks.shapes import Tensors


def architecture_of(path: Path) -> str:
    """The one architecture whose trunk the file holds: as this project's own files say, else the one that fits of those
    of the published networks, then of torchvision's classifiers. (timm has too many models to try.)

    Raises UserError if the file cannot be read safely, or none or several fit.
    """
    if path.suffix == ".safetensors" and (arch := _own(path)):
        return arch
    tensors = {key: value.to("meta") for key, value in read_tensors(path).items()}  # shapes are enough
    fits: list[str] = []
    for names in (published(), *_torchvision(path.name)):
        fits = fits or [arch for arch in names if _fits(tensors, arch)]
    if len(fits) == 1:
        return fits[0]
    what = f"fits {', '.join(fits)}" if fits else "fits no architecture of the published networks or torchvision"
    raise UserError(f"{path}: {what}; name it: timm/<name>={path}, or another architecture in its place")


def _fits(tensors: Tensors, arch: str) -> bool:
    try:
        return holds(tensors, arch)
    except UserError:  # a model of torchvision that does not end in a linear layer
        return False


def _own(path: Path) -> str | None:
    """The architecture that a file of this project names."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = json.loads((file.metadata() or {}).get("rrl", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path}: missing, damaged, or not a safetensors file ({error})") from None
    return metadata.get("arch") if isinstance(metadata, dict) else None


def _torchvision(file: str) -> tuple[list[str], list[str]]:
    """torchvision's classifiers: those that the file's name names, and all."""
    from torchvision import models

    names = models.list_models(module=models)
    named = [f"torchvision/{name}" for name in names if file.startswith((f"{name}-", f"{name}."))]
    return named, [f"torchvision/{name}" for name in names]
