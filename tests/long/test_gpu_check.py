"""The checks that a GPU is put through, on a CPU, small: that only the card is new when there is one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.clones import CLONE


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, list[dict[str, object]]]]:
    """The table that was printed, and the rows of each section."""
    folder = tmp_path_factory.mktemp("gpu-check")
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(folder), "--device", "cpu", "--small"]
    ended = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    content = json.loads((folder / "gpu.json").read_text())
    assert content["failed"] == [] and [section for section in content["sections"] if "error" in section] == []
    assert (folder / "gpu.md").read_text() == ended.stdout
    return ended.stdout, {section["name"]: section["rows"] for section in content["sections"]}


def test_everything_is_right(found: tuple[str, dict[str, list[dict[str, object]]]]) -> None:
    _, sections = found
    right = [row for name, rows in sections.items() if name.startswith("right") for row in rows]
    assert len(right) > 60
    assert [row["what"] for row in right if row["holds"] is not True] == []


def test_every_section_says_something(found: tuple[str, dict[str, list[dict[str, object]]]]) -> None:
    table, sections = found
    empty = {name for name, rows in sections.items() if not rows}
    assert empty == {"fast: waits"}  # of a CPU nobody waits for
    for name, rows in sections.items():
        assert table.count(f"| {name} |") == len(rows) + 1
    assert "Not right: nothing." in table


def test_what_is_not_right_is_named_and_ends_with_1(tmp_path: Path) -> None:
    spoilt = (
        "import sys; sys.argv = ['gpu', '--out', sys.argv[1], '--device', 'cpu', '--small', '--only', 'right: probes']\n"
        "from benchmarks import gpu, gpu_right\n"
        "features = gpu_right.features\n"
        "def other(count, depth, classes, seed, device):\n"
        "    calls.append(0)\n"
        "    return features(count, depth, classes, seed + len(calls), device)\n"
        "calls = []; gpu_right.features = other; sys.exit(gpu.main())"
    )
    command = [sys.executable, "-c", spoilt, str(tmp_path)]
    ended = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr[-2000:]
    assert "**missed**" in ended.stdout and "Not right: probe, float64: weights against the CPU" in ended.stdout


TF32 = """
import sys, torch
from torch import nn
from torch.nn.grad import conv2d_input, conv2d_weight

sys.argv = ["gpu", "--out", sys.argv[1], "--device", "cpu", "--small", "--only", "right: pretrain"]
from benchmarks import gpu, gpu_right

def kept(values):
    '10 bits of the fraction, as TF32 keeps them.'
    return ((values.detach().clone().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context, images, weight, *how):
        context.save_for_backward(images, weight)
        context.how = how
        return nn.functional.conv2d(kept(images), kept(weight), None, *how)

    @staticmethod
    def backward(context, gradient):
        (images, weight), gradient = context.saved_tensors, kept(gradient)
        of_images = conv2d_input(images.shape, kept(weight), gradient, *context.how)
        return of_images, conv2d_weight(kept(images), weight.shape, gradient, *context.how), *[None] * 4

def forward(self, images, weight, bias):
    assert bias is None and self.padding_mode == "zeros"
    return Convolution.apply(images, weight, self.stride, self.padding, self.dilation, self.groups)

def errors(machine, protocol, device, precision, exact):
    if device is not gpu_right.CPU and precision == "float32":
        nn.Conv2d._conv_forward = forward
    try:
        return by_float32(machine, protocol, device, precision, exact)
    finally:
        nn.Conv2d._conv_forward = plain

plain, by_float32 = nn.Conv2d._conv_forward, gpu_right.errors
gpu_right.errors = errors
sys.exit(gpu.main())
"""


def test_tf32_in_place_of_float32_is_not_right(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", TF32, str(tmp_path)], cwd=CLONE, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr[-2000:]
    failed = json.loads((tmp_path / "gpu.json").read_text())["failed"]
    assert len(failed) == 1 and failed[0].startswith("pretrain, first step in float32: least error: 0.0"), failed
