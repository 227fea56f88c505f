"""Where a user's images lie: a folder of class folders, a CSV of paths, arrays in one file, a torchvision data set."""

import csv
import hashlib
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from rrl.errors import UserError
from rrl.pictures import EXTENSIONS, Unreadable, read_picture

WHOLE = "all"
PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
LIBRARY = "torchvision/"
ARRAYS = (".npz", ".h5", ".hdf5")
KINDS = (
    "a folder with a folder of images per class, or with such folders in train, val and test; a CSV file with columns "
    "path and label; an .npz, .h5 or .hdf5 file with images and labels; torchvision/<data set>"
)

Reference = str | int  # a path below the source, or a position in an array
Open = Callable[[Reference], Image.Image]


@dataclass(frozen=True)
class Item:
    """One image: where it is, and the name of its class."""

    reference: Reference
    label: str


@dataclass(frozen=True)
class Source:
    """parts : train, val, test, or `all` where the data are not parted; open : an item's picture, as it is in its file,
    by part; raises Unreadable. other : files that are no images by their names."""

    name: str
    parts: dict[str, list[Item]]
    open: dict[str, Open]
    fingerprint: str
    other: list[str] = field(default_factory=list)


def open_source(source: str, data_root: Path) -> Source:
    """source : below data_root, where torchvision's data sets are kept too. Raises UserError if nothing is usable."""
    if source.startswith(LIBRARY):
        return _torchvision(source, data_root)
    path = data_root / source
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise UserError(f"{path}: missing; allowed is {KINDS}")
    if path.suffix == ".csv":
        return _csv(path)
    if path.suffix in ARRAYS:
        return _arrays(path)
    raise UserError(f"{path}: of no known kind; allowed is {KINDS}")


@lru_cache(maxsize=8)
def opened(source: str, data_root: Path) -> Source:
    """open_source, once per process."""
    return open_source(source, data_root)


def _fingerprint(files: dict[str, int]) -> str:
    """Digest (16 hex digits) of relative names and sizes."""
    digest = hashlib.sha256()
    for name, size in sorted(files.items()):
        digest.update(f"{name}\0{size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _walk(folder: Path, below: str) -> Iterator[tuple[str, int]]:
    """Files below a folder, by path relative to it and size; hidden ones are left out, links are followed."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{below}{entry.name}/")
        elif entry.is_file():
            yield f"{below}{entry.name}", entry.stat().st_size


def _folder(path: Path) -> Source:
    """ImageFolder's layout: the class is the name of the folder that directly holds the folder's images or more."""
    try:
        files = dict(_walk(path, ""))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    other = [name for name in files if not name.lower().endswith(EXTENSIONS)]
    images = [name for name in files if name.lower().endswith(EXTENSIONS)]
    if not images:
        raise UserError(f"{path}: no images in it; allowed is {KINDS}, the images named {', '.join(EXTENSIONS)}")
    tops = {name.split("/")[0] for name in images if "/" in name}
    parted = tops <= set(PARTS) and "train" in {PARTS[top] for top in tops}
    parts: dict[str, list[Item]] = {}
    for name in images:
        folders = name.split("/")[:-1]
        if len(folders) <= parted:
            raise UserError(f"{path / name}: in no class folder; move it into the folder of its class")
        part = PARTS[folders[0]] if parted else WHOLE
        parts.setdefault(part, []).append(Item(name, folders[1 if parted else 0]))

    def open_(reference: Reference) -> Image.Image:
        return read_picture(path / str(reference))

    return Source(
        str(path), parts, dict.fromkeys(parts, open_), _fingerprint({name: files[name] for name in images}), other
    )


def _csv(path: Path) -> Source:
    """Columns path (relative to the CSV file, or absolute) and label; split, if there, is train, val or test."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    if not {"path", "label"} <= set(columns):
        raise UserError(f"{path}: found columns {', '.join(columns)}; needed are path and label, allowed is split too")
    parts: dict[str, list[Item]] = {}
    sizes: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        name, label, split = row["path"], row["label"], row.get("split", WHOLE)
        if not name or not label:
            raise UserError(f"{path}, line {number}: found path {name!r}, label {label!r}; both are needed")
        if name in sizes:
            raise UserError(f"{path}, line {number}: {name} is listed twice; allowed is once")
        if split not in (*PARTS, WHOLE):
            raise UserError(f"{path}, line {number}: found split {split!r}; allowed are train, val and test")
        file_path = path.parent / name
        sizes[name] = file_path.stat().st_size if file_path.exists() else -1
        parts.setdefault(PARTS.get(split, WHOLE), []).append(Item(name, label))
    if not parts:
        raise UserError(f"{path}: no images in it; needed is a line with path and label for each")

    def open_(reference: Reference) -> Image.Image:
        return read_picture(path.parent / str(reference))

    labelled = {f"{item.reference}\0{part}\0{item.label}": 0 for part, items in parts.items() for item in items}
    return Source(str(path), parts, dict.fromkeys(parts, open_), _fingerprint(sizes | labelled))


def _arrays(path: Path) -> Source:
    """images (N, height, width) or (N, height, width, 3) uint8 and labels (N,), or both for each of train, val, test:
    train_images, train_labels, ...; the layout of MedMNIST."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        else:
            with h5py.File(path, "r") as file:
                arrays = {name: file[name][:] for name in file if isinstance(file[name], h5py.Dataset)}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as arrays ({' '.join(str(error).split())[:150]})") from None
    parts, opens = {}, {}
    for part in (WHOLE, "train", "val", "test"):
        prefix = "" if part == WHOLE else f"{part}_"
        if f"{prefix}images" not in arrays:
            continue
        images, labels = arrays[f"{prefix}images"], np.squeeze(arrays.get(f"{prefix}labels", np.empty(0)))
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or (images.ndim == 4 and images.shape[3] not in (1, 3))
        ):
            raise UserError(
                f"{path}: {prefix}images is {images.dtype} {images.shape}; allowed is uint8 (N, height, width) or "
                "(N, height, width, 3)"
            )
        if labels.shape != images.shape[:1]:
            raise UserError(f"{path}: {prefix}labels is {labels.shape}; needed is ({len(images)},), one per image")
        texts = [str(label.decode() if isinstance(label, bytes) else label) for label in labels.tolist()]
        parts[part] = [Item(position, text) for position, text in enumerate(texts)]
        opens[part] = _from_array(images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images)
    if not parts:
        raise UserError(
            f"{path}: found {', '.join(arrays) or 'nothing'}; needed are images and labels, or train_images ..."
        )
    sizes = {f"{name} {array.dtype} {array.shape}": array.nbytes for name, array in arrays.items()}
    return Source(str(path), parts, opens, _fingerprint(sizes | {"file": path.stat().st_size}))


def _from_array(images: Any) -> Open:
    def open_(reference: Reference) -> Image.Image:
        return Image.fromarray(images[int(reference)])

    return open_


def _torchvision(source: str, data_root: Path) -> Source:
    """Any classification data set of torchvision, downloaded below the data folder if it is not there."""
    from torchvision import datasets

    name = source.removeprefix(LIBRARY)
    kind = getattr(datasets, name, None)
    parameters = inspect.signature(kind).parameters if isinstance(kind, type) else {}
    if not {"root"} <= set(parameters) or not {"train", "split"} & set(parameters):
        raise UserError(f"{source}: not a data set of torchvision with a training and a test part, such as CIFAR10")
    assert kind is not None
    options: dict[str, Any] = {"root": str(data_root / "torchvision")}
    if "download" in parameters:
        options["download"] = True
    parts, opens = {}, {}
    for part in ("train", "val", "test"):
        chosen = {"train": part == "train"} if "train" in parameters else {"split": part}
        if part == "val" and "train" in parameters:
            continue
        try:
            dataset = kind(**options, **chosen)
        except ValueError:
            continue  # a data set without this part
        except (OSError, RuntimeError) as error:
            raise UserError(f"{source}: not to be had ({error}); put its files below {options['root']}") from None
        parts[part] = _labelled(dataset)
        opens[part] = _from_dataset(dataset)
    return Source(source, parts, opens, source)


def _labelled(dataset: Any) -> list[Item]:
    labels = next((getattr(dataset, name) for name in ("targets", "_labels", "labels") if hasattr(dataset, name)), None)
    if labels is None:
        labels = [dataset[position][1] for position in range(len(dataset))]
    classes = getattr(dataset, "classes", None)
    numbers = [int(label) for label in labels]
    return [Item(at, str(classes[number] if classes else number)) for at, number in enumerate(numbers)]


def _from_dataset(dataset: Any) -> Open:
    def open_(reference: Reference) -> Image.Image:
        try:
            picture: Image.Image = dataset[int(reference)][0]
        except (OSError, SyntaxError, ValueError) as error:
            raise Unreadable(f"damaged ({error})") from None
        return picture

    return open_
