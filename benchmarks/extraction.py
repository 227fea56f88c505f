"""How fast features are extracted, against a plain forward pass; resnet50 at 224 pixels, random weights.

    python -m benchmarks.extraction --threads 1

Ratios are medians over rounds in which all ways take their turn. plain: the network as torch builds it, float32,
batches of 32. Errors are relative to the largest feature. end to end: rrl.stages.extract, from images to the file,
against the bare forward pass with the same settings, and against timm's inference benchmark (its benchmark.py: the
network alone, on random numbers, channels last); from JPEG files of 500 x 375 pixels as well.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.ratios import interleaved, line, most_memory, ratio
from rrl.arithmetic import NATIVE
from rrl.config.settings import Photographs
from rrl.data.images import Split, inputs
from rrl.networks.inference import for_inference
from rrl.networks.trunks import build_trunk
from rrl.stages.extract import extract_split
from rrl.training.device import multiply_by_onednn, prepare

TRANSFORM = Photographs(
    size=224, resize=256, scale=[0.08, 1.0], interpolation="bilinear", flip=True, mean=[0.5] * 3, std=[0.25] * 3
)  # fmt: skip
BATCH_SIZE = 16
CPU = torch.device("cpu")


def random_trunk() -> nn.Module:
    """With batch norms that are not the identity."""
    torch.manual_seed(0)
    trunk = build_trunk("resnet50").eval()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return trunk


def jpegs(count: int) -> Split:
    """Pictures with some structure, as files in memory."""
    random = np.random.default_rng(0)
    contents = np.empty(count, dtype=object)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        contents[number] = file.getvalue()
    return Split(contents, np.arange(count) % 10, lambda content: Image.open(io.BytesIO(content)).convert("RGB"))


def forwards(count: int, rounds: int) -> None:
    """Of the network alone."""
    trunk = random_trunk()
    images = torch.randn(count, 3, 224, 224)
    parts = images.split(BATCH_SIZE)
    start = time.perf_counter()
    ways = {
        "folded, channels last": for_inference(trunk, "float32", CPU, False, BATCH_SIZE),
        "compiled": for_inference(trunk, "float32", CPU, True, BATCH_SIZE),
        "bfloat16": for_inference(trunk, "bfloat16", CPU, False, BATCH_SIZE),
        "bfloat16, compiled": for_inference(trunk, "bfloat16", CPU, True, BATCH_SIZE),
    }
    with torch.no_grad():
        exact = trunk(images)

    def plain() -> Tensor:
        with torch.no_grad():
            return trunk(images)

    works = {"plain": plain}
    errors, compilation = {}, {}
    for name, way in ways.items():
        start = time.perf_counter()
        found = torch.cat([way(part) for part in parts])
        compilation[name] = time.perf_counter() - start
        errors[name] = float((found - exact).abs().max() / exact.abs().max())
        works[name] = lambda way=way: [way(part) for part in parts]
    seconds = interleaved(works, rounds)
    wanted = {"compiled": 2.0, "bfloat16, compiled": 4.0}
    for name in ways:
        note = f"error {errors[name]:.0e}; first batch {compilation[name]:.0f} s"
        line(f"forward, {name} / plain", ratio(seconds, name, "plain"), wanted.get(name), note)


def end_to_end(count: int, rounds: int, folder: Path) -> None:
    trunk = random_trunk()
    features_of = for_inference(trunk, "float32", CPU, True, BATCH_SIZE)
    arrays = Split(
        np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8), np.arange(count) % 10
    )
    files = jpegs(count)
    batches = [
        inputs(arrays, np.arange(start, start + BATCH_SIZE), TRANSFORM, None) for start in range(0, count, BATCH_SIZE)
    ]
    number = iter(range(10**6))

    def whole(data: Split) -> None:
        path = folder / f"{next(number)}.h5"
        extract_split(features_of, 2048, data, TRANSFORM, [None], "float16", BATCH_SIZE, path, CPU)

    theirs = timm.create_model("resnet50").eval().to(memory_format=torch.channels_last)
    random = torch.randn(count, 3, 224, 224).contiguous(memory_format=torch.channels_last)

    def timm_benchmark() -> None:
        with torch.no_grad():
            theirs(random)

    seconds = interleaved(
        {
            "bare": lambda: [features_of(batch) for batch in batches],
            "arrays": lambda: whole(arrays),
            "files": lambda: whole(files),
            "timm": timm_benchmark,
        },
        rounds,
    )
    line("extraction end to end, images in memory / bare forward", ratio(seconds, "arrays", "bare"), 0.9)
    line("extraction end to end, images in memory / timm's benchmark", ratio(seconds, "arrays", "timm"), 1.0)
    line("extraction end to end, JPEG files / bare forward", ratio(seconds, "files", "bare"), None)


def decoding(rounds: int) -> None:
    """What a core decodes, and more of them; beside that a network is the limit, or it is not."""
    files, positions, before = jpegs(64), np.arange(64), torch.get_num_threads()

    def by(threads: int) -> None:
        torch.set_num_threads(threads)
        inputs(files, positions, TRANSFORM, None)

    cores = len(os.sched_getaffinity(0))
    seconds = interleaved({"one": lambda: by(1), "all": lambda: by(cores)}, rounds)
    torch.set_num_threads(before)
    per_second = 64 / statistics.median(seconds["one"])
    note = f"the limit of networks that take less than {1000 / per_second:.1f} ms an image"
    line("JPEG files of 500 x 375, decoded and resized, images/s of a core", per_second, None, note)
    line(f"the same by {cores} threads / by one", ratio(seconds, "all", "one"), 0.8 * cores)


def memory(count: int) -> None:
    """What an extraction of pictures needs at most, from few to many, each in a process of its own."""
    peaks = []
    for factor in (1, 4, 16):
        command = [sys.executable, "-m", "benchmarks.extraction", "--memory", str(count * factor)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    note = ", ".join(f"{peak / 2**20:,.0f}" for peak in peaks) + " MB"
    line(f"memory of an extraction, {count:,} pictures / 16 times as many", peaks[0] / peaks[2], 0.9, note)


def extract_many(count: int, folder: Path) -> None:
    """Prints the most memory of this process, of pictures of 32 pixels and a small network."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pictures = Split(
        np.arange(count), np.arange(count) % 10, lambda number: Image.fromarray(pixels + np.uint8(number % 7))
    )
    transform = replace(TRANSFORM, size=32, resize=32)
    trunk = build_trunk("resnet8rgb")
    features_of = for_inference(trunk, "float32", CPU, False, 250)
    extract_split(features_of, trunk.feature_dim, pictures, transform, [None], "float16", 250, folder / "a.h5", CPU)
    print(most_memory())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64, help="in a round; a multiple of 32")
    parser.add_argument("--pictures", type=int, default=2000, help="the fewest of which memory is measured")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    prepare(arguments.threads, NATIVE)
    multiply_by_onednn(CPU)
    if arguments.memory:
        with tempfile.TemporaryDirectory() as folder:
            extract_many(arguments.memory, Path(folder))
        return
    forwards(arguments.images // 2, arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        end_to_end(arguments.images, arguments.rounds, Path(folder))
    decoding(arguments.rounds)
    memory(arguments.pictures)


if __name__ == "__main__":
    main()
