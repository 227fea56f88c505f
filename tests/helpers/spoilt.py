"""Artifacts of the tiny experiment that are spoilt, and what reads them next."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py

FEATURES = "features/mnist/erm-s0/val.h5"
ENSEMBLE = "records/mnist/cat2/ensemble.json"
PROBE = "records/mnist/cat2/linear_probe.json"
LOGITS = "logits/mnist/erm-s0/linear_probe.h5"
RUN = "finetuned/cat2.mnist.heldout-lr0.1-wd0.0005-e2"
TUNED = "networks/erm-s0.mnist.heldout-lr0.1-wd0.0005-e2"


def flip(path: Path) -> None:
    """One bit in the middle; of a dataset, in an HDF5 file, as there is space between them."""
    at = path.stat().st_size // 2
    if path.suffix == ".h5":
        places: list[int] = []
        with h5py.File(path) as file:
            file.visititems(lambda _, item: places.append(place(item)) if isinstance(item, h5py.Dataset) else None)
        at = places[0]
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def place(dataset: h5py.Dataset) -> int:
    """Of its first values in the file."""
    return dataset.id.get_offset() or dataset.id.get_chunk_info(0).byte_offset


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def swap(other: str) -> Callable[[Path], None]:
    """Another file of the same kind in its place."""

    def spoil(path: Path) -> None:
        content = (path.parents[len(path.parts) - path.parts.index("tiny") - 2] / other).read_bytes()
        assert path.read_bytes() != content
        path.write_bytes(content)

    return spoil


def shorten(path: Path) -> None:
    """A valid file with fewer images."""
    with h5py.File(path, "r+") as file:
        fewer = file["features"][:, :-1]
        del file["features"]
        file["features"] = fewer


def higher(path: Path) -> None:
    """A better number in a record."""
    text = path.read_text()
    changed = re.sub(r'"top1": 0\.\d+', '"top1": 0.99', text)
    assert changed != text
    path.write_text(changed)


@dataclass(frozen=True)
class Case:
    """file : what is spoilt. record : what reads it; deleted, so that it is made again, and `deleted` before it."""

    file: str
    spoil: Callable[[Path], None]
    record: str
    message: str
    deleted: str = ""


CASES = {
    "a bit of a network": Case("networks/erm-s0.safetensors", flip, PROBE, "altered since", FEATURES),
    "half of a network": Case("networks/erm-s0.safetensors", cut, PROBE, "altered since", FEATURES),
    "another network": Case("networks/erm-s0.safetensors", swap("networks/erm-s1.safetensors"), PROBE, "altered since", FEATURES),
    "a bit of a fine-tuned network": Case(f"{TUNED}.safetensors", flip, "records/mnist/cat2/two_stage.json", "altered since"),
    "a bit of an index": Case("targets/mnist.csv", flip, PROBE, "altered since", FEATURES),
    "a bit of features": Case("features/mnist/erm-s0/test.h5", flip, PROBE, "altered since"),
    "half of features": Case("features/mnist/erm-s0/test.h5", cut, PROBE, "missing or unreadable"),
    "other features": Case("features/mnist/erm-s0/test.h5", swap("features/mnist/erm-s1/test.h5"), PROBE, "altered since"),
    "fewer features": Case("features/mnist/erm-s0/test.h5", shorten, PROBE, "features have shape"),
    "half of a virtual file": Case("representations/mnist/cat2/val.h5", cut, PROBE, "missing or unreadable"),
    "another virtual file": Case("representations/mnist/cat2/val.h5", swap("representations/mnist/wide2-s0/val.h5"), PROBE, "not the features and"),
    "a bit of logits": Case(LOGITS, flip, ENSEMBLE, "altered since"),
    "half of logits": Case(LOGITS, cut, ENSEMBLE, "missing or unreadable"),
    "other logits": Case(LOGITS, swap("logits/mnist/erm-s1/linear_probe.h5"), ENSEMBLE, "altered since"),
    "a better number of a run": Case(f"{RUN}.json", higher, "records/mnist/cat2/finetune.json", "altered since"),
    "a better number of a record": Case(PROBE, higher, "table2.csv", "altered since"),
    "half of a record": Case(PROBE, cut, "table2.csv", "not a JSON file"),
    "another record": Case(PROBE, swap("records/mnist/erm-s0/linear_probe.json"), "table2.csv", "the card of records/mnist/erm-s0/linear_probe, not of"),
}  # fmt: skip
