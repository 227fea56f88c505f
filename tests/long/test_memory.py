"""How much memory a conversion takes."""

import subprocess
import sys
from pathlib import Path

import torch

from rrl.networks.trunks import build_trunk


def test_memory_of_a_conversion(tmp_path: Path) -> None:
    """resnet50w4, 1.5 GB: below 2.5 times the size of the file, in a process of its own."""
    with torch.device("meta"):
        shapes = build_trunk("resnet50w4").state_dict()
    torch.save(
        {
            f"module.{key.removeprefix('model.')}": torch.zeros(value.shape, dtype=value.dtype)
            for key, value in shapes.items()
        },
        tmp_path / "w4.pth",
    )
    size = (tmp_path / "w4.pth").stat().st_size
    code = (  # resource.getrusage would tell the memory of this process, where that was more
        "import re, sys; from rrl.networks import convert; "
        "convert(sys.argv[1], sys.argv[2], arch='resnet50w4', format='swav'); "
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "w4.pth", tmp_path / "out"], capture_output=True, text=True, check=True
    )
    assert size > 1.5e9 and int(result.stdout) * 1024 < 2.5 * size, int(result.stdout) * 1024 / size
