"""The paper's probe grid on one target, our way and the published way; scaled down, resnet50 at 224 pixels.

    python -m benchmarks.grid --threads 1

Six weight decays x {10 ERM networks, CAT2, CAT4, CAT5, CAT10}, 28 epochs, without augmentation. The published way
passes every image through the frozen networks in every epoch of every weight decay, for training and again for
evaluation after the epoch. Of it one epoch of one weight decay is run for each of 1, 2, 4, 5 and 10 networks, and
counted 28 x 6 times. Ours is run whole: extraction to files, representations, probes. Forward passes are counted where
they happen. Seconds are of the processor. Compiling the network takes as long for any number of images, so it stands
apart, and the ratio is also told for as many images as CIFAR-10 has.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.extraction import BATCH_SIZE, CPU, TRANSFORM, random_trunk
from benchmarks.ratios import line
from rrl.arithmetic import NATIVE
from rrl.config.settings import HeadTraining, Step
from rrl.data.images import Split, inputs
from rrl.heads.cached import Data, OnDisk
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.networks.inference import for_inference
from rrl.stages.extract import extract_split
from rrl.store.features import finish, write_virtual
from rrl.store.read_features import Columns, open_features
from rrl.training.device import multiply_by_onednn, prepare

SIZES = {1: 10, 2: 1, 4: 1, 5: 1, 10: 1}  # networks in a representation -> how many such representations
DECAYS = [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
EPOCHS, CLASSES, DEPTH = 28, 10, 2048
CIFAR = 60_000
PUBLISHED_BATCH = 32
TRAINING = HeadTraining(EPOCHS, 0, 256, 0.9, True, Step("step", [8, 16, 24], 0.1), 0)


class Count:
    """Images that went through a network."""

    def __init__(self) -> None:
        self.images = 0

    def of(self, network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def counted(images: Tensor) -> Tensor:
            self.images += len(images)
            return network(images)

        return counted


def pictures(count: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    return Split(random.integers(0, 256, (count, 224, 224, 3), dtype=np.uint8), np.arange(count) % CLASSES)


def seconds_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def published_epoch(networks: list[nn.Module], data: dict[str, Split], count: Count) -> None:
    """One epoch of one weight decay: training, then evaluation."""
    depth = DEPTH * len(networks)
    head = nn.Sequential(nn.BatchNorm1d(depth), nn.Linear(depth, CLASSES))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    counted = [count.of(network) for network in networks]
    for split, images in data.items():
        for positions in np.array_split(np.arange(len(images.labels)), -(-len(images.labels) // PUBLISHED_BATCH)):
            batch, labels = inputs(images, positions, TRANSFORM, None), torch.from_numpy(images.labels[positions])
            with torch.no_grad():
                features = torch.cat([network(batch) for network in counted], dim=1)
            if split == "train":
                optimizer.zero_grad()
                nn.functional.cross_entropy(head.train()(features), labels).backward()
                optimizer.step()
            else:
                with torch.no_grad():
                    head.eval()(features).argmax(1)


def published(networks: list[nn.Module], data: dict[str, Split], sizes: dict[int, int]) -> tuple[float, int]:
    """Seconds and forward passes of the whole grid."""
    total, images = 0.0, 0
    for size, representations in sizes.items():
        count = Count()
        seconds = seconds_of(lambda size=size, count=count: published_epoch(networks[:size], data, count))
        total += seconds * representations * EPOCHS * len(DECAYS)
        images += count.images * representations * EPOCHS * len(DECAYS)
    return total, images


def extraction(
    network: nn.Module, number: int, data: dict[str, Split], folder: Path, count: Count
) -> tuple[float, float]:
    """Seconds in compiling the network, and in filling its files."""
    features_of = for_inference(network, "float32", CPU, compiled=True, batch_size=BATCH_SIZE)
    batch = inputs(data["train"], np.arange(BATCH_SIZE), TRANSFORM, None)
    once = seconds_of(lambda: features_of(batch))
    counted = count.of(features_of)

    def fill() -> None:
        for split, images in data.items():
            path = folder / f"{number}-{split}.h5"
            new = folder / "new.h5"
            digest = extract_split(counted, DEPTH, images, TRANSFORM, [None], "float16", BATCH_SIZE, new, CPU)
            finish(new, path, {"digest": digest})

    return once - seconds_of(lambda: features_of(batch)), seconds_of(fill)


def probe(members: range, data: dict[str, Split], folder: Path) -> None:
    """A representation, and the heads of all weight decays."""
    parts = {}
    for split, images in data.items():
        path, paths = folder / f"cat-{split}.h5", [folder / f"{number}-{split}.h5" for number in members]
        write_virtual(path, [(member, 0, DEPTH) for member in paths], (1, len(images.labels)), "float16")
        features = OnDisk([[Columns(open_features(member), 0, DEPTH) for member in paths]], 1, CPU)
        parts[split] = Data(features.read(0, 0, len(images.labels))[None], torch.from_numpy(images.labels))
    settings = [Setting(0.01, decay) for decay in DECAYS]
    head = initial_head(CLASSES, DEPTH * len(members), 0)
    train_heads(head, parts["train"], {"val": parts["test"]}, ["heldout"], settings, TRAINING, batch_norm=True)


def probes(sizes: dict[int, int], data: dict[str, Split], folder: Path) -> float:
    """Seconds of all representations; of the single networks one is run, and counted ten times."""
    return sum(times * seconds_of(lambda size=size: probe(range(size), data, folder)) for size, times in sizes.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=64, help="half of them for training")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="networks in a representation")
    arguments = parser.parse_args()
    prepare(arguments.threads, NATIVE)
    multiply_by_onednn(torch.device("cpu"))
    half = arguments.images // 2
    data = {"train": pictures(half, 0), "test": pictures(half, 1)}
    sizes = {size: SIZES[size] for size in arguments.sizes}
    networks = [random_trunk() for _ in range(max(sizes))]
    theirs, their_images = published(networks, data, sizes)
    count = Count()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts = [extraction(network, number, data, folder, count) for number, network in enumerate(networks)]
        compiling, extracting = (sum(column) for column in zip(*parts, strict=True))
        probing = probes(sizes, data, folder)
    name = f"probe grid, {2 * half} images"
    line(
        f"{name}: published forward passes / ours",
        their_images / count.images,
        500,
        f"{their_images:,} / {count.images:,}",
    )
    note = (
        f"{theirs:,.0f} s / ({extracting:.0f} s extraction + {probing:.1f} s probes), and {compiling:.0f} s compiling"
    )
    line(f"{name}: published seconds / ours", theirs / (extracting + probing), 800, note)
    factor = CIFAR / (2 * half)
    large = theirs * factor / ((extracting + probing) * factor + compiling)
    line(f"the same for {CIFAR:,} images, compiling included", large, 800)


if __name__ == "__main__":
    main()
