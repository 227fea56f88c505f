"""Format `rrl`, of the published project: state_dict / module.model0.* (joint: module.model0.model{i}.*).

Its head is module.classifier.linear.*, with module.classifier.bn.*, which is folded into it, where there is one.
"""

import re
from pathlib import Path

import torch

from rrl.networks.checkpoint_files import Head, head_at
from rrl.networks.shapes import Tensors

TRUNK, NORM = "module.model0.", "module.classifier.bn."


def read_rrl(tensors: Tensors, arch: str, path: Path) -> tuple[Tensors, Head | None]:
    bare = {key.removeprefix(TRUNK): value for key, value in tensors.items() if key.startswith(TRUNK)}
    joint = {key: match for key in bare if (match := re.fullmatch(r"model(\d+)\.(.*)", key))}
    numbers = sorted({int(match[1]) for match in joint.values()})
    ours = {key: f"trunks.{numbers.index(int(match[1]))}.model.{match[2]}" for key, match in joint.items()}
    head = head_at(tensors, "module.classifier.linear.")
    if head and f"{NORM}weight" in tensors:
        head = _fold(head, {key.removeprefix(NORM): value for key, value in tensors.items()})
    return {ours.get(key, f"model.{key}"): value for key, value in bare.items()}, head


def _fold(head: Head, norm: Tensors) -> Head:
    """The linear layer that gives what batch norm, by its running statistics, and the linear layer give."""
    scale = norm["weight"].double() / torch.sqrt(norm["running_var"].double() + 1e-5)
    shift = norm["bias"].double() - norm["running_mean"].double() * scale
    weight = head[0].double()
    return (weight * scale).float(), (head[1].double() + weight @ shift).float()
