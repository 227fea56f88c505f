"""Where a user's images lie: a folder of class folders, a CSV of paths, arrays in one file, a torchvision data set."""

import csv
import hashlib
import inspect
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from rrl.data.items import WHOLE, Item, Open, Reference, Source, from_array
from rrl.data.pictures import EXTENSIONS, Unreadable, read_picture
from rrl.errors import UserError
from rrl.store.files import space_for

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
PARTS |= {"test": "test", "testing": "test"}
PREFIXES = {WHOLE: "", "train": "train_", "val": "val_", "test": "test_"}  # of the names of arrays
LIBRARY = "torchvision/"
ARRAYS = (".npz", ".h5", ".hdf5")
KINDS = (
    "a folder with a folder of images per class, or with such folders in train, val and test; a CSV file with columns "
    "path and label; an .npz, .h5 or .hdf5 file with images and labels; torchvision/<data set>"
)


def open_source(source: str, data_root: Path) -> Source:
    """source : below data_root, where torchvision's data sets are kept too. Raises UserError if nothing is usable."""
    if source.startswith(LIBRARY):
        return _torchvision(source, data_root)
    path = data_root / source
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise UserError(f"{path}: missing; it must be {KINDS}")
    if path.suffix == ".csv":
        return _csv(path)
    if path.suffix in ARRAYS:
        return _arrays(path)
    raise UserError(f"{path}: of no known kind; it must be {KINDS}")


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
    """Files below a folder, by path relative to it and size; hidden ones are left out, links are followed (-1 is the
    size of a file that a link does not find)."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{below}{entry.name}/")
        elif entry.is_file():
            yield f"{below}{entry.name}", entry.stat().st_size
        elif entry.is_symlink():
            yield f"{below}{entry.name}", -1


def _folder(path: Path) -> Source:
    """ImageFolder's layout: the class is the name of the folder that directly holds the folder's images or more."""
    try:
        files = dict(_walk(path, ""))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    other = [name for name in files if not name.lower().endswith(EXTENSIONS)]
    images = [name for name in files if name.lower().endswith(EXTENSIONS)]
    if not images:
        raise UserError(f"{path}: no images in it; it must be {KINDS}, the images named {', '.join(EXTENSIONS)}")
    tops = {name.split("/")[0].lower() for name in images if "/" in name}
    parted = bool(tops) and tops <= set(PARTS)
    parts: dict[str, list[Item]] = {}
    for name in images:
        folders = name.split("/")[:-1]
        if len(folders) <= parted:
            raise UserError(f"{path / name}: in no class folder; move it into the folder of its class")
        part = PARTS[folders[0].lower()] if parted else WHOLE
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
            rows = [(reader.line_num, row) for row in reader]
            columns = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    if not {"path", "label"} <= set(columns):
        raise UserError(f"{path}: found columns {', '.join(columns)}; needed are path and label, optional is split")
    parts: dict[str, list[Item]] = {}
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for number, row in rows:
        name, label = row["path"], row["label"]
        if not name or not label:
            raise UserError(f"{path}, line {number}: found path {name!r}, label {label!r}; both are needed")
        if os.path.normpath(name).split(os.sep)[0] == "..":
            raise UserError(
                f"{path}, line {number}: found path {name!r}, which leaves the folder of the file; a path must be "
                "below it, or absolute"
            )
        if (full := os.path.normpath(path.parent / name)) in seen:
            raise UserError(f"{path}, line {number}: {name} is listed twice; list it once")
        seen.add(full)
        if "split" in columns and row["split"] not in PARTS:
            raise UserError(f"{path}, line {number}: found split {row['split']!r}; it must be train, val or test")
        sizes[name] = _size(path.parent / name)
        part = PARTS[row["split"]] if "split" in columns else WHOLE
        parts.setdefault(part, []).append(Item(name, label))
    if not parts:
        raise UserError(f"{path}: no images in it; needed is a line with path and label for each")

    def open_(reference: Reference) -> Image.Image:
        return read_picture(path.parent / str(reference))

    labelled = {f"{item.reference}\0{part}\0{item.label}": 0 for part, items in parts.items() for item in items}
    return Source(str(path), parts, dict.fromkeys(parts, open_), _fingerprint(sizes | labelled))


def _size(path: Path) -> int:
    """-1 for what is no file."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return -1


def _arrays(path: Path) -> Source:
    """images (N, height, width) or (N, height, width, 3) uint8 and labels (N,), or both for each of train, val, test:
    train_images, train_labels, ...; the layout of MedMNIST."""
    wanted = {f"{prefix}{kind}" for prefix in PREFIXES.values() for kind in ("images", "labels")}
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                names = list(file.files)
                arrays = {name: file[name] for name in names if name in wanted}
        else:
            with h5py.File(path, "r") as file:
                names = list(file)
                arrays = {name: _inside(file, name)[:] for name in names if name in wanted}
    except UserError:
        raise
    except Exception as error:  # damaged bytes lead to errors of zipfile, zlib, numpy and HDF5
        raise UserError(f"{path}: cannot be read as arrays ({' '.join(str(error).split())[:150]})") from None
    parts, opens, sizes = {}, {}, {"file": path.stat().st_size}
    for part, prefix in PREFIXES.items():
        if f"{prefix}images" not in arrays:
            continue
        images, labels = arrays[f"{prefix}images"], arrays.get(f"{prefix}labels", np.empty(0))
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or (images.ndim == 4 and images.shape[3] not in (1, 3))
        ):
            raise UserError(
                f"{path}: {prefix}images is {images.dtype} {images.shape}; it must be uint8 (N, height, width) or "
                "(N, height, width, 3)"
            )
        if labels.shape != images.shape[:1]:
            raise UserError(f"{path}: {prefix}labels is {labels.shape}; needed is ({len(images)},), one per image")
        texts = [_text(label) for label in labels.tolist()]
        sizes |= {f"{prefix}images {images.shape}": images.nbytes, "\0".join([prefix, *texts]): len(texts)}
        parts[part] = [Item(position, text) for position, text in enumerate(texts)]
        opens[part] = from_array(images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images)
    if not parts:
        raise UserError(
            f"{path}: found {', '.join(names) or 'nothing'}; needed are images and labels, or train_images ..."
        )
    if WHOLE in parts and len(parts) > 1:
        parted = " and ".join(f"{PREFIXES[part]}images" for part in parts if part != WHOLE)
        raise UserError(f"{path}: found images beside {parted}; keep one of the two")
    return Source(str(path), parts, opens, _fingerprint(sizes))


def _inside(file: h5py.File, name: str) -> Any:
    """A data set of HDF5. Raises UserError if its values lie in another file, which the fingerprint would not show."""
    values = file[name]
    if (
        values.file.filename != file.filename
        or getattr(values, "external", None)
        or getattr(values, "is_virtual", False)
    ):
        raise UserError(f"{file.filename}: {name} lies in another file; copy its values into this one")
    return values


def _text(label: Any) -> str:
    return label.decode(errors="backslashreplace") if isinstance(label, bytes) else str(label)


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
    for split in ("train", "test") if "train" in parameters else ("train", "val", "valid", "test"):
        chosen = {"train": split == "train"} if "train" in parameters else {"split": split}
        try:
            with space_for(Path(options["root"], name)):
                dataset = kind(**options, **chosen)
        except ValueError:
            continue  # a data set without this part
        except (OSError, RuntimeError) as error:
            raise UserError(f"{source}: not available ({error}); put its files below {options['root']}") from None
        except TypeError as error:
            raise UserError(
                f"{source}: needs more than a folder and a part ({error}); it must be a data set that does not"
            ) from None
        parts[PARTS[split]] = _labelled(dataset)
        opens[PARTS[split]] = _from_dataset(dataset)
    if not parts:
        raise UserError(f"{source}: has no part named train, val or test; it must be a data set with such parts")
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
