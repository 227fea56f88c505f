"""Networks from outside, as tensors by this project's keys: downloaded, a file of the user, or a library's.

A checkpoint must have the sha256 that it was pinned with; one that was never used before is pinned now.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from rrl.config.settings import CheckpointFile, LibraryModel, UserFile
from rrl.errors import UserError
from rrl.networks.checkpoint_files import read_checkpoint
from rrl.networks.checkpoints import check, planned_sha256
from rrl.networks.shapes import Tensors, without_weights
from rrl.networks.trunks import parameter_count
from rrl.store.files import sha256_of_file

PRETRAINED = "rrl.networks.pretrained:pretrained_trunk"  # imported for a library's networks only


@dataclass(frozen=True)
class Imported:
    """A network from outside.

    tensors : by the keys `trunk.*` and, where it has a head, `head.*`.
    metadata : what its file says of it. facts : of its card.
    """

    tensors: Tensors
    metadata: dict[str, Any]
    facts: dict[str, Any]


def import_network(source: CheckpointFile | UserFile | LibraryModel, path: Path) -> Imported:
    """The network of a job's settings.

    path : of its file; unused for a library's.
    Raises UserError if the file is not the planned one, cannot be read safely, or is not a network of the architecture.
    """
    origin = {"arch": source.arch, "origin": source.origin, "seed": source.seed}
    match source:
        case LibraryModel():
            state = resolve_name(PRETRAINED)(source.arch).state_dict()
            tensors, metadata = {f"trunk.{key}": value.contiguous() for key, value in state.items()}, origin
        case CheckpointFile():
            _check_pin(path, source.file, source.sha256)
            tensors, metadata = read_file(path, source.arch, source.format)
        case UserFile():
            _check_sha256(path, source.sha256)
            tensors, metadata = read_file(path, source.arch, source.format)
    trunk = without_weights(source.arch)
    facts = origin | {"parameters": parameter_count(trunk), "feature_dim": trunk.feature_dim}
    return Imported(tensors, metadata, facts)


def read_file(path: Path, arch: str, format: str) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and metadata of a checkpoint of another project. Raises UserError as read_checkpoint does."""
    trunk, head = read_checkpoint(path, arch, format)
    tensors = {f"trunk.{key}": value for key, value in trunk.items()}
    if head is not None:
        tensors |= {"head.weight": head[0], "head.bias": head[1]}
    plain = {k: (value.float() if value.is_floating_point() else value).contiguous() for k, value in tensors.items()}
    source = {"file": path.name, "sha256": sha256_of_file(path), "format": format}
    return plain, {"arch": arch, "origin": "download", "source": source}


def _check_pin(path: Path, file: str, planned: str) -> None:
    """Pin a checkpoint if it was never used before. Raises UserError unless it is the planned one."""
    checkpoints = str(path).removesuffix(file).rstrip("/") or "."
    try:
        check(file, path)
    except OSError as error:
        command = shlex.join(["rrl", "fetch", file, "--checkpoints", checkpoints])
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); to download it: {command}; or put it there by hand"
        ) from None
    if planned_sha256(file) != planned:
        raise UserError(f"{path}: its pin changed since submission; run the same snakemake command again")


def _check_sha256(path: Path, planned: str) -> None:
    """Raises UserError unless a file has the sha256 of the config."""
    try:
        sha256 = sha256_of_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if sha256 != planned:
        raise UserError(
            f"{path}: sha256 is {sha256}, the config says {planned}; put the file back, or write "
            "the former into the config if you mean this file"
        )
