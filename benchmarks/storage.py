"""How fast features are written and read, against numpy's arrays on the same disk; random features, float16.

    python -m benchmarks.storage --folder /tmp

writing : from float32 features in memory to the finished file: rrl.extract, its network replaced by an array, and
rrl.features.finish; against np.memmap and its fsync. Slow is that each block of 1,024 images is on the disk before
the next begins: a network takes seconds for it, and an extraction that is killed loses no more. reading : blocks of 256
rows in a random order, from the page cache; no stage reads so, all read whole files. CAT : the columns of all members.
virtual file : rrl.represent for as many rows as ImageNet has, over sparse files of members.
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
from rrl.extract import extract_split
from rrl.features import CHUNK, create, finish, write_virtual
from rrl.files import complete
from rrl.images import Split
from rrl.provenance import Card
from rrl.represent import build_split
from rrl.transforms import PaddedCrop

Features = npt.NDArray[np.float32]

DEPTH = 2048
MEMBERS = 10
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
    extract_split(cached(features), DEPTH, images, PLAIN, [None], "float16", BATCH_SIZE, partial)
    finish(partial, path, {"target": "none"})
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


def read_hdf5(path: Path, starts: list[int], **cache: int) -> None:
    """Blocks of rows; each pass opens the file anew."""
    with h5py.File(path, "r", **cache) as file:
        features = file["features"]
        for start in starts:
            features[0, start : start + CHUNK]


def read_memmap(path: Path, count: int, starts: list[int]) -> None:
    mapped = np.memmap(path, dtype=np.float16, mode="r", shape=(count, DEPTH))
    for start in starts:
        mapped[start : start + CHUNK].copy()


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
    works = {
        "HDF5": lambda: read_hdf5(folder / "a.h5", starts),
        "no cache": lambda: read_hdf5(folder / "a.h5", starts, rdcc_nbytes=0),
        "memmap": lambda: read_memmap(folder / "a.raw", count, starts),
    }
    seconds = interleaved(works, rounds)
    for name, what in (("HDF5", "HDF5 as h5py opens it"), ("no cache", "HDF5 without its cache of chunks")):
        note = f"page cache; {_rate(seconds[name], count)}"
        line(f"reading, {what} / np.memmap", ratio(seconds, name, "memmap"), 0.8, note)


def concatenation(count: int, rounds: int, folder: Path) -> None:
    members = [random_features(count, seed) for seed in range(MEMBERS)]
    paths = [folder / f"member{number}.h5" for number in range(MEMBERS)]
    for features, path in zip(members, paths, strict=True):
        write_features(features, path)
    write_concatenated(members, folder / "concatenated.h5")
    sources = [(path, 0, DEPTH) for path in paths]
    with complete(folder / "virtual.h5") as partial:
        write_virtual(partial, sources, (1, count), "float16")
    starts = shuffled_starts(count)
    works = {name: lambda name=name: read_hdf5(folder / f"{name}.h5", starts) for name in ("virtual", "concatenated")}
    seconds = interleaved(works, rounds)
    note = f"page cache; {_rate(seconds['virtual'], count * MEMBERS)}"
    line(f"reading CAT{MEMBERS}, virtual / concatenated", ratio(seconds, "virtual", "concatenated"), 0.9, note)


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
