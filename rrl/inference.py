"""A trunk as extraction runs it: the same function of the images, in less time.

Convolutions take in the batch norm behind them, images lie channels last, and where it pays torch's compiler makes one
program of all that. What is done depends on the network, the number of images and the machine's compiler only.
"""

import copy
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from rrl.architectures import Trunk, parameter_count
from rrl.device import on_device

# Parameters times images from where the compiler saves more than it costs: half a minute for a resnet50, of 60 ms an
# image by one core.
COMPILED_FROM = 1e11


def compiles(trunk: Trunk, images: int, device: torch.device) -> bool:
    """Whether the compiler is used: on the CPU, where there is a compiler of C++, for many images."""
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    return device.type == "cpu" and compiler is not None and parameter_count(trunk) * images >= COMPILED_FROM


def for_inference(
    trunk: Trunk, precision: str, device: torch.device, compiled: bool, batch_size: int
) -> Callable[[Tensor], Tensor]:
    """A function from images (B, channels, height, width) to features (B, D) float32, both on the CPU.

    batch_size : B is at most this.
    precision : float32 or bfloat16, of weights and of everything between the images and the features.
    """
    module = folded(trunk)
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    module = module.to(device=device, dtype=kind).to(memory_format=torch.channels_last)
    if compiled:
        module = _compiled(module)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        count = len(images)
        if compiled and count < batch_size:  # for another shape it would be compiled again
            images = torch.cat([images, images.new_zeros(batch_size - count, *images.shape[1:])])
        there = on_device(images, device).to(kind).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, module(there))[:count].float().cpu()

    return features


def folded(trunk: Trunk) -> nn.Module:
    """A copy, in evaluation mode, whose convolutions do what the batch norms behind them did; the trunk itself, where
    it has none or torch.fx cannot follow its code."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules()):
        return trunk.eval()
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(copy.deepcopy(trunk).eval())
    except Exception as error:  # whatever code of others does under torch.fx
        print(f"batch norms stay: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        return trunk.eval()


def _compiled(module: nn.Module) -> Any:
    """Compiled at its first call."""
    import torch._inductor.config as inductor

    inductor.freezing = True  # weights are constants
    inductor.compile_threads = torch.get_num_threads()
    return torch.compile(module, dynamic=False)
