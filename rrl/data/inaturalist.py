"""iNaturalist 2018: two lists of images and the images; each usual mistake has its message."""

import json
from pathlib import Path
from typing import Any

from rrl.data.items import Item, Source
from rrl.data.paper_folders import check_folder, collection_off, fingerprint, list_all, opener, quoted, some
from rrl.errors import UserError

PAGE = "https://github.com/visipedia/inat_comp/tree/master/2018"
IMAGES = "train_val2018"


def open_inaturalist(folder: Path, classes: int, threads: int) -> Source:
    """folder : holds train2018.json, val2018.json (the part `test`, which the paper tests on) and train_val2018/.
    classes : how many the training images must be of. Raises UserError if the lists and the images disagree.

    An image's class is the name of the folder it lies in, its category as text.
    """
    check_folder(
        folder,
        f"iNaturalist 2018, with train2018.json, val2018.json and {IMAGES}/: unpack them there ({PAGE})",
    )
    with collection_off():
        lists = {"train": _listed(folder / "train2018.json"), "test": _listed(folder / "val2018.json")}
        _check_lists(folder, lists, classes)
        _check_present(folder, lists, threads)
        parts = {part: [Item(name, listed[name]) for name in sorted(listed)] for part, listed in lists.items()}
    return Source(str(folder), parts, dict.fromkeys(parts, opener(folder)), fingerprint(parts))


def _listed(path: Path) -> dict[str, str]:
    """The images of a list: path below the folder of the list -> class. Raises UserError if it contradicts itself."""
    content = _read_list(path)
    try:
        categories = {entry["image_id"]: str(entry["category_id"]) for entry in content["annotations"]}
        named = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a list of iNaturalist 2018 ({type(error).__name__}: {error}); needed are images with id and "
            f"file_name, and annotations with image_id and category_id; download it again ({PAGE})"
        ) from None
    odd = [name for name in named.values() if name.count("/") != 3 or not name.startswith(f"{IMAGES}/")]
    if odd or not named:
        raise UserError(
            f"{path}: {len(odd):,} of {len(named):,} images are in other folders ({some(odd) or 'there are none'}); "
            f"they must be in {IMAGES}/<super-category>/<category>/<file>; "
            f"take the list of 2018 ({PAGE})"
        )
    if bare := [name for number, name in named.items() if number not in categories]:
        raise UserError(
            f"{path}: {len(bare):,} of {len(named):,} images have no annotation ({some(bare)}); needed is one each; "
            f"download it again ({PAGE})"
        )
    other = [f"{name} is {categories[at]}" for at, name in named.items() if name.split("/")[2] != categories[at]]
    if other:
        raise UserError(
            f"{path}: {len(other):,} of {len(named):,} annotations are not the folder of their image ({some(other)}); "
            f"the folder has to be the category; download it again ({PAGE})"
        )
    return {name: categories[number] for number, name in named.items()}


def _read_list(path: Path) -> Any:
    archive = path.with_name(path.name + ".tar.gz")
    if not path.exists() and archive.exists():
        raise UserError(
            f"{archive}: not unpacked yet; needed is {path}; run: tar -xzf {quoted(archive)} -C {quoted(path.parent)}"
        )
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: missing; needed is the list of images, {archive.name} of {PAGE}, unpacked") from None
    except ValueError as error:
        raise UserError(
            f"{path}: no JSON, or cut off, at {path.stat().st_size:,} bytes ({error}); delete it and download it again "
            f"({PAGE})"
        ) from None


def _check_lists(folder: Path, lists: dict[str, dict[str, str]], classes: int) -> None:
    train, test = (set(lists[part].values()) for part in ("train", "test"))
    if len(train) != classes:
        raise UserError(
            f"{folder / 'train2018.json'}: found {len(train):,} classes, there must be {classes:,}; take the whole "
            f"list ({PAGE}), or say how many there are with `classes` in the config"
        )
    if unknown := sorted(test - train):
        raise UserError(
            f"{folder / 'val2018.json'}: found classes with no image in train2018.json ({some(unknown)}); they must be "
            f"those of train2018.json; take both lists from {PAGE}"
        )
    if both := sorted(lists["train"].keys() & lists["test"].keys()):
        raise UserError(
            f"{folder}: {len(both):,} images are in train2018.json and in val2018.json ({some(both)}); they must "
            f"be in one of them; take both lists from {PAGE}"
        )


def _check_present(folder: Path, lists: dict[str, dict[str, str]], threads: int) -> None:
    place, archive = folder / IMAGES, folder / f"{IMAGES}.tar.gz"
    if not place.is_dir():
        unpack = f"run: tar -xzf {quoted(archive)} -C {quoted(folder)}"
        raise UserError(
            f"{archive}: not unpacked yet; needed is {place}/; {unpack}"
            if archive.exists()
            else f"{place}: missing; needed are the images, {archive.name} of {PAGE}; download it there, then {unpack}"
        )
    images = [name for listed in lists.values() for name in listed]
    folders = sorted({name.rpartition("/")[0] for name in images})
    listings = list_all([f"{folder}/{below}" for below in folders], threads)
    there = {f"{below}/{image}" for below, (images, _) in zip(folders, listings, strict=True) for image in images}
    if missing := sorted(name for name in images if name not in there):
        raise UserError(
            f"{folder}: {len(missing):,} of {len(images):,} listed images are not there ({some(missing)}); needed are "
            f"all; unpack {archive.name} again"
        )
