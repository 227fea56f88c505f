"""What ImageNet and iNaturalist 2018 share: names of many images in many folders, and messages about them."""

import gc
import hashlib
import os
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from rrl.data.items import Batches, Item, Open, Reference
from rrl.data.pictures import EXTENSIONS, read_picture
from rrl.errors import UserError

NAMED = 3  # names in a message


def _list(folder: str) -> tuple[list[str], list[str]]:
    """The names of images in a folder, sorted, and of all else; hidden files are left out; none if it is missing."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    images = [name for name in names if name.lower().endswith(EXTENSIONS)]
    if len(images) == len(names):
        return images, []
    return images, [name for name in names if not name.lower().endswith(EXTENSIONS)]


def list_all(folders: list[str], threads: int) -> list[tuple[list[str], list[str]]]:
    """_list of each folder. Threads wait together for a network's disk; on a disk in this machine they gain nothing."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_list, folders))


def opener(folder: Path) -> Open:
    """What opens an image by its path below a folder, as RGB; raises Unreadable.

    Not turned as EXIF says, nor with alpha laid on white: the published code does neither, and a few of these images
    would be others.
    """

    def open_(reference: Reference) -> Image.Image:
        picture = read_picture(folder / str(reference)).convert("RGB")
        picture.info.clear()
        return picture

    return open_


def openers(dataset: str, data_root: Path, batches: Batches) -> dict[str, Open]:
    """How the images of each part are opened, without looking at any folder."""
    return dict.fromkeys(("train", "test"), opener(data_root / dataset))


def fingerprint(parts: dict[str, list[Item]]) -> str:
    """Digest (16 hex digits) of parts, references and labels.

    Not of sizes: a look at every file would take longer than all else (for a million files 3.4 s besides 2.1 s, by
    benchmarks/indexing.py, with all in memory; on a network's disk it is a round trip each).
    """
    digest = hashlib.sha256()
    for part, items in parts.items():
        digest.update(f"{part} {len(items)}\n".encode())
        digest.update("\n".join(f"{item.reference}\0{item.label}" for item in items).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


@contextmanager
def collection_off() -> Iterator[None]:
    """Without garbage collection, which would go through a million new items again and again: half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def quoted(path: Path) -> str:
    return shlex.quote(str(path))


def check_folder(folder: Path, needed: str) -> None:
    if folder.is_dir():
        return
    there = f"a link to {os.readlink(folder)}, where no folder is" if folder.is_symlink() else "no such folder"
    raise UserError(f"{folder}: {there}; needed is {needed}, or a link from there to where it is")
