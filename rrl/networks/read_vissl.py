"""Format `vissl`: classy_state_dict.base_model.model.trunk / _feature_blocks.*; head ....heads / 0.clf.0.*."""

from pathlib import Path

from rrl.networks.checkpoint_files import Head, head_at
from rrl.networks.regnet_keys import regnet_key
from rrl.networks.shapes import Tensors

BLOCKS = "trunk._feature_blocks."


def read_vissl(tensors: Tensors, arch: str, path: Path) -> tuple[Tensors, Head | None]:
    blocks = {key.removeprefix(BLOCKS): value for key, value in tensors.items() if key.startswith(BLOCKS)}
    return {f"model.{regnet_key(key)}": value for key, value in blocks.items()}, head_at(tensors, "heads.0.clf.0.")
