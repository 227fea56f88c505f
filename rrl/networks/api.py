"""Networks without the workflow: build, convert, load.

from rrl.networks import build, convert, load
convert("checkpoint_run0.pth.tar", "erm-s0.safetensors", arch="resnet50", format="rrl")
features = load("erm-s0.safetensors")(images)  # (B, 3, H, W) float32 -> (B, 2048) float32
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from rrl.errors import UserError
from rrl.networks.imports import read_file
from rrl.networks.stored_networks import restore, write
from rrl.networks.trunks import Trunk, build_trunk


def build(arch: str, *, image_size: int | None = None) -> Trunk:
    """An untrained network: images (B, 3, H, W) float32 to features (B, D) float32; `feature_dim` is D.

    image_size : pixels of the square images, for networks with position embeddings; others take any.
    Raises UserError for an unknown architecture, with the known ones.
    """
    return build_trunk(arch, image_size)


def convert(source: str | Path, destination: str | Path, *, arch: str, format: str) -> None:
    """Write a checkpoint of another project as `destination`, in this project's format, whole or not at all.

    format : one of rrl/networks/formats.py: rrl, swav, vissl, vit-npz, torchvision or auto. Nothing in the file is run.
    Raises UserError if the file cannot be read safely, or is not a network of this architecture.
    """
    write(Path(destination), *read_file(Path(source), arch, format))


def load(path: str | Path, *, image_size: int | None = None) -> Trunk:
    """The network in a file that `convert` or the workflow wrote, in evaluation mode, with its `head` if it has one.

    image_size : pixels of the images if other than it was trained for; position embeddings are resized.
    Raises UserError if the file is missing, damaged, or is not one of this project's.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            arch = json.loads((file.metadata() or {})["rrl"])["arch"]
        tensors = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error})") from None
    except (KeyError, ValueError):
        raise UserError(f"{path}: not a network of this project; rrl.networks.convert makes one of it") from None
    trunk = restore(tensors, arch, path, image_size)
    state = {key.removeprefix("head."): value for key, value in tensors.items() if key.startswith("head.")}
    if state:
        head = nn.Linear(trunk.feature_dim, len(state["bias"]))
        try:
            head.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{path}: its head does not fit: {' '.join(str(error).split())}") from None
        trunk._head = (head.eval(),)
    return trunk
