"""Formats `torchvision`: bare keys, head fc.*; and `auto`: one of the others by its mark, or the one prefix under which
every key and shape of the trunk is found.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

from rrl.errors import UserError
from rrl.networks.architectures import parse_architecture
from rrl.networks.checkpoint_files import Head, head_at
from rrl.networks.formats import FORMATS, Format
from rrl.networks.shapes import Tensors, expected_shapes, fitting, mistakes, some

HEADS = ("fc", "head", "head.fc", "classifier", "linear", "module.classifier.linear")


def recognise(keys: Iterable[str]) -> Format | None:
    """The format whose mark the keys of a file have; None if there is no mark."""
    keys = list(keys)
    marked = (entry for entry in FORMATS.values() if entry.mark)
    return next((entry for entry in marked if any(key.startswith(entry.mark) for key in keys)), None)


def read_any(tensors: Tensors, arch: str, path: Path) -> tuple[Tensors, Head | None]:
    if marked := recognise(tensors):
        trunk, head = resolve_name(marked.reader)(tensors, arch, path)
        return trunk, head
    counts = _matches(tensors, arch)
    fitting_prefixes = [prefix for prefix in sorted(counts) if not mistakes(_below(tensors, prefix, arch), arch)]
    # `x.` and `x.model.` can be the same network, by this project's keys and by its library's: the longer has the head
    distinct = {frozenset(map(id, _below(tensors, prefix, arch).values())): prefix for prefix in fitting_prefixes}
    prefixes = list(distinct.values())
    if len(prefixes) > 1:
        raise UserError(
            f"{path}: {len(prefixes)} networks of arch {arch}, under {', '.join(map(repr, prefixes))}; keep one"
        )
    if not prefixes and max(counts.values(), default=0) < len(expected_shapes(arch)) / 10:
        seen = sorted({key.rpartition(".")[0].split(".")[0] + "." for key in tensors})
        raise UserError(
            f"{path}: not a {arch} under any prefix; the keys begin with {some(seen)}. "
            + fitting(lambda name: _holds_under_a_prefix(tensors, name))
        )
    return _read_below(tensors, arch, prefixes[0] if prefixes else max(counts, key=lambda name: counts[name]))


def read_bare(tensors: Tensors, arch: str, path: Path) -> tuple[Tensors, Head | None]:
    return _read_below(tensors, arch, "")


def holds(tensors: Tensors, arch: str) -> bool:
    """Whether the tensors of a file are, in any format, a trunk of this architecture."""
    if marked := recognise(tensors):
        return not mistakes(resolve_name(marked.reader)(tensors, arch, Path())[0], arch)
    return _holds_under_a_prefix(tensors, arch)


def _holds_under_a_prefix(tensors: Tensors, arch: str) -> bool:
    return any(not mistakes(_below(tensors, prefix, arch), arch) for prefix in _matches(tensors, arch))


def _read_below(tensors: Tensors, arch: str, prefix: str) -> tuple[Tensors, Head | None]:
    """Trunk and head under a prefix. Keys of no part of the trunk are left out; surplus keys of its parts are not."""
    heads = (head_at(tensors, f"{prefix}{name}.") for name in HEADS)
    width = parse_architecture(arch).feature_dim
    head = next((head for head in heads if head and width in (None, head[0].shape[1])), None)
    return _below(tensors, prefix, arch), head


def _matches(tensors: Tensors, arch: str) -> dict[str, int]:
    """Prefix -> how many keys of the trunk there are under it."""
    shapes = expected_shapes(arch)
    counts: dict[str, int] = {}
    for key in tensors:
        parts = key.split(".")
        for length in range(len(parts)):
            if _our_key(".".join(parts[length:]), arch) in shapes:
                prefix = "".join(f"{part}." for part in parts[:length])
                counts[prefix] = counts.get(prefix, 0) + 1
    return counts


def _below(tensors: Tensors, prefix: str, arch: str) -> Tensors:
    """The tensors under a prefix that belong to a part of the trunk, by this project's keys."""
    trunk = {_our_key(k.removeprefix(prefix), arch): v for k, v in tensors.items() if k.startswith(prefix)}
    return {key: value for key, value in trunk.items() if _part(key) in _parts(arch)}


@cache
def _parts(arch: str) -> set[tuple[str, ...]]:
    """Parts of the trunk, by this project's keys."""
    return {_part(key) for key in expected_shapes(arch)}


def _our_key(key: str, arch: str) -> str:
    """This project's key for one of torchvision's or timm's, or one of its own."""
    if _part(key) in _parts(arch):
        return key
    renaming = parse_architecture(arch).entry.renaming
    return f"model.{resolve_name(renaming)(key) if renaming else key}"


def _part(key: str) -> tuple[str, ...]:
    """`model.layer1` of model.layer1.0.conv1.weight; `stem` of stem.weight."""
    return tuple(key.split(".")[: 2 if key.startswith("model.") else 1])
