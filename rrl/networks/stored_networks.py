"""Networks of the workflow on disk: one safetensors file with canonical keys `trunk.*` and `head.*`, and its card."""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from rrl.config.settings import Transform
from rrl.errors import UserError
from rrl.job import Card, Job
from rrl.networks.network_file import read_network_file
from rrl.networks.trunks import Trunk, build_trunk, parameter_count
from rrl.store.files import canonical_json, complete, sha256_of_file


def restore(tensors: dict[str, Tensor], arch: str, path: Path, image_size: int | None) -> Trunk:
    """The trunk, in evaluation mode, strictly: every key and shape must match."""
    state = {key.removeprefix("trunk."): value for key, value in tensors.items() if key.startswith("trunk.")}
    native = {key: _square(value) for key, value in state.items() if key.endswith("pos_embed")}
    patch = next((v.shape[-1] for k, v in state.items() if k.endswith("patch_embed.proj.weight")), 1)
    size = image_size if image_size is not None or not native else next(iter(native.values())) * patch
    trunk = build_trunk(arch, size)
    for key in native:
        state[key] = resize_position_embeddings(state[key], trunk.get_parameter(key).shape[1])
    try:
        trunk.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: not a {arch}: {' '.join(str(error).split())}") from None
    return trunk.eval()


def _square(embeddings: Tensor) -> int:
    return math.isqrt(embeddings.shape[1] - 1)


def resize_position_embeddings(embeddings: Tensor, count: int) -> Tensor:
    """(1, 1 + places, D) to (1, count, D): bilinear with aligned corners, as the published code does; the class
    token's stays."""
    if embeddings.shape[1] == count:
        return embeddings
    old, new = _square(embeddings), math.isqrt(count - 1)
    grid = embeddings[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, size=(new, new), mode="bilinear", align_corners=True)
    return torch.cat([embeddings[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write the file of a network, whole or not at all; it is not put together in memory first."""
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    with complete(path, size) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(tensors, partial, metadata={"rrl": canonical_json(metadata)})
        partial.chmod(mode)  # safetensors leaves a file of its own to its owner alone


def save_network(
    job: Job,
    modules: dict[str, Any],
    arch: str,
    origin: str,
    seed: int,
    facts: dict[str, Any],
    card: Path | None = None,
) -> None:
    """Write the network's safetensors file and its card: the job's own, or another that it makes besides.

    modules : {"trunk": module} or {"trunk": module, "head": module}; parameters and buffers are saved.
    """
    tensors = {
        f"{part}.{key}": value.detach().cpu().contiguous()
        for part, module in modules.items()
        for key, value in module.state_dict().items()
    }
    metadata = {"arch": arch, "origin": origin, "seed": seed}
    trunk = modules["trunk"]
    facts = {**facts, **metadata, "parameters": parameter_count(trunk), "feature_dim": trunk.feature_dim}
    save_tensors(job, tensors, metadata, facts, card)


def save_tensors(
    job: Job, tensors: dict[str, Tensor], metadata: dict[str, Any], facts: dict[str, Any], card: Path | None = None
) -> None:
    """Write the network's safetensors file and its card: the job's own, or another that it makes besides.

    metadata : of the file; unless it names a source, key and settings of the job are added.
    Raises UserError if a number is not finite.
    """
    output = card or job.output
    wild = (key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all())
    if (key := next(wild, None)) is not None:
        raise UserError(
            f"{output.stem}: {key} holds numbers that are not finite, so the network is of no use; lower "
            "learning_rate, or look at where it came from"
        )
    if "source" not in metadata:
        metadata = {**metadata, "key": job.key, "settings": job.keyed}
    path = output.with_suffix(".safetensors")
    write(path, tensors, metadata)
    job.write_card(sha256_of_file(path), facts, network=card)


def load_trunk(card: Card, transform: Transform) -> Trunk:
    """The trunk of a network of the workflow, for images of the size that a transform makes.

    Raises UserError if the file is missing, was altered, or is not of the card's architecture.
    """
    path = card.path.with_suffix(".safetensors")
    try:
        tensors = load(read_network_file(card))
    except SafetensorError as error:
        raise UserError(f"{path}: damaged ({error})") from None
    return restore(tensors, card.facts["arch"], path, image_size=getattr(transform, "size", None))
