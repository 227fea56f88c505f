"""Networks without the workflow: build, convert, load.

from rrl.networks.api import build, convert, load
convert("checkpoint_run0.pth.tar", "erm-s0.safetensors", arch="resnet50", format="rrl")
features = load("erm-s0.safetensors")(images)  # (B, 3, H, W) float32 -> (B, 2048) float32
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from rrl.errors import UserError
from rrl.networks.architectures import Trunk, build_trunk
from rrl.networks.checkpoint_formats import read_checkpoint
from rrl.networks.stored_networks import restore
from rrl.store.files import canonical_json, complete, sha256_of_file


def build(arch: str, *, image_size: int | None = None) -> Trunk:
    """An untrained network: images (B, 3, H, W) float32 to features (B, D) float32; `feature_dim` is D.

    image_size : pixels of the square images, for networks with position embeddings; others take any.
    Raises UserError for an unknown architecture, with the known ones.
    """
    return build_trunk(arch, image_size)


def convert(source: str | Path, destination: str | Path, *, arch: str, format: str) -> None:
    """Write a checkpoint of another project as `destination`, in this project's format, whole or not at all.

    format : rrl, swav, vissl, vit-npz, torchvision or auto (rrl/networks/checkpoint_formats.py). Nothing in the file is
        run.
    Raises UserError if the file cannot be read safely, or is not a network of this architecture.
    """
    source = Path(source)
    trunk, head = read_checkpoint(source, arch, format)
    origin = {"file": source.name, "sha256": sha256_of_file(source), "format": format}
    tensors = {f"trunk.{key}": value for key, value in trunk.items()}
    if head is not None:
        tensors |= {"head.weight": head[0], "head.bias": head[1]}
    about = {"arch": arch, "origin": "download", "source": origin}
    plain = {
        key: (value.float() if value.is_floating_point() else value).contiguous() for key, value in tensors.items()
    }
    with complete(Path(destination)) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(plain, partial, metadata={"rrl": canonical_json(about)})  # not put together in memory
        partial.chmod(mode)  # safetensors leaves a file of its own to its owner alone


def load(path: str | Path, *, image_size: int | None = None) -> Trunk:
    """The network in a file that `convert` or the workflow wrote, in evaluation mode, with its `head` if it has one.

    image_size : pixels of the images if other than it was trained for; position embeddings are resized.
    Raises UserError if the file is missing, damaged, or is not one of this project's.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["rrl"])
        tensors = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error})") from None
    except (KeyError, ValueError):
        raise UserError(f"{path}: not a network of this project; rrl.networks.api.convert makes one of it") from None
    trunk = restore(tensors, about["arch"], path, image_size)
    state = {key.removeprefix("head."): value for key, value in tensors.items() if key.startswith("head.")}
    if state:
        head = nn.Linear(trunk.feature_dim, len(state["bias"]))
        try:
            head.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{path}: its head does not fit: {' '.join(str(error).split())}") from None
        trunk._head = (head.eval(),)
    return trunk
