"""Small networks and images for `rrl compare`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from rrl.networks import build
from tests.helpers.clones import CLONE


def network(path: Path, seed: int, arch: str = "resnet8") -> Path:
    """An untrained network in a file."""
    torch.manual_seed(seed)
    save_file(build(arch).state_dict(), path)
    return path


def pictures(folder: Path, per_class: int = 10, size: int = 28) -> Path:
    """PNG files of three classes: dark, grey and bright."""
    random = np.random.default_rng(0)
    for label, level in (("dark", 60), ("grey", 130), ("bright", 200)):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.normal(level, 30, (size, size)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def rrl(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, as a user calls it, in `folder`."""
    command = [sys.executable, "-m", "rrl.cli", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(CLONE)}
    )
