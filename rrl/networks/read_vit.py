"""Format `vit-npz`, of Google's ViT: Transformer/encoderblock_{i}/...; head head/kernel, bias; no pre_logits.

Flax stores linear layers as (in, out) and attention by heads, (in, heads, width) and (heads, width, out).
"""

import re
from pathlib import Path

import torch

from rrl.networks.checkpoint_files import Head
from rrl.networks.shapes import Tensors

RENAMED = {
    "cls": "cls_token",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "embedding/kernel": "patch_embed.proj.weight",
    "embedding/bias": "patch_embed.proj.bias",
    "Transformer/encoder_norm/scale": "norm.weight",
    "Transformer/encoder_norm/bias": "norm.bias",
}
LAYERS = {
    "LayerNorm_0": "norm1",
    "LayerNorm_2": "norm2",
    "MlpBlock_3/Dense_0": "mlp.fc1",
    "MlpBlock_3/Dense_1": "mlp.fc2",
}
VALUES = {"scale": "weight", "kernel": "weight", "bias": "bias"}


def read_vit(tensors: Tensors, arch: str, path: Path) -> tuple[Tensors, Head | None]:
    trunk = {RENAMED[key]: value for key, value in tensors.items() if key in RENAMED}
    if (patches := trunk.get("patch_embed.proj.weight")) is not None:
        trunk["patch_embed.proj.weight"] = patches.permute(3, 2, 0, 1)
    matches = (re.match(r"Transformer/encoderblock_(\d+)/", key) for key in tensors)
    for number in sorted({int(match[1]) for match in matches if match}):
        start = f"Transformer/encoderblock_{number}/"
        theirs = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
        trunk |= {f"blocks.{number}.{key}": value for key, value in _block(theirs).items()}
    head = None
    if "head/kernel" in tensors:
        head = tensors["head/kernel"].T.float().contiguous(), tensors["head/bias"].float()
    return {f"model.{key}": value for key, value in trunk.items()}, head


def _block(theirs: Tensors) -> Tensors:
    """One block, by timm's keys."""
    block: Tensors = {}
    for key, value in theirs.items():
        layer, _, kind = key.rpartition("/")
        if layer in LAYERS and kind in VALUES:
            block[f"{LAYERS[layer]}.{VALUES[kind]}"] = value.T if kind == "kernel" else value
    attention = "MultiHeadDotProductAttention_1"
    projections = [f"{attention}/{name}" for name in ("query", "key", "value")]
    if all(f"{name}/{kind}" in theirs for name in projections for kind in ("kernel", "bias")):
        block["attn.qkv.weight"] = torch.cat([theirs[f"{name}/kernel"].flatten(1).T for name in projections])
        block["attn.qkv.bias"] = torch.cat([theirs[f"{name}/bias"].flatten() for name in projections])
    if f"{attention}/out/kernel" in theirs:
        block["attn.proj.weight"] = theirs[f"{attention}/out/kernel"].flatten(0, 1).T
        block["attn.proj.bias"] = theirs[f"{attention}/out/bias"]
    return block
