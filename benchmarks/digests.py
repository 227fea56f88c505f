"""What it costs that artifacts prove themselves: time in digests, as a share of the jobs that make and read them.

    python -m benchmarks.digests --folder /tmp --threads 1

extraction : random images through resnet50 at 224 pixels, and through the demo's resnet8; digests of the blocks and of
the file. training : some steps of resnet50 at 224 pixels (batches of 16) and of resnet8 (of 128), and the digest of
the state with its momentum, which is taken once per save; the share is that of the 300 s from one save to the next, or
of an epoch of 50,000 images if that is shorter. probe : 20,000 images with as many features as resnet50 has, six
settings; digests of what is read, and the share in probes of 1 and of 100 epochs.
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from rrl.arithmetic import NATIVE
from rrl.config.settings import Constant, HeadTraining, PaddedCrop, Photographs, Recipe, Transform
from rrl.data.images import Split, inputs
from rrl.heads.cached import Data
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.networks.inference import compiles, for_inference
from rrl.networks.trunks import Network, build_trunk
from rrl.stages import extract
from rrl.store.features import finish, labels_digest
from rrl.store.files import sha256_of_file
from rrl.training.device import prepare
from rrl.training.train import train
from rrl.training.training_state import SECONDS

LARGE = Photographs(
    size=224, resize=256, scale=[0.08, 1.0], interpolation="bilinear", flip=True, mean=[0.5] * 3, std=[0.5] * 3
)  # fmt: skip
SMALL = PaddedCrop(mean=0.286, std=0.353, pad=0, flip=False)
EPOCH = 50_000  # images


class Timed:
    """A digest that knows the seconds it took."""

    def __init__(self, digest: Any):
        self.digest, self.seconds = digest, 0.0

    def update(self, data: Any) -> None:
        start = time.perf_counter()
        self.digest.update(data)
        self.seconds += time.perf_counter() - start

    def hexdigest(self) -> str:
        return str(self.digest.hexdigest())


def images(count: int, size: int, channels: int) -> Split:
    shape = (count, size, size, 3) if channels == 3 else (count, size, size)
    return Split(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), np.arange(count) % 10)


def extraction(arch: str, data: Split, transform: Transform, folder: Path) -> tuple[float, float]:
    """Seconds in digests, and in all."""
    trunk, device = build_trunk(arch), torch.device("cpu")
    made: list[Timed] = []
    path = folder / f"{arch}.h5"
    start = time.perf_counter()
    with mock.patch.object(
        extract, "labels_digest", lambda labels: made.append(Timed(labels_digest(labels))) or made[-1]
    ):
        compiled = compiles(trunk, len(data.labels), device)
        features_of = for_inference(trunk, "float32", device, compiled, 16)
        depth = trunk.feature_dim
        digest = extract.extract_split(features_of, depth, data, transform, [None], "float16", 16, path, device)
        finish(path, folder / f"{arch}.final.h5", {"digest": digest})
    return sum(digest.seconds for digest in made), time.perf_counter() - start


def training(arch: str, data: Split, transform: Transform, batch_size: int, folder: Path) -> tuple[float, float]:
    """Seconds in the digest of a saved state, and from one save to the next."""
    network = Network(build_trunk(arch), 10).to(memory_format=torch.channels_last)
    recipe = Recipe(1, batch_size, 0.01, 0.9, True, 0.0, True, Constant("constant"), "float32")
    steps = len(data.labels) // batch_size
    start = time.perf_counter()
    batches = inputs(data, np.arange(len(data.labels)), transform, None).split(batch_size)
    labels = torch.from_numpy(data.labels).split(batch_size)
    of_an_epoch = list(zip(batches, labels, strict=True))
    with contextlib.redirect_stderr(io.StringIO()):
        train(network, lambda *_: iter(of_an_epoch), steps, recipe, torch.device("cpu"), after_epoch=lambda _: None)
    epoch = (time.perf_counter() - start) * EPOCH / len(data.labels)
    path = folder / "state.pt"
    torch.save([network.state_dict(), [parameter.grad for parameter in network.parameters()]], path)
    start = time.perf_counter()
    sha256_of_file(path)
    return time.perf_counter() - start, min(epoch, SECONDS)


def probe(count: int, depth: int) -> tuple[float, float]:
    """Seconds in the digest of what is read, and in one epoch."""
    labels = np.arange(count) % 10
    values = np.random.default_rng(0).normal(size=(1, count, depth)).astype(np.float16)
    start = time.perf_counter()
    digest = labels_digest(labels)
    for view in values:
        digest.update(view.data)
    digests = time.perf_counter() - start
    data = Data(torch.from_numpy(values), torch.from_numpy(labels))
    settings = [Setting(0.01, decay) for decay in (0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)]
    once = HeadTraining(1, 0, 256, 0.9, True, Constant("constant"), 0)
    start = time.perf_counter()
    train_heads(initial_head(10, depth, 0), data, {}, [], settings, once, True)
    return digests, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where files are written, and removed again")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    prepare(arguments.threads, NATIVE)
    large, small = images(64, 256, 3), images(10_000, 28, 1)
    print(f"{'':>30} {'digests, s':>12} {'of seconds':>12} {'share':>10}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folder = Path(place)
        rows = {
            "extraction, resnet50": extraction("resnet50", large, LARGE, folder),
            "extraction, resnet8": extraction("resnet8", small, SMALL, folder),
            "training, resnet50": training("resnet50", large, LARGE, 16, folder),
            "training, resnet8": training("resnet8", small.take(np.arange(9984)), SMALL, 128, folder),
        }
    digests, epoch = probe(20_000, 2048)
    rows |= {f"probe, {epochs} epochs": (digests, digests + epochs * epoch) for epochs in (1, 100)}
    for name, (part, whole) in rows.items():
        print(f"{name:>30} {part:>12.4f} {whole:>12.2f} {part / whole:>10.4%}")


if __name__ == "__main__":
    main()
