"""How fast probes are on cached features: against others' ways, against features in memory, and in how much memory.

    python -m benchmarks.probes --threads 1

The features are made up: class means and noise, 2,048 of them, as of a resnet50.

- Ours is the protocol of the paper by SGD, and the convex problem by L-BFGS (solver: lbfgs).
- CLIP_benchmark's way (github.com/LAION-AI/CLIP_benchmark, metrics/linear_probe.py): on cached features one training
  per weight decay, of torch.nn.Linear by AdamW, with a DataLoader that fetches one image after the other, and torch's
  own products of float32. The same weight decays and epochs as ours.
- scikit-learn's LogisticRegression, with its defaults, once per weight decay d: C = 1 / (d N). L-BFGS has the same most
  iterations, 100, for each.
- An epoch from an HDF5 file, which the system keeps in memory, against one from a tensor.
- Peak memory of a process that trains six heads from a file of N, 4 N, 16 N images; and of six heads of 8,142 classes
  on 20,480 features (iNaturalist 2018, CAT10), where it is what comes on top of the heads and their momentum.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import h5py
import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from benchmarks.ratios import interleaved, line, most_memory, ratio
from rrl.arithmetic import NATIVE
from rrl.config.settings import Constant, HeadTraining, Step
from rrl.heads.cached import Data, OnDisk
from rrl.heads.lbfgs import fit_heads, select
from rrl.heads.picking import blocks_of_logits
from rrl.heads.sweep import Heads
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.store.features import CHUNK, create
from rrl.store.logits import logits_file
from rrl.store.read_features import Columns, file_digest, open_features
from rrl.training.device import multiply_by_onednn, prepare

DECAYS = [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
SETTINGS = [Setting(0.01, decay) for decay in DECAYS]
DEPTH, EPOCHS = 2048, 28
ITERATIONS, TOLERANCE = 100, 1e-4  # of L-BFGS
CPU = torch.device("cpu")
GIGABYTE = 2**30
STEP = Step("step", [8, 16, 24], 0.1)


def made_up(count: int, classes: int, seed: int) -> Data:
    """Such that a fifth to a third of the images are told wrongly."""
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, DEPTH, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(count, DEPTH, generator=torch.Generator().manual_seed(seed))
    return Data((centres[labels] * 0.12 + noise).relu_()[None].half(), labels)


def by_sgd(data: dict[str, Data], classes: int) -> float:
    """Accuracy on test."""
    multiply_by_onednn(CPU)
    training = HeadTraining(EPOCHS, 0, 256, 0.9, True, STEP, 0)
    head = initial_head(classes, DEPTH, 0)
    selections, _ = train_heads(head, data["train"], data, ["heldout"], SETTINGS, training, batch_norm=True)
    return _on_test(selections["heldout"].head, data["test"])


def by_lbfgs(data: dict[str, Data], classes: int) -> float:
    multiply_by_onednn(CPU)
    heads, fits = fit_heads(data["train"], classes, DECAYS, ITERATIONS, TOLERANCE, batch_norm=True)
    return _on_test(select(heads, fits, data, ["heldout"])["heldout"].head, data["test"])


def _on_test(head: Heads, test: Data) -> float:
    logits = np.concatenate(list(blocks_of_logits(head, test)))
    return float((logits.argmax(1) == test.labels.numpy()).mean())


def one_run_per_weight_decay(data: dict[str, Data], classes: int) -> float:
    prepare(torch.get_num_threads(), NATIVE)  # torch's own products
    best = (-1.0, -1.0)
    for decay in DECAYS:
        features = data["train"].features[0].float()
        images = torch.utils.data.TensorDataset(features, data["train"].labels)
        loader = torch.utils.data.DataLoader(images, batch_size=256, shuffle=True)
        probe = nn.Linear(DEPTH, classes)
        optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-3, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
        for _ in range(EPOCHS):
            for inputs, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(probe(inputs), labels).backward()
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            logits = {split: probe(data[split].features[0].float()) for split in ("val", "test")}
        best = max(best, tuple(_top1(logits[split], data[split].labels) for split in ("val", "test")))
    return best[1]


def _top1(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())


def scikit_learn(data: dict[str, Data], classes: int) -> float:
    arrays = {split: (of.features[0].float().numpy(), of.labels.numpy()) for split, of in data.items()}
    best = (-1.0, -1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for decay in DECAYS:
            inverse = 1 / (decay * len(arrays["train"][1])) if decay else np.inf
            model = LogisticRegression(C=inverse).fit(*arrays["train"])
            best = max(best, (model.score(*arrays["val"]), model.score(*arrays["test"])))
    return best[1]


def against_others(count: int, rounds: int) -> None:
    for classes in (10, 100):
        data = {split: made_up(n, classes, seed) for seed, (split, n) in enumerate(
            {"train": count, "val": count // 5, "test": count // 5}.items(), start=1
        )}  # fmt: skip
        found: dict[str, float] = {}

        def ways(data: dict[str, Data] = data, classes: int = classes, found: dict[str, float] = found) -> dict:
            return {
                way.__name__: lambda way=way: found.update({way.__name__: way(data, classes)})
                for way in (by_sgd, by_lbfgs, one_run_per_weight_decay, scikit_learn)
            }

        seconds = interleaved(ways(), rounds)
        shape = f"{count:,} x {DEPTH}, {classes} classes"
        for way in ("by_sgd", "by_lbfgs"):
            for other, name in (("one_run_per_weight_decay", "one run each"), ("scikit_learn", "scikit-learn")):
                what = f"6 weight decays {way.replace('_', ' ')} / {name}, {shape}"
                note = f"accuracy {100 * found[way]:.1f} %, theirs {100 * found[other]:.1f} %"
                line(what, ratio(seconds, way, other), 3, note)


def stored(path: Path, count: int, depth: int, classes: int) -> Data:
    """Features in a file: one chunk of noise again and again, which is enough for time and memory."""
    labels = np.arange(count) % classes
    create(path, (1, count, depth), "float16", labels)
    chunk = np.random.default_rng(0).normal(size=(CHUNK, depth)).astype(np.float16)
    with h5py.File(path, "r+") as file:
        for start in range(0, count, CHUNK):
            file["features"][0, start : start + CHUNK] = chunk[: min(CHUNK, count - start)]
    features = OnDisk([[Columns(open_features(path), 0, depth)]], 1, CPU)
    return Data(features, torch.from_numpy(labels))


def from_disk(count: int, rounds: int, folder: Path) -> None:
    disk = stored(folder / "epoch.h5", count, DEPTH, 100)
    assert isinstance(disk.features, OnDisk)
    memory = Data(disk.features.read(0, 0, count)[None], disk.labels)
    once = HeadTraining(1, 0, 256, 0.9, True, Constant("constant"), 0)

    def epoch(data: Data) -> None:
        train_heads(initial_head(100, DEPTH, 0), data, {}, [], SETTINGS, once, batch_norm=True)

    seconds = interleaved({"disk": lambda: epoch(disk), "memory": lambda: epoch(memory)}, rounds)
    line(
        f"probe epoch from HDF5 / from memory, {count:,} x {DEPTH}, 100 classes", ratio(seconds, "disk", "memory"), 0.8
    )


def peak(count: int, depth: int, classes: int, folder: Path, steps: int = 0) -> float:
    """Bytes that a probe takes on top of its heads and their momentum, in a process of its own."""
    numbers = [str(number) for number in (count, depth, classes, steps, torch.get_num_threads())]
    command = [sys.executable, "-m", "benchmarks.probes", "--probe", *numbers, "--folder", str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def probe(count: int, depth: int, classes: int, steps: int, folder: Path) -> None:
    """What `peak` starts: digest, training, evaluation and logits, from files."""
    train, val = stored(folder / "train.h5", count, depth, classes), stored(folder / "val.h5", 2048, depth, classes)
    before = most_memory()
    file_digest(folder / "train.h5")
    once = HeadTraining(1, steps, 256, 0.9, True, Constant("constant"), 0)
    head = initial_head(classes, depth, 0)
    selections, _ = train_heads(head, train, {"val": val}, ["heldout"], SETTINGS, once, batch_norm=True)
    labels = {"val": val.labels.numpy(), "test": val.labels.numpy()}
    with logits_file(folder / "logits.h5", 1, classes, labels) as file:
        for split in labels:
            file.add("all/heldout", split, (2048, classes), blocks_of_logits(selections["heldout"].head, val))
        file.finish(labels)
    print(most_memory() - before - 2 * 4 * len(SETTINGS) * classes * depth)


def memory(count: int, depth: int, classes: int, folder: Path) -> None:
    peaks = [peak(count * factor, DEPTH, 10, folder) for factor in (1, 4, 16)]
    text = ", ".join(f"{bytes_ / 2**20:,.0f}" for bytes_ in peaks)
    line(f"memory of a probe, {count:,} images / 16 times as many", peaks[0] / peaks[2], 0.9, f"{text} MB")
    most = peak(math.ceil(GIGABYTE / (2 * depth)), depth, classes, folder, steps=2)
    what = f"4 GB / memory beyond six heads and momentum, {classes:,} x {depth:,}"
    line(what, 4 * GIGABYTE / most, 1, f"{most / GIGABYTE:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--stored", type=int, default=200_000, help="images in the file of an epoch")
    parser.add_argument(
        "--large", type=int, nargs=2, default=(20480, 8142), help="features and classes of a large head"
    )
    parser.add_argument("--probe", type=int, nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        *of, threads = arguments.probe
        prepare(threads, NATIVE)
        multiply_by_onednn(CPU)
        probe(*of, arguments.folder)
        return
    prepare(arguments.threads, NATIVE)
    with threadpool_limits(arguments.threads), tempfile.TemporaryDirectory() as folder:
        against_others(arguments.images, arguments.rounds)
        multiply_by_onednn(CPU)
        from_disk(arguments.stored, arguments.rounds, Path(folder))
        memory(arguments.stored // 2, *arguments.large, Path(folder))


if __name__ == "__main__":
    main()
