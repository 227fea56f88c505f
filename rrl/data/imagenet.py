"""ImageNet-1k in a folder per class; each usual mistake has its message."""

import os
import re
from pathlib import Path

from rrl.data.items import Item, Source
from rrl.data.paper_folders import check_folder, collection_off, fingerprint, list_all, opener, quoted, some
from rrl.data.pictures import EXTENSIONS
from rrl.errors import UserError

WNID = re.compile(r"n\d{8}")  # WordNet's number of a class of ImageNet
NESTED = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", "imagenet", "ILSVRC2012")
KAGGLE_LABELS = "LOC_val_solution.csv"
SORTING_SCRIPT = "https://raw.githubusercontent.com/soumith/imagenetloader.torch/master/valprep.sh"


def open_imagenet(folder: Path, classes: int, threads: int) -> Source:
    """folder : holds train/<class>/ and val/<class>/; val is the part `test`, which the paper tests on.
    classes : how many class folders train and val must have. Raises UserError for any other layout.

    Only names are read: no file is looked at before it is opened.
    """
    check_folder(
        folder,
        "ImageNet-1k (ILSVRC 2012), with a folder of images per class in train/ and in val/, such as "
        "train/n01440764/: register at https://image-net.org/download-images and unpack it there",
    )
    folders = {below: _class_folders(folder, below) for below in _unpacked(folder)}
    _check_classes(folder, folders, classes)
    parts: dict[str, list[Item]] = {}
    other: list[str] = []
    with collection_off():
        for part, below in {"train": "train", "test": "val"}.items():
            paths = [f"{folder}/{below}/{name}" for name in folders[below]]
            listings = dict(zip(folders[below], list_all(paths, threads), strict=True))
            _check_filled(folder / below, listings)
            parts[part] = [
                Item(f"{below}/{name}/{image}", name) for name, (images, _) in listings.items() for image in images
            ]
            other += [f"{below}/{name}/{file}" for name, (_, files) in listings.items() for file in files]
    return Source(str(folder), parts, dict.fromkeys(parts, opener(folder)), fingerprint(parts), other)


def _unpacked(folder: Path) -> tuple[str, str]:
    """train and val, if both are there. Raises UserError that says what is there instead."""
    for nested in NESTED:
        if (folder / nested / "train").is_dir() and not (folder / "train").is_dir():
            raise UserError(
                f"{folder}: found {nested}/train; needed are train/ and val/ directly in {folder}; "
                f"run: mv {quoted(folder / nested)}/* {quoted(folder)}/"
            )
    for below in ("train", "val"):
        place, archive = folder / below, folder / f"ILSVRC2012_img_{below}.tar"
        if place.is_dir() and any(place.iterdir()):
            continue
        if archive.exists():
            raise UserError(
                f"{archive}: not unpacked yet; needed are its images in {place}/; "
                f"run: mkdir -p {quoted(place)} && tar -xf {quoted(archive)} -C {quoted(place)}"
            )
        there = some(sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())) or "nothing"
        raise UserError(
            f"{place}: {'empty' if place.is_dir() else 'missing'}; found in {folder} is {there}; needed are train/ and "
            f"val/, as the paper tests on the published val images; unpack ILSVRC2012_img_{below}.tar there"
        )
    return "train", "val"


def _class_folders(folder: Path, below: str) -> list[str]:
    """Names of the class folders in train or val, sorted. Raises UserError if images or archives lie there too."""
    place = folder / below
    with os.scandir(place) as entries:
        names = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    folders = sorted(name for name, is_folder in names.items() if is_folder)
    images = sorted(name for name, is_folder in names.items() if not is_folder and name.lower().endswith(EXTENSIONS))
    archives = sorted(
        name for name in names if name.endswith(".tar") and WNID.fullmatch(name[:-4]) and name[:-4] not in names
    )
    if images:
        raise UserError(
            f"{place}: found {len(images):,} images in no class folder ({some(images)}); needed is a folder per class, "
            f"such as {below}/n01440764/; {_sorting(folder, below)}"
        )
    if archives:
        raise UserError(
            f"{place}: found {len(archives):,} archives that are not unpacked ({some(archives)}); needed is a folder "
            f"of images for each; run: cd {quoted(place)} && for file in n*.tar; do mkdir -p ${{file%.tar}} && "
            "tar -xf $file -C ${file%.tar} && rm $file; done"
        )
    return folders


def _sorting(folder: Path, below: str) -> str:
    """How images that lie flat come into class folders."""
    if below == "train":
        return "the name of a training image begins with its class: n01440764_10026.JPEG belongs in n01440764/"
    if (folder / KAGGLE_LABELS).exists():
        return (
            f"sort them by Kaggle's {KAGGLE_LABELS}; run: cd {quoted(folder)} && tail -n +2 {KAGGLE_LABELS} | "
            "while IFS=', ' read -r image class rest; do mkdir -p val/$class && mv val/$image.JPEG val/$class/; done"
        )
    return (
        f"sort them with the script that PyTorch's examples use, {SORTING_SCRIPT}; "
        f"run: cd {quoted(folder / 'val')} && wget -qO- {SORTING_SCRIPT} | bash"
    )


def _check_classes(folder: Path, folders: dict[str, list[str]], classes: int) -> None:
    for below, names in folders.items():
        odd = [name for name in names if not WNID.fullmatch(name)]
        if odd and all(name.isdecimal() for name in odd):
            raise UserError(
                f"{folder / below}: class folders are numbers ({some(odd)}), which sort as text (0, 1, 10, 100), so "
                "that labels would not be the published ones; they must be WordNet's, such as n01440764; rename them"
            )
        if odd:
            raise UserError(
                f"{folder / below}: {some(odd)} is no class of ImageNet; it must be named like n01440764; move it away"
            )
    train, val = (set(folders[below]) for below in ("train", "val"))
    if train != val:
        differing = {"train": sorted(train - val), "val": sorted(val - train)}
        only = "; ".join(f"only in {below}: {some(names)}" for below, names in differing.items() if names)
        raise UserError(
            f"{folder}: train has {len(train):,} class folders, val {len(val):,}, and not the same ({only}); needed "
            f"are the same {classes:,}; unpack what is missing, or move away what is too much"
        )
    if len(train) != classes:
        raise UserError(
            f"{folder}: found {len(train):,} class folders in train and in val, there must be {classes:,}; unpack what "
            "is missing, or say how many there are with `classes` in the config"
        )


def _check_filled(place: Path, listings: dict[str, tuple[list[str], list[str]]]) -> None:
    empty = [name for name, (images, _) in listings.items() if not images]
    if empty:
        files = listings[empty[0]][1]
        raise UserError(
            f"{place}: {len(empty):,} class folders have no images ({some(empty)}; in {empty[0]}: "
            f"{some(files) or 'nothing'}); needed are images named {', '.join(EXTENSIONS)}; unpack them again"
        )
