"""Format `swav`: module.*, at the top or in state_dict; projection_head and prototypes are left out; no head."""

from pathlib import Path

from rrl.networks.checkpoint_files import Head
from rrl.networks.shapes import Tensors

LEFT_OUT = ("projection_head.", "prototypes.")


def read_swav(tensors: Tensors, arch: str, path: Path) -> tuple[Tensors, Head | None]:
    bare = {key.removeprefix("module."): value for key, value in tensors.items()}
    return {f"model.{key}": value for key, value in bare.items() if not key.startswith(LEFT_OUT)}, None
