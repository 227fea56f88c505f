"""Third-party files of networks: opened safely, in this module only, and brought to our keys.

Nothing in a file is ever executed: pickles are read with `weights_only`, arrays without pickles. Every key and
shape of the trunk must be there. Formats, by where they hold the trunk and the head:

rrl          state_dict / module.model0.* (joint: module.model0.model{i}.*); head module.classifier.linear.*
             (+ module.classifier.bn.*, folded into it)
swav         module.*, at the top or in state_dict; projection_head and prototypes are left out; no head
vissl        classy_state_dict.base_model.model.trunk / _feature_blocks.*; head ....heads / 0.clf.0.*
vit-npz      Google's ViT: Transformer/encoderblock_{i}/..., head/kernel and bias; pre_logits is left out
torchvision  bare keys; head fc.*
auto         one of the above by its marks; else the one prefix under which every key and shape of the trunk is found
"""

import pickle
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rrl.errors import UserError
from rrl.networks.architecture_names import FIXED, WIDENED, parse_architecture
from rrl.networks.architectures import Trunk, build_trunk

FORMATS = ("rrl", "swav", "vissl", "vit-npz", "torchvision", "auto")
Tensors = dict[str, Tensor]
Head = tuple[Tensor, Tensor]  # weight (C, D), bias (C,)
COUNTER = ".num_batches_tracked"
HEADS = ("fc", "head", "head.fc", "classifier", "linear", "module.classifier.linear")


def read_checkpoint(path: Path, arch: str, format: str) -> tuple[Tensors, Head | None]:
    """The trunk's tensors by our keys, and the head where the file has one.

    Raises UserError if the file cannot be read safely, or a key or shape of the trunk is missing or too much.
    """
    if format not in FORMATS:
        raise UserError(f"format: found {format!r}; allowed are {', '.join(FORMATS)}")
    parse_architecture(arch)
    tensors = read_tensors(path)
    if format == "auto":
        format = recognise(tensors)
    bring = BRING.get(format)
    if bring is None:
        trunk, head = by_prefix(tensors, path, arch, only="" if format == "torchvision" else None)
        return completed(trunk, arch), head
    trunk, head = bring(tensors, arch)
    check(trunk, path, arch)
    trunk = completed(trunk, arch)
    if head is not None and (width := parse_architecture(arch).feature_dim) not in (None, head[0].shape[1]):
        raise UserError(f"{path}: its head is for {head[0].shape[1]} features, {arch} has {width}")
    return trunk, head


def holds(tensors: Tensors, arch: str) -> bool:
    """Whether the tensors of a file are, in any format, a trunk of this architecture."""
    bring = BRING.get(recognise(tensors))
    if bring is not None:
        return not mistakes(bring(tensors, arch)[0], arch)
    return any(not mistakes(behind(tensors, prefix, arch), arch) for prefix in matches(tensors, arch))


def recognise(tensors: Tensors) -> str:
    """The format by the marks in its keys; auto if there are none."""
    marks = {
        "rrl": "module.model0.",
        "swav": "module.projection_head.",
        "vissl": "trunk._feature_blocks.",
        "vit-npz": "Transformer/",
    }
    found = [format for format, mark in marks.items() if any(key.startswith(mark) for key in tensors)]
    return found[0] if found else "auto"


# Reading


UNREADABLE = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError, SafetensorError, BadZipFile,
    zlib.error,
)  # fmt: skip  # what the readers raise for a damaged file


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
        found = re.search(r"GLOBAL (\S+)|global (\S+)", str(error))
        what = f" ({next(name for name in found.groups() if name)})" if found else ""
        raise UserError(
            f"{path}: not read, as it holds more than tensors, or is damaged{what}; nothing in it was run. "
            "Allowed are files of tensors: ask for a state_dict, or a .safetensors file"
        ) from None
    except UNREADABLE as error:
        reason = "no file of torch" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cut off or not a checkpoint ({reason}); download it again") from None
    return state_of(content, path)


def state_of(content: Any, path: Path) -> Tensors:
    candidates = list(dictionaries(content))
    for model in candidates:
        if isinstance(model.get("trunk"), dict) and isinstance(model.get("heads"), dict):
            parts = {f"{part}.{key}": value for part in ("trunk", "heads") for key, value in model[part].items()}
            return {key: value for key, value in parts.items() if isinstance(value, Tensor)}
    found = [{key: value for key, value in state.items() if isinstance(value, Tensor)} for state in candidates]
    best = max(found, key=len, default={})
    if not best:
        raise UserError(f"{path}: holds no tensors by name; allowed is a state_dict, at the top or in a dictionary")
    return best


def dictionaries(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        yield {key: value for key, value in content.items() if isinstance(key, str)}
        for key, value in content.items():
            if key not in ("optimizer", "scheduler"):
                yield from dictionaries(value)


# Formats


def from_rrl(tensors: Tensors, arch: str) -> tuple[Tensors, Head | None]:
    behind_prefix = {key.removeprefix("module.model0."): key for key in tensors if key.startswith("module.model0.")}
    joint = {key: re.fullmatch(r"model(\d+)\.(.*)", key) for key in behind_prefix}
    numbers = sorted({int(found[1]) for found in joint.values() if found})
    trunk = {
        f"trunks.{numbers.index(int(found[1]))}.model.{found[2]}" if found else f"model.{key}": tensors[
            behind_prefix[key]
        ]
        for key, found in joint.items()
    }
    head = head_of(tensors, "module.classifier.linear.")
    if head and "module.classifier.bn.weight" in tensors:
        head = fold_batch_norm(head, {k.removeprefix("module.classifier.bn."): v for k, v in tensors.items()})
    return trunk, head


def fold_batch_norm(head: Head, norm: Tensors) -> Head:
    """The linear layer that gives what batch norm, by its running statistics, and the linear layer give."""
    scale = norm["weight"].double() / torch.sqrt(norm["running_var"].double() + 1e-5)
    shift = norm["bias"].double() - norm["running_mean"].double() * scale
    weight = head[0].double()
    return (weight * scale).float(), (head[1].double() + weight @ shift).float()


def from_swav(tensors: Tensors, arch: str) -> tuple[Tensors, Head | None]:
    left_out = ("projection_head.", "prototypes.")
    bare = {key.removeprefix("module."): value for key, value in tensors.items()}
    return {f"model.{key}": value for key, value in bare.items() if not key.startswith(left_out)}, None


def from_vissl(tensors: Tensors, arch: str) -> tuple[Tensors, Head | None]:
    blocks = "trunk._feature_blocks."
    trunk = {
        f"model.{regnet_key(key.removeprefix(blocks))}": value
        for key, value in tensors.items()
        if key.startswith(blocks)
    }
    return trunk, head_of(tensors, "heads.0.clf.0.")


REGNET = [
    (r"^(conv1\.)?stem\.0\.", "stem.conv."),
    (r"^(conv1\.)?stem\.1\.", "stem.bn."),
    (r"^(res\d|trunk_output\.block\d)\.block(\d)-(\d+)\.", lambda m: f"s{m[2]}.b{int(m[3]) + 1}."),
    (r"\.f\.a\.0\.", ".conv1.conv."),
    (r"\.f\.a\.1\.", ".conv1.bn."),
    (r"\.f\.b\.0\.", ".conv2.conv."),
    (r"\.f\.b\.1\.", ".conv2.bn."),
    (r"\.f\.se\.excitation\.0\.|\.f\.se\.fc1\.", ".se.fc1."),
    (r"\.f\.se\.excitation\.2\.|\.f\.se\.fc2\.", ".se.fc2."),
    (r"\.f\.c\.0\.", ".conv3.conv."),
    (r"\.f\.final_bn\.|\.f\.c\.1\.", ".conv3.bn."),
    (r"\.f\.c\.", ".conv3.conv."),
    (r"\.proj\.0\.|\.proj\.(?=weight)", ".downsample.conv."),
    (r"\.proj\.1\.|(?<=b\d)\.bn\.|(?<=b\d\d)\.bn\.", ".downsample.bn."),
]  # type: list[tuple[str, str | Callable[[re.Match[str]], str]]]


def regnet_key(key: str) -> str:
    """timm's key for one of VISSL's (behind _feature_blocks.) or torchvision's."""
    for pattern, replacement in REGNET:
        key = re.sub(pattern, replacement, key)
    return key


def from_vit(tensors: Tensors, arch: str) -> tuple[Tensors, Head | None]:
    """Flax stores linear layers as (in, out) and attention by heads, (in, heads, width) and (heads, width, out)."""
    trunk: Tensors = {}
    renamed = {
        "cls": "cls_token",
        "Transformer/posembed_input/pos_embedding": "pos_embed",
        "embedding/kernel": "patch_embed.proj.weight",
        "embedding/bias": "patch_embed.proj.bias",
        "Transformer/encoder_norm/scale": "norm.weight",
        "Transformer/encoder_norm/bias": "norm.bias",
    }
    for key, value in tensors.items():
        if key in renamed:
            trunk[renamed[key]] = value.permute(3, 2, 0, 1) if key == "embedding/kernel" else value
    parts = {
        "LayerNorm_0": "norm1",
        "LayerNorm_2": "norm2",
        "MlpBlock_3/Dense_0": "mlp.fc1",
        "MlpBlock_3/Dense_1": "mlp.fc2",
    }
    numbers = {int(found[1]) for key in tensors if (found := re.match(r"Transformer/encoderblock_(\d+)/", key))}
    for number in sorted(numbers):
        block = f"Transformer/encoderblock_{number}/"
        for theirs, ours in parts.items():
            for old, new in (("scale", "weight"), ("kernel", "weight"), ("bias", "bias")):
                if f"{block}{theirs}/{old}" in tensors:
                    value = tensors[f"{block}{theirs}/{old}"]
                    trunk[f"blocks.{number}.{ours}.{new}"] = value.T if old == "kernel" else value
        attention = f"{block}MultiHeadDotProductAttention_1/"
        names = ("query", "key", "value")
        if all(f"{attention}{name}/{part}" in tensors for name in names for part in ("kernel", "bias")):
            kernels = [tensors[f"{attention}{name}/kernel"].flatten(1).T for name in names]
            trunk[f"blocks.{number}.attn.qkv.weight"] = torch.cat(kernels)
            trunk[f"blocks.{number}.attn.qkv.bias"] = torch.cat(
                [tensors[f"{attention}{name}/bias"].flatten() for name in names]
            )
        if f"{attention}out/kernel" in tensors:
            trunk[f"blocks.{number}.attn.proj.weight"] = tensors[f"{attention}out/kernel"].flatten(0, 1).T
            trunk[f"blocks.{number}.attn.proj.bias"] = tensors[f"{attention}out/bias"]
    head = None
    if "head/kernel" in tensors:
        head = tensors["head/kernel"].T.float().contiguous(), tensors["head/bias"].float()
    return {f"model.{key}": value for key, value in trunk.items()}, head


BRING: dict[str, Callable[[Tensors, str], tuple[Tensors, Head | None]]] = {
    "rrl": from_rrl,
    "swav": from_swav,
    "vissl": from_vissl,
    "vit-npz": from_vit,
}


def head_of(tensors: Tensors, prefix: str) -> Head | None:
    weight, bias = tensors.get(f"{prefix}weight"), tensors.get(f"{prefix}bias")
    return None if weight is None or bias is None else (weight.float(), bias.float())


# Keys and shapes


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
    found = [f"missing: {_some(missing)}"] if missing else []
    if extra := sorted(set(trunk) - set(shapes)):
        found.append(f"unexpected: {_some(extra)}")
    for key in sorted(set(shapes) & set(trunk)):
        if trunk[key].shape != shapes[key] and not _resizable(key, trunk[key], shapes[key]):
            found.append(f"{key}: found shape {tuple(trunk[key].shape)}, {arch} has {tuple(shapes[key])}")
            break
    return found


def completed(trunk: Tensors, arch: str) -> Tensors:
    """With zero for each of batch norm's counters that is missing, as PyTorch itself reads files of before 0.4.1.

    (Among them torchvision's first networks. A counter is of batches that a layer has seen; no output depends on it.)
    """
    counters = {key for key in expected_shapes(arch) if key.endswith(COUNTER)}
    return trunk | {key: torch.zeros((), dtype=torch.int64) for key in counters - set(trunk)}


def _resizable(key: str, value: Tensor, shape: torch.Size) -> bool:
    """Position embeddings (1, 1 + places, D) of a square of another size."""
    square = value.dim() == 3 and round((value.shape[1] - 1) ** 0.5) ** 2 == value.shape[1] - 1
    return key.endswith("pos_embed") and square and value.shape[2] == shape[2]


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def check(trunk: Tensors, path: Path, arch: str) -> None:
    """Raises UserError unless the keys and shapes are exactly those of the architecture."""
    if found := mistakes(trunk, arch):
        raise UserError(f"{path}: not a {arch}: {'; '.join(found)}. {_fitting(lambda name: not mistakes(trunk, name))}")


def _fitting(fits: Callable[[str], bool]) -> str:
    """Which architecture would do."""
    widths = [f"{name}{width}" for name in WIDENED for width in ("", "w2", "w4", "w5")]
    names = [name for name in [*widths, "2xresnet50", "4xresnet50", *FIXED] if fits(name)]
    return f"It would fit arch {' or '.join(names)}" if names else "No architecture of the published networks fits it"


def by_prefix(tensors: Tensors, path: Path, arch: str, only: str | None) -> tuple[Tensors, Head | None]:
    """The tensors behind the one prefix under which every key and shape of the trunk is found; `only`: this prefix.

    Keys that belong to no part of the trunk, such as heads, are left out; more keys of one of its parts are a mistake.
    """
    found = matches(tensors, arch) if only is None else {only: 0}
    fitting = [prefix for prefix in sorted(found) if not mistakes(behind(tensors, prefix, arch), arch)]
    # `x.` and `x.model.` can be the same network, by our keys and by its library's: heads are behind the longer
    fitting = list({frozenset(map(id, behind(tensors, prefix, arch).values())): prefix for prefix in fitting}.values())
    if len(fitting) > 1:
        raise UserError(
            f"{path}: {len(fitting)} networks of arch {arch}, behind {', '.join(map(repr, fitting))}; keep one"
        )
    if not found or (not fitting and only is None and max(found.values()) < len(expected_shapes(arch)) / 10):
        seen = sorted({key.rpartition(".")[0].split(".")[0] + "." for key in tensors})
        raise UserError(
            f"{path}: not a {arch} behind any prefix; the keys begin with {_some(seen)}. "
            + _fitting(lambda name: any(not mistakes(behind(tensors, p, name), name) for p in matches(tensors, name)))
        )
    prefix = fitting[0] if fitting else max(found, key=lambda name: found[name])
    trunk = behind(tensors, prefix, arch)
    check(trunk, path, arch)
    heads = (head_of(tensors, f"{prefix}{name}.") for name in HEADS)
    width = parse_architecture(arch).feature_dim
    return trunk, next((head for head in heads if head and width in (None, head[0].shape[1])), None)


def matches(tensors: Tensors, arch: str) -> dict[str, int]:
    """Prefix -> how many keys of the trunk are found behind it."""
    shapes = expected_shapes(arch)
    found: dict[str, int] = {}
    for key in tensors:
        parts = key.split(".")
        for length in range(len(parts)):
            if our_key(".".join(parts[length:]), arch) in shapes:
                prefix = "".join(f"{part}." for part in parts[:length])
                found[prefix] = found.get(prefix, 0) + 1
    return found


def behind(tensors: Tensors, prefix: str, arch: str) -> Tensors:
    """The tensors behind a prefix that belong to a part of the trunk, by our keys."""
    trunk = {our_key(k.removeprefix(prefix), arch): v for k, v in tensors.items() if k.startswith(prefix)}
    return {key: value for key, value in trunk.items() if _part(key) in _parts(arch)}


@cache
def _parts(arch: str) -> set[tuple[str, ...]]:
    """Of the trunk, by our keys."""
    return {_part(key) for key in expected_shapes(arch)}


def our_key(key: str, arch: str) -> str:
    """For one of torchvision's or timm's, or one of ours."""
    if _part(key) in _parts(arch):
        return key
    return f"model.{regnet_key(key) if parse_architecture(arch).family.startswith('regnet') else key}"


def _part(key: str) -> tuple[str, ...]:
    """`model.layer1` of model.layer1.0.conv1.weight; `stem` of stem.weight."""
    return tuple(key.split(".")[: 2 if key.startswith("model.") else 1])
