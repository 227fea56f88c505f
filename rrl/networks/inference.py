"""A trunk as extraction runs it: the same function of the images, in less time.

Convolutions absorb the batch norm that follows them, images lie channels last, and where it pays torch's compiler makes
one program of all that. What is done depends on the network, the number of images and the machine's compiler only.
"""

import copy
import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import cast

import torch
from torch import Tensor, nn

from rrl.networks.trunks import Trunk, parameter_count
from rrl.training.device import on_device

# Parameters times images from where the compiler saves more than it costs. CPU: half a minute for a resnet50, of 60 ms
# an image by one core. GPU: ten seconds, of 40 microseconds an image of an H200.
COMPILED_FROM = {"cpu": 1e11, "cuda": 6e12}


def compiles(trunk: Trunk, images: int, device: torch.device) -> bool:
    """Whether the compiler is used: for many images, where there is a compiler of C++ for the CPU, or Triton and a
    compiler of C for a GPU."""
    if parameter_count(trunk) * images < COMPILED_FROM[device.type]:
        return False
    if device.type == "cuda":
        compiler = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("clang")
        return compiler is not None and find_spec("triton") is not None
    return (shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")) is not None


def for_inference(
    trunk: Trunk, precision: str, device: torch.device, compiled: bool, batch_size: int
) -> Callable[[Tensor], Tensor]:
    """A function from images (B, channels, height, width), wherever they are, to features (B, D) float32 on the device.

    batch_size : B is at most this.
    precision : bfloat16, of weights and of everything between the images and the features; else these are float32.
    """
    module = folded(trunk)
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    module = module.to(device=device, dtype=kind).to(memory_format=torch.channels_last)
    run = _compiled(module, batch_size) if compiled else module

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        there = on_device(images, device).to(kind).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, run(there)).float()

    return features


def folded(trunk: Trunk) -> nn.Module:
    """A copy, in evaluation mode, whose convolutions absorb the batch norms that follow them; the trunk itself, where
    it has none or torch.fx cannot follow its code."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules()):
        return trunk.eval()
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(copy.deepcopy(trunk).eval())
    except Exception as error:  # whatever code of others does under torch.fx
        print(f"batch norms stay: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        return trunk.eval()


def _compiled(module: nn.Module, batch_size: int) -> Callable[[Tensor], Tensor]:
    """Compiled at its first call, for batches of one size; the module itself, where the compiler fails."""
    import torch._inductor.config as inductor

    inductor.freezing = True  # weights are constants
    inductor.compile_threads = torch.get_num_threads()
    program = cast(Callable[[Tensor], Tensor], torch.compile(module, dynamic=False))

    def run(images: Tensor) -> Tensor:
        nonlocal program
        count = len(images)
        if program is module:
            return cast(Tensor, program(images))
        if count < batch_size:  # for another shape it would be compiled again
            images = torch.cat([images, images.new_zeros(batch_size - count, *images.shape[1:])])
        try:
            return program(images.contiguous(memory_format=torch.channels_last))[:count]
        except Exception as error:  # of a compiler that is not whole, or a disk that is full
            print(f"not compiled: {' '.join(str(error).split())[:500]}", file=sys.stderr)
            program = cast(Callable[[Tensor], Tensor], module)
            return program(images[:count])

    return run
