"""The keys and shapes that the tensors of a trunk must have."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rrl.errors import UserError
from rrl.networks.architectures import published
from rrl.networks.trunks import Trunk, build_trunk

Tensors = dict[str, Tensor]
COUNTER = ".num_batches_tracked"


@cache
def expected_shapes(arch: str) -> dict[str, torch.Size]:
    """Key -> shape of the trunk's tensors. Position embeddings may be for any image size."""
    return {key: value.shape for key, value in without_weights(arch).state_dict().items()}


def without_weights(arch: str) -> Trunk:
    """The trunk on the meta device: its keys, shapes and sizes, in no time and no memory."""
    quiet = warnings.catch_warnings(action="ignore", category=FutureWarning)  # torchvision's, of initialisation
    with torch.device("meta"), _Shapes(), quiet:
        return build_trunk(arch)


class _Shapes(TorchFunctionMode):
    """No random numbers are drawn; the few numbers that torchvision's RegNets compute their widths with stay real."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        place = {"device": "cpu"} if function in (torch.arange, torch.tensor) else {}
        return function(*args, **place | (kwargs or {}))


def mistakes(trunk: Tensors, arch: str) -> list[str]:
    """What keeps tensors from being the trunk of an architecture."""
    shapes = expected_shapes(arch)
    missing = sorted(key for key in set(shapes) - set(trunk) if not key.endswith(COUNTER))
    lines = [f"missing: {some(missing)}"] if missing else []
    if extra := sorted(set(trunk) - set(shapes)):
        lines.append(f"unexpected: {some(extra)}")
    for key in sorted(set(shapes) & set(trunk)):
        if trunk[key].shape != shapes[key] and not _resizable(key, trunk[key], shapes[key]):
            lines.append(f"{key}: found shape {tuple(trunk[key].shape)}, {arch} has {tuple(shapes[key])}")
            break
    return lines


def _resizable(key: str, value: Tensor, shape: torch.Size) -> bool:
    """Whether a tensor holds position embeddings (1, 1 + places, D) of a square of another size."""
    square = value.dim() == 3 and round((value.shape[1] - 1) ** 0.5) ** 2 == value.shape[1] - 1
    return key.endswith("pos_embed") and square and value.shape[2] == shape[2]


def completed(trunk: Tensors, arch: str) -> Tensors:
    """With zero for each of batch norm's counters that is missing, as PyTorch itself reads files of before 0.4.1.

    (Among them torchvision's first networks. A counter is of batches that a layer has seen; no output depends on it.)
    """
    counters = {key for key in expected_shapes(arch) if key.endswith(COUNTER)}
    return trunk | {key: torch.zeros((), dtype=torch.int64) for key in counters - set(trunk)}


def check(trunk: Tensors, path: Path, arch: str) -> None:
    """Raises UserError unless the keys and shapes are exactly those of the architecture."""
    if lines := mistakes(trunk, arch):
        raise UserError(f"{path}: not a {arch}: {'; '.join(lines)}. {fitting(lambda name: not mistakes(trunk, name))}")


def fitting(fits: Callable[[str], bool]) -> str:
    """A sentence that says which architecture would do."""
    names = [name for name in published() if fits(name)]
    return f"It would fit arch {' or '.join(names)}" if names else "No architecture of the published networks fits it"


def some(keys: list[str]) -> str:
    """The first keys, and how many more there are."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
