"""Images and labels of a data set's files, as arrays."""

import gzip
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rrl.errors import UserError

# The parts of a data set as published, and the files of each.
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "fashion-mnist": {
        "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    },
    "mnist-5k": {"all": ("mnist_5k.csv.gz",)},
}


@dataclass(frozen=True)
class Part:
    """images: (N, height, width) uint8; labels: (N,) int64, as published."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def open_part(dataset: str, part: str, data_root: Path) -> Part:
    """One part of a data set. Raises UserError if a file is missing or is not what it should be."""
    paths = [data_root / dataset / name for name in PARTS[dataset][part]]
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: missing; to fetch it: {fetch_command(dataset, data_root)}")
    if dataset == "mnist-5k":
        return _open_csv(paths[0])
    return Part(_open_idx(paths[0], 3), _open_idx(paths[1], 1).astype(np.int64))


def fetch_command(dataset: str, data_root: Path) -> str:
    """What brings back missing files of a data set, as words for a shell."""
    return shlex.join(["python", "-m", "rrl.data.fetch", "--dataset", dataset, "--data-root", str(data_root)])


def _open_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The idx format (http://yann.lecun.com/exdb/mnist): magic, big-endian sizes, bytes; mapped, not read."""
    header = np.fromfile(path, dtype=">i4", count=1 + dimensions)
    size = int(np.prod(header[1:], dtype=np.int64))
    if len(header) != 1 + dimensions or header[0] != 0x0800 + dimensions or size != path.stat().st_size - header.nbytes:
        raise UserError(f"{path}: not an idx file of {dimensions} dimensions, or cut off; delete it and run again")
    shape = tuple(int(length) for length in header[1:])
    return np.memmap(path, dtype=np.uint8, mode="r", offset=header.nbytes, shape=shape)


def _open_csv(path: Path) -> Part:
    """A row per image: 784 pixels, then the label."""
    text = gzip.decompress(path.read_bytes()).replace(b"\n", b",").strip(b",")
    rows = np.fromstring(text.decode("ascii"), dtype=np.int64, sep=",").reshape(-1, 785)
    return Part(rows[:, :784].astype(np.uint8).reshape(-1, 28, 28), rows[:, 784])
