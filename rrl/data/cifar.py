"""CIFAR-10 and CIFAR-100: torchvision's files, downloaded if they are missing or damaged; all images are in memory."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from rrl.data.items import Batches, Item, Open, Source, from_array
from rrl.data.paper_folders import fingerprint, some
from rrl.errors import UserError
from rrl.store.files import space_for


def open_cifar(folder: Path, classes: int, threads: int) -> Source:
    """folder : its name is the data set's; the files are in torchvision/ beside it. classes : how many there must be.

    torchvision's md5 sums are checked on every opening, before anything is unpickled. Raises UserError if the files
    are neither there nor downloadable, or the data set has other classes.
    """
    from torchvision import datasets

    root = folder.parent / "torchvision"
    kind = getattr(datasets, folder.name.upper())
    if _broken(kind, root):
        _download(kind, root)
    parts: dict[str, list[Item]] = {}
    opens: dict[str, Open] = {}
    for part in ("train", "test"):
        published = kind(str(root), train=part == "train")
        names = published.classes
        if len(names) != classes:
            raise UserError(
                f"{root / kind.base_folder}: found {len(names)} classes, the config says {classes}; correct `classes` "
                "in the config"
            )
        parts[part] = [Item(position, names[label]) for position, label in enumerate(published.targets)]
        opens[part] = from_array(published.data)
    digest = fingerprint(parts | {"files": _sums(kind)})
    lists = {"train": kind.train_list, "test": kind.test_list}
    batches = {part: [[f"{kind.base_folder}/{name}", md5] for name, md5 in files] for part, files in lists.items()}
    return Source(str(root / kind.base_folder), parts, opens, digest, batches=batches)


def openers(dataset: str, data_root: Path, batches: Batches) -> dict[str, Open]:
    """How the images of each part are opened, without torchvision's long import.

    Raises UserError if one of the files is missing or another than it was.
    """
    return {part: from_array(_read_batches(data_root / "torchvision", files)) for part, files in batches.items()}


def _read_batches(folder: Path, files: list[list[str]]) -> Any:
    """(N, 32, 32, 3) uint8. Nothing is unpickled before its md5 sum is known to be the published one."""
    pixels = []
    for name, md5 in files:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"{folder / name}: cannot be read ({error.strerror}); put it back") from None
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{folder / name}: not the file that the target was made of (md5 {md5}); put that back")
        pixels.append(pickle.loads(content, encoding="latin1")["data"])
    return np.concatenate(pixels).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _sums(kind: Any) -> list[Item]:
    """The files of a data set of torchvision and their md5 sums."""
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    return [Item(name, md5) for name, md5 in files]


def _broken(kind: Any, root: Path) -> list[str]:
    """Files that are missing or damaged, with which of the two."""
    from torchvision.datasets.utils import check_integrity

    folder = root / kind.base_folder
    return [
        f"{file.reference} {'damaged' if (folder / str(file.reference)).exists() else 'missing'}"
        for file in _sums(kind)
        if not check_integrity(str(folder / str(file.reference)), file.label)
    ]


def _download(kind: Any, root: Path) -> None:
    """Two jobs may call this at once. An archive that is there already and whole is only unpacked."""
    from torchvision.datasets.utils import download_and_extract_archive

    failure = ""
    try:
        with space_for(root / kind.filename):
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f"{kind.filename}.lock"):
                if _broken(kind, root):
                    download_and_extract_archive(kind.url, str(root), filename=kind.filename, md5=kind.tgz_md5)
    except (OSError, RuntimeError, ValueError) as error:
        failure = f", and not available from {kind.url} ({' '.join(str(error).split())})"
    if broken := _broken(kind, root):
        raise UserError(
            f"{root / kind.base_folder}: {some(broken)}{failure}; put {kind.filename} (md5 {kind.tgz_md5}) into "
            f"{root}/ and run again"
        )
