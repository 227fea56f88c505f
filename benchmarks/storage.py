"""How fast features are written and read, against numpy's arrays on the same disk; random features, float16.

    python -m benchmarks.storage --folder /tmp

writing : from float32 features in memory to the finished file: rrl.stages.extract, an array for its network, and
rrl.store.features.finish; against np.memmap and its fsync. reading : blocks of 256 rows in a random order, from
the page cache, as probes read features that memory cannot hold. CAT : the same of ten members, read from their own
files and put side by side, against one file that holds them so. virtual file : rrl.stages.represent for as many rows as
ImageNet has, over sparse files of members.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.ratios import interleaved, line, ratio
from rrl.config.settings import PaddedCrop
from rrl.data.images import Split
from rrl.heads.cached import OnDisk
from rrl.job import Card
from rrl.stages.extract import extract_split
from rrl.stages.represent import build_split
from rrl.store.features import CHUNK, create, finish
from rrl.store.read_features import Columns, open_features

Features = npt.NDArray[np.float32]

DEPTH = 2048
MEMBERS = 10
POOL = 16  # chunks that are read at once
BATCH_SIZE = 64
PLAIN = PaddedCrop(mean=0.5, std=0.5, pad=0, flip=False)
SECONDS, BYTES = 1.0, 65_536  # that a virtual file may take


def random_features(count: int, seed: int) -> Features:
    return np.random.default_rng(seed).standard_normal((count, DEPTH), dtype=np.float32)


def cached(answers: Features) -> Callable[[Tensor], Tensor]:
    """A network whose features are known, when its images come in order."""
    batches = iter(torch.from_numpy(answers).split(BATCH_SIZE))
    return lambda _: next(batches)


def write_features(features: Features, path: Path) -> None:
    """As the stage extract does."""
    images = Split(np.zeros((len(features), 1, 1), dtype=np.uint8), np.arange(len(features)) % 10)
    partial = path.with_suffix(".partial")
    digest = extract_split(
        cached(features), DEPTH, images, PLAIN, [None], "float16", BATCH_SIZE, partial, torch.device("cpu")
    )
    finish(partial, path, {"digest": digest})
    path.with_suffix(".partial.done").unlink()


def write_memmap(features: Features, path: Path) -> None:
    mapped = np.memmap(path, dtype=np.float16, mode="w+", shape=features.shape)
    for start in range(0, len(features), BATCH_SIZE):
        mapped[start : start + BATCH_SIZE] = features[start : start + BATCH_SIZE]
    mapped.flush()
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def write_concatenated(members: list[Features], path: Path) -> None:
    """One file with what a virtual one shows."""
    whole = np.concatenate(members, axis=1).astype(np.float16)[None]
    create(path, whole.shape, "float16", np.zeros(whole.shape[1], dtype=np.int64))
    with h5py.File(path, "r+") as file:
        file["features"][:] = whole


def on_disk(paths: list[Path]) -> OnDisk:
    """Features of files side by side, as a probe opens them once."""
    datasets = [open_features(path) for path in paths]
    return OnDisk([[Columns(dataset, 0, dataset.shape[2]) for dataset in datasets]], 1, torch.device("cpu"))


def read_hdf5(features: OnDisk, starts: list[int]) -> None:
    for pool in pools(starts):
        features.read_side_by_side(0, [(start, min(start + CHUNK, features.shape[1])) for start in pool])


def read_memmap(path: Path, count: int, starts: list[int]) -> None:
    mapped = np.memmap(path, dtype=np.float16, mode="r", shape=(count, DEPTH))
    for pool in pools(starts):
        found = np.empty((len(pool) * CHUNK, DEPTH), np.float16)
        for number, start in enumerate(pool):
            rows = mapped[start : start + CHUNK]
            found[number * CHUNK : number * CHUNK + len(rows)] = rows


def pools(starts: list[int]) -> list[list[int]]:
    """A few chunks at a time, as a probe reads them."""
    return [starts[at : at + POOL] for at in range(0, len(starts), POOL)]


def shuffled_starts(count: int) -> list[int]:
    starts: list[int] = (np.random.default_rng(0).permutation(-(-count // CHUNK)) * CHUNK).tolist()
    return starts


def writing(count: int, rounds: int, folder: Path) -> None:
    features = random_features(count, 0)
    works = {
        "HDF5": lambda: write_features(features, folder / "a.h5"),
        "memmap": lambda: write_memmap(features, folder / "a.raw"),
    }
    seconds = interleaved(works, rounds)
    line("writing, HDF5 with digests / np.memmap", ratio(seconds, "HDF5", "memmap"), 0.7, _rate(seconds["HDF5"], count))


def reading(count: int, rounds: int, folder: Path) -> None:
    """Of the files that `writing` left."""
    starts = shuffled_starts(count)
    features = on_disk([folder / "a.h5"])
    works = {
        "HDF5": lambda: read_hdf5(features, starts),
        "memmap": lambda: read_memmap(folder / "a.raw", count, starts),
    }
    seconds = interleaved(works, rounds)
    note = f"page cache; {_rate(seconds['HDF5'], count)}"
    line("reading by shuffled chunk, HDF5 / np.memmap", ratio(seconds, "HDF5", "memmap"), 0.8, note)


def concatenation(count: int, rounds: int, folder: Path) -> None:
    members = [random_features(count, seed) for seed in range(MEMBERS)]
    paths = [folder / f"member{number}.h5" for number in range(MEMBERS)]
    for features, path in zip(members, paths, strict=True):
        write_features(features, path)
    write_concatenated(members, folder / "concatenated.h5")
    starts = shuffled_starts(count)
    side_by_side, together = on_disk(paths), on_disk([folder / "concatenated.h5"])
    works = {
        "members": lambda: read_hdf5(side_by_side, starts),
        "concatenated": lambda: read_hdf5(together, starts),
    }
    seconds = interleaved(works, rounds)
    note = f"page cache; {_rate(seconds['members'], count * MEMBERS)}"
    line(f"reading CAT{MEMBERS}, members / one file", ratio(seconds, "members", "concatenated"), 0.9, note)


def sparse_member(path: Path, rows: int) -> Card:
    """A card, and its file with labels, and features that were never written."""
    path.with_suffix("").mkdir()
    with h5py.File(path.with_suffix("") / "train.h5", "w") as file:
        file.create_dataset("features", (1, rows, DEPTH), np.float16, chunks=(1, min(rows, CHUNK), DEPTH))
        file.create_dataset("labels", data=np.zeros(rows, dtype=np.int64))
        file.attrs["digest"] = "none"
    return Card(path, f"features/{path.stem}", "", "extract", {}, "", [], "", {})


def building(rows: int, rounds: int, folder: Path) -> None:
    cards = [sparse_member(folder / f"sparse{number}.json", rows) for number in range(MEMBERS)]
    members = [{"columns": [0, DEPTH, DEPTH], "digests": {"train": "none"}} for _ in cards]
    output = folder / "sparse.h5"
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        build_split(members, cards, "train", output)
        times.append(time.perf_counter() - start)
    labels = rows * np.dtype(np.int64).itemsize
    size = output.stat().st_size - labels
    seconds = sorted(times)[rounds // 2]
    line(f"virtual file of {rows:,} x {MEMBERS} x {DEPTH}, second / time", SECONDS / seconds, 1.0, f"{seconds:.3f} s")
    note = f"{size:,} bytes, and {labels:,} of labels"
    line(f"virtual file of {rows:,} x {MEMBERS} x {DEPTH}, 64 KB / size", BYTES / size, 1.0, note)


def _rate(seconds: list[float], count: int) -> str:
    return f"{count * DEPTH * 2 / min(seconds) / 1e9:.2f} GB/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where files are written, and removed again")
    parser.add_argument("--images", type=int, default=50_000, help="of one network; a tenth of them for CAT")
    parser.add_argument("--rows", type=int, default=1_281_167, help="of the virtual file over sparse members")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="storage-") as place:
        folder = Path(place)
        writing(arguments.images, arguments.rounds, folder)
        reading(arguments.images, arguments.rounds, folder)
        concatenation(arguments.images // MEMBERS, arguments.rounds, folder)
        building(arguments.rows, arguments.rounds, folder)


if __name__ == "__main__":
    main()
