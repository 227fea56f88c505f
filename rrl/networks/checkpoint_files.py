"""Files of other projects: opened safely, in this module only, and read by the format's entry in `formats`.

Nothing in a file is ever executed: pickles are read with `weights_only`, arrays without pickles.
"""

import pickle
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rrl.errors import UserError
from rrl.networks.architectures import parse_architecture
from rrl.networks.formats import FORMATS
from rrl.networks.shapes import Tensors, check, completed

Head = tuple[Tensor, Tensor]  # weight (C, D), bias (C,)
UNREADABLE = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError, SafetensorError, BadZipFile,
    zlib.error,
)  # fmt: skip  # what the libraries raise for a damaged file


def read_checkpoint(path: Path, arch: str, format: str) -> tuple[Tensors, Head | None]:
    """The trunk's tensors by this project's keys, and the head where the file has one.

    Raises UserError if the file cannot be read safely, or a key or shape of the trunk is missing or too much.
    """
    if format not in FORMATS:
        raise UserError(f"format: found {format!r}; must be one of {', '.join(FORMATS)}")
    width = parse_architecture(arch).feature_dim
    trunk, head = resolve_name(FORMATS[format].reader)(read_tensors(path), arch, path)
    check(trunk, path, arch)
    if head is not None and width not in (None, head[0].shape[1]):
        raise UserError(f"{path}: its head is for {head[0].shape[1]} features, {arch} has {width}")
    return completed(trunk, arch), head


def head_at(tensors: Tensors, prefix: str) -> Head | None:
    """The linear layer whose keys have this prefix."""
    weight, bias = tensors.get(f"{prefix}weight"), tensors.get(f"{prefix}bias")
    return None if weight is None or bias is None else (weight.float(), bias.float())


def read_tensors(path: Path) -> Tensors:
    """All tensors of a file, by their keys; of dictionaries inside dictionaries the one with the most is taken, and
    of VISSL's `trunk` and `heads` both. Raises UserError for anything but tensors that can be read safely."""
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise UserError(f"{path}: a web page, not a checkpoint; download it again")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        if path.suffix == ".safetensors":
            return load_file(path)
        mapped = start.startswith(b"PK")  # a zip file: its tensors stay on disk until they are used
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)|global (\S+)", str(error))
        what = f" ({match[1] or match[2]})" if match else ""
        raise UserError(
            f"{path}: not read, as it holds more than tensors, or is damaged{what}; nothing in it was run. "
            "It must be a file of tensors: ask for a state_dict, or a .safetensors file"
        ) from None
    except UNREADABLE as error:
        reason = "no file of torch" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cut off or not a checkpoint ({reason}); download it again") from None
    return _state(content, path)


def _state(content: Any, path: Path) -> Tensors:
    states = []
    for state in _dictionaries(content):
        if isinstance(state.get("trunk"), dict) and isinstance(state.get("heads"), dict):
            whole = {f"{part}.{key}": value for part in ("trunk", "heads") for key, value in state[part].items()}
            return _tensors(whole)
        states.append(_tensors(state))
    largest = max(states, key=len, default={})
    if not largest:
        raise UserError(f"{path}: holds no tensors by name; it must hold a state_dict, at the top or in a dictionary")
    return largest


def _tensors(state: dict[str, Any]) -> Tensors:
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _dictionaries(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        yield {key: value for key, value in content.items() if isinstance(key, str)}
        for key, value in content.items():
            if key not in ("optimizer", "scheduler"):
                yield from _dictionaries(value)
