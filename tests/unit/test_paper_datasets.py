"""The paper's data sets as they are published, and every usual mistake in how they lie on disk."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rrl.data import cifar as cifars
from rrl.data.image_splits import splits_of
from rrl.data.items import Item, Source
from rrl.data.paper_datasets import class_names, describe, open_paper_dataset
from rrl.data.paper_folders import opener
from rrl.data.pictures import Unreadable, upright
from rrl.data.sources import DATASETS, PAPER, names
from rrl.data.user_images import look
from rrl.errors import UserError
from tests.helpers.clones import CLONE
from tests.helpers.paper_data import Cifar, make_cifar, make_imagenet, make_inaturalist, picture, wnid

PAPERS = names(PAPER)

Serve = Callable[[Cifar], Path]


def imagenet(folder: Path, classes: int | None = 3) -> Source:
    return open_paper_dataset("imagenet", folder, threads=2, classes=classes)


def inaturalist(folder: Path, classes: int | None = 3) -> Source:
    return open_paper_dataset("inaturalist18", folder, threads=2, classes=classes)


def refusal(read: Callable[[], object]) -> str:
    """The message of a UserError, in one line."""
    with pytest.raises(UserError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run_command(message: str) -> None:
    """What a message says to run."""
    command = message.partition("run: ")[2]
    assert command, message
    subprocess.run(["bash", "-e", "-c", command], check=True)


def learnable(source: Source) -> float:
    """Accuracy on test of the nearest class mean of 8 x 8 pixels: the least that a network should learn."""

    def pixels(part: str) -> tuple[Any, Any]:
        items = source.parts[part]
        small = [source.open[part](item.reference).convert("RGB").resize((8, 8)) for item in items]
        labels = [class_names(source).index(item.label) for item in items]
        return np.array([np.asarray(image, float).ravel() for image in small]), np.array(labels)

    (train, labels), (test, expected) = pixels("train"), pixels("test")
    means = np.array([train[labels == label].mean(0) for label in range(len(class_names(source)))])
    found = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    return float((found == expected).mean())


def pack(archive: Path, folder: Path, names: list[str]) -> None:
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as file:
        for name in names:
            file.add(folder / name, name)


# ImageNet


def test_imagenet_has_the_published_val_images_as_test(tmp_path: Path) -> None:
    make_imagenet(tmp_path, classes=3, train_per_class=4, val_per_class=2)
    source = imagenet(tmp_path)
    assert list(source.parts) == ["train", "test"]
    assert [len(items) for items in source.parts.values()] == [12, 6]
    assert class_names(source) == [wnid(0), wnid(1), wnid(2)]
    assert source.parts["test"][0] == Item(f"val/{wnid(0)}/ILSVRC2012_val_00000001.JPEG", wnid(0))
    for items in source.parts.values():
        assert [str(item.reference) for item in items] == sorted(str(item.reference) for item in items)
        assert all(str(item.reference).split("/")[1] == item.label for item in items)
    opened = source.open["test"](source.parts["test"][0].reference)
    assert opened.size == (48, 48) and opened.mode == "RGB" and source.other == []


def test_the_default_is_the_published_number_of_classes(tmp_path: Path) -> None:
    make_imagenet(tmp_path)
    message = refusal(lambda: imagenet(tmp_path, classes=None))
    assert "found 3 class folders in train and in val, there must be 1,000" in message and "`classes`" in message
    assert {name: DATASETS[name].classes for name in PAPERS} == {
        "imagenet": 1000,
        "inaturalist18": 8142,
        "cifar10": 10,
        "cifar100": 100,
    }


def test_the_fingerprint_follows_names_and_labels(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    first = imagenet(tmp_path).fingerprint
    assert re.fullmatch("[0-9a-f]{16}", first) and imagenet(tmp_path).fingerprint == first
    moved = shutil.copytree(tmp_path, tmp_path / "elsewhere")
    assert imagenet(moved).fingerprint == first
    image = folder / "train" / wnid(0) / f"{wnid(0)}_1.JPEG"
    other_class = image.rename(folder / "train" / wnid(1) / image.name)
    assert imagenet(tmp_path).fingerprint != first
    other_class.rename(image)
    assert imagenet(tmp_path).fingerprint == first
    shutil.copy(image, image.with_name("n_added.JPEG"))
    assert imagenet(tmp_path).fingerprint != first


def test_other_files_are_listed_and_hidden_ones_left_out(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    (folder / "train" / wnid(1) / "Thumbs.db").touch()
    (folder / "train" / wnid(1) / "._image.JPEG").touch()
    (folder / "val" / ".DS_Store").touch()
    (folder / "val" / ".cache").mkdir()
    source = imagenet(tmp_path)
    assert source.other == [f"train/{wnid(1)}/Thumbs.db"]
    assert [len(items) for items in source.parts.values()] == [12, 6]


def test_an_archive_beside_its_unpacked_folder_does_no_harm(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    for archive in ("ILSVRC2012_img_train.tar", f"train/{wnid(0)}.tar"):
        (folder / archive).touch()
    assert len(imagenet(tmp_path).parts["train"]) == 12


def test_a_link_to_imagenet_is_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/imagenet").symlink_to(make_imagenet(tmp_path / "disk"))
    assert len(imagenet(tmp_path / "data").parts["train"]) == 12
    shutil.rmtree(tmp_path / "disk")
    message = refusal(lambda: imagenet(tmp_path / "data"))
    assert "data/imagenet: a link to" in message and "where no folder is" in message


def test_without_imagenet_the_message_says_where_to_get_it(tmp_path: Path) -> None:
    message = refusal(lambda: imagenet(tmp_path))
    assert f"{tmp_path}/imagenet: no such folder" in message
    assert "https://image-net.org" in message and "train/n01440764/" in message and "a link" in message


@pytest.mark.parametrize("nested", ["ILSVRC/Data/CLS-LOC", "imagenet"])
def test_the_nesting_of_kaggle_is_named_and_the_command_mends_it(nested: str, tmp_path: Path) -> None:
    made = make_imagenet(tmp_path / "made")
    (tmp_path / "imagenet" / nested).parent.mkdir(parents=True)
    made.rename(tmp_path / "imagenet" / nested)
    message = refusal(lambda: imagenet(tmp_path))
    assert f"found {nested}/train" in message and f"directly in {tmp_path}/imagenet" in message
    run_command(message)
    assert len(imagenet(tmp_path).parts["train"]) == 12


def test_archives_as_published_are_unpacked_by_the_commands_of_the_messages(tmp_path: Path) -> None:
    """From the two archives to class folders: one message after the other."""
    folder = make_imagenet(tmp_path / "with blank's")
    names = [wnid(label) for label in range(3)]
    for name in names:
        images = sorted(path.name for path in (folder / "train" / name).iterdir())
        pack(folder / f"{name}.tar", folder / "train" / name, images)
    pack(folder / "ILSVRC2012_img_train.tar", folder, [f"{name}.tar" for name in names])
    val = {path.name: path for path in sorted((folder / "val").glob("*/*"))}
    labels = ["ImageId,PredictionString", *(f"{path.stem},{path.parent.name} 1 2 3 4 " for path in val.values())]
    for path in val.values():
        path.rename(folder / path.name)
    pack(folder / "ILSVRC2012_img_val.tar", folder, sorted(val))
    shutil.rmtree(folder / "train")
    shutil.rmtree(folder / "val")
    (folder / "val").mkdir()

    steps = [
        "_img_train.tar: not unpacked",
        "_img_val.tar: not unpacked",
        "train: found 3 archives that are not unpacked",
    ]
    for step in steps:
        message = refusal(lambda: imagenet(tmp_path / "with blank's"))
        assert step in message
        run_command(message)
    message = refusal(lambda: imagenet(tmp_path / "with blank's"))
    assert "val: found 6 images in no class folder" in message and "valprep.sh" in message
    (folder / "LOC_val_solution.csv").write_text("\n".join(labels) + "\n")
    message = refusal(lambda: imagenet(tmp_path / "with blank's"))
    assert "Kaggle's LOC_val_solution.csv" in message
    run_command(message)
    source = imagenet(tmp_path / "with blank's")
    assert [len(items) for items in source.parts.values()] == [12, 6]
    assert {folder / str(item.reference) for item in source.parts["test"]} == set(val.values())


def test_val_images_that_lie_flat_are_sorted_by_a_script_where_kaggle_s_labels_are_not_there(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    for path in list((folder / "val").glob("*/*")):
        path.rename(folder / "val" / path.name)
    message = refusal(lambda: imagenet(tmp_path))
    assert "val: found 6 images in no class folder (ILSVRC2012_val_00000001.JPEG, " in message
    assert "and 3 more" in message and "valprep.sh" in message and f"cd {folder}/val" in message


def test_training_images_that_lie_flat_are_named(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    shutil.move(folder / "train" / wnid(0) / f"{wnid(0)}_1.JPEG", folder / "train")
    message = refusal(lambda: imagenet(tmp_path))
    assert f"train: found 1 images in no class folder ({wnid(0)}_1.JPEG)" in message
    assert "n01440764_10026.JPEG belongs in n01440764/" in message


def test_train_without_val_and_val_without_train(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    (folder / "val").rename(folder / "validation")
    message = refusal(lambda: imagenet(tmp_path))
    assert f"{folder}/val: missing; found in {folder} is train/, validation/" in message
    assert "the paper tests on the published val images" in message
    (folder / "validation").rename(folder / "val")
    shutil.rmtree(folder / "train")
    (folder / "train").mkdir()
    message = refusal(lambda: imagenet(tmp_path))
    assert f"{folder}/train: empty; found in {folder} is train/, val/" in message


def test_numbers_as_class_folders_are_refused(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    for part in ("train", "val"):
        for number, name in enumerate((9, 10, 100)):
            (folder / part / wnid(number)).rename(folder / part / str(name))
    message = refusal(lambda: imagenet(tmp_path))
    assert "train: class folders are numbers (10, 100, 9), which sort as text" in message


def test_folders_that_are_no_class_are_named(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    (folder / "val/lost+found").mkdir()
    assert "val: lost+found is no class of ImageNet" in refusal(lambda: imagenet(tmp_path, classes=4))


def test_train_and_val_with_other_classes_name_them(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path, classes=7)
    shutil.rmtree(folder / "train" / wnid(6))
    for label in range(4):
        shutil.rmtree(folder / "val" / wnid(label))
    message = refusal(lambda: imagenet(tmp_path, classes=7))
    assert "train has 6 class folders, val 3, and not the same" in message
    assert f"only in train: {wnid(0)}, {wnid(1)}, {wnid(2)} and 1 more; only in val: {wnid(6)}" in message
    assert "the same 7" in message


@pytest.mark.parametrize("classes", [2, 4])
def test_another_number_of_classes_is_refused(classes: int, tmp_path: Path) -> None:
    make_imagenet(tmp_path)
    assert f"found 3 class folders in train and in val, there must be {classes}" in refusal(
        lambda: imagenet(tmp_path, classes)
    )


def test_empty_class_folders_are_named_with_what_is_in_them(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    shutil.rmtree(folder / "train" / wnid(1))
    (folder / "train" / wnid(1) / "images").mkdir(parents=True)
    message = refusal(lambda: imagenet(tmp_path))
    assert f"train: 1 class folders have no images ({wnid(1)}; in {wnid(1)}: images)" in message


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A link to itself cannot be followed, by root neither."""
    folder = make_imagenet(tmp_path) / "train" / wnid(1)
    shutil.rmtree(folder)
    folder.symlink_to(folder)
    assert f"{folder}: cannot be read (Too many levels of symbolic links)" in refusal(lambda: imagenet(tmp_path))


def test_an_error_of_the_disk_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error", "some/folder")

    monkeypatch.setattr("rrl.data.imagenet.open_imagenet", failing)
    assert refusal(lambda: imagenet(tmp_path)) == "some/folder: cannot be read (Input/output error); make it readable"


def test_few_images_are_no_error_and_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_imagenet(tmp_path)
    (folder / "train" / wnid(1) / f"{wnid(1)}_5.JPEG").unlink()
    assert describe("imagenet", imagenet(tmp_path)) == [
        "imagenet train: 11 images of 3 classes, 3 to 4 each; published are 1,281,167 images of 1,000 classes",
        "imagenet test: 6 images of 3 classes, 2 to 2 each; published are 50,000 images of 1,000 classes",
    ]
    published = {"train": (12, 4), "test": (6, 2)}
    monkeypatch.setitem(DATASETS, "imagenet", replace(DATASETS["imagenet"], classes=3, published=published))
    assert describe("imagenet", imagenet(tmp_path, None)) == [
        "imagenet train: 11 images of 3 classes, 3 to 4 each; published are 12 images; "
        f"1 classes have fewer than the published 4 ({wnid(1)} has 3)",
        "imagenet test: 6 images of 3 classes, 2 to 2 each",
    ]


# iNaturalist 2018


def test_inaturalist_sorts_categories_as_text_in_both_parts(tmp_path: Path) -> None:
    make_inaturalist(tmp_path, categories=(9, 10, 100), train_per_class=4, val_per_class=2)
    source = inaturalist(tmp_path)
    assert class_names(source) == ["10", "100", "9"]
    assert {part: len(items) for part, items in source.parts.items()} == {"train": 12, "test": 6}
    for items in source.parts.values():
        assert {item.label for item in items} == {"9", "10", "100"}
        assert all(str(item.reference).split("/")[2] == item.label for item in items)
    opened = source.open["train"](source.parts["train"][0].reference)
    assert opened.size == (48, 48)


def test_a_class_that_val_lacks_moves_no_label(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    edit(folder / "val2018.json", lambda content: drop(content, lambda path: "/10/" in path))
    source = inaturalist(tmp_path)
    assert class_names(source) == ["10", "100", "9"] and {item.label for item in source.parts["test"]} == {"100", "9"}


def test_the_order_of_a_list_changes_nothing(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    before = inaturalist(tmp_path)
    edit(folder / "train2018.json", lambda content: content["images"].reverse())
    after = inaturalist(tmp_path)
    assert after.parts == before.parts and after.fingerprint == before.fingerprint


def test_images_that_no_list_has_are_not_used(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    before = inaturalist(tmp_path).fingerprint
    (folder / "train_val2018/Aves/10/other.jpg").touch()
    assert inaturalist(tmp_path).fingerprint == before
    edit(folder / "val2018.json", lambda content: drop(content, lambda path: path == content["images"][0]["file_name"]))
    assert inaturalist(tmp_path).fingerprint != before


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def drop(content: dict[str, Any], chosen: Callable[[str], bool]) -> None:
    content["images"] = [image for image in content["images"] if not chosen(image["file_name"])]


def test_without_inaturalist_the_message_says_where_to_get_it(tmp_path: Path) -> None:
    message = refusal(lambda: inaturalist(tmp_path))
    assert "inaturalist18: no such folder" in message and "https://github.com/visipedia/inat_comp" in message


@pytest.mark.parametrize("name", ["train2018.json", "val2018.json"])
def test_a_missing_list_is_named_and_an_archive_of_it_unpacked(name: str, tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    (folder / name).rename(tmp_path / name)
    assert f"{folder}/{name}: missing; needed is the list of images, {name}.tar.gz of https://" in refusal(
        lambda: inaturalist(tmp_path)
    )
    pack(folder / f"{name}.tar.gz", tmp_path, [name])
    message = refusal(lambda: inaturalist(tmp_path))
    assert f"{name}.tar.gz: not unpacked yet" in message
    run_command(message)
    assert len(inaturalist(tmp_path).parts["train"]) == 12


def test_missing_images_are_named_and_an_archive_of_them_unpacked(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    (folder / "train_val2018").rename(tmp_path / "train_val2018")
    message = refusal(lambda: inaturalist(tmp_path))
    assert f"{folder}/train_val2018: missing; needed are the images, train_val2018.tar.gz of https://" in message
    pack(folder / "train_val2018.tar.gz", tmp_path, ["train_val2018"])
    message = refusal(lambda: inaturalist(tmp_path))
    assert "train_val2018.tar.gz: not unpacked yet" in message
    run_command(message)
    assert len(inaturalist(tmp_path).parts["train"]) == 12


def test_annotations_that_are_not_the_folder_are_counted(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    edit(folder / "val2018.json", lambda content: content["annotations"][2].update(category_id=100))
    message = refusal(lambda: inaturalist(tmp_path))
    assert re.search(
        r"val2018.json: 1 of 6 annotations are not the folder of their image \(train_val2018/Aves/10/\w+.jpg is 100\)",
        message,
    )


def test_images_without_annotation_are_counted(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    edit(folder / "train2018.json", lambda content: content["annotations"].pop())
    assert "train2018.json: 1 of 12 images have no annotation (train_val2018/Aves/100/" in refusal(
        lambda: inaturalist(tmp_path)
    )


@pytest.mark.parametrize("classes", [2, 4, 8142])
def test_another_number_of_categories_is_refused(classes: int, tmp_path: Path) -> None:
    make_inaturalist(tmp_path)
    message = refusal(lambda: inaturalist(tmp_path, None if classes == 8142 else classes))
    assert f"train2018.json: found 3 classes, there must be {classes:,}" in message and "`classes`" in message


def test_classes_of_val_that_train_has_not_are_named(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    edit(folder / "train2018.json", lambda content: drop(content, lambda path: "/100/" in path))
    message = refusal(lambda: inaturalist(tmp_path, classes=2))
    assert "val2018.json: found classes with no image in train2018.json (100)" in message


def test_images_of_both_lists_are_counted(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    shutil.copy(folder / "train2018.json", folder / "val2018.json")
    assert "12 images are in train2018.json and in val2018.json" in refusal(lambda: inaturalist(tmp_path))


def test_a_list_that_is_cut_off_is_named_with_its_size(tmp_path: Path) -> None:
    path = make_inaturalist(tmp_path) / "train2018.json"
    path.write_bytes(path.read_bytes()[:-100])
    message = refusal(lambda: inaturalist(tmp_path))
    assert f"train2018.json: no JSON, or cut off, at {path.stat().st_size:,} bytes" in message
    assert "download it again" in message
    path.write_bytes(b"")
    assert "at 0 bytes" in refusal(lambda: inaturalist(tmp_path))


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"images": [{}], "annotations": []}', '{"images": 1, "annotations": []}']
)
def test_json_that_is_no_list_of_images_is_refused(content: str, tmp_path: Path) -> None:
    (make_inaturalist(tmp_path) / "train2018.json").write_text(content)
    assert "train2018.json: not a list of iNaturalist 2018" in refusal(lambda: inaturalist(tmp_path))


def test_the_list_of_another_year_is_refused(tmp_path: Path) -> None:
    path = make_inaturalist(tmp_path) / "train2018.json"
    path.write_text(path.read_text().replace("train_val2018/", "train_val2017/"))
    assert "train2018.json: 12 of 12 images are in other folders" in refusal(lambda: inaturalist(tmp_path))
    path.write_text('{"images": [], "annotations": []}')
    assert "0 of 0 images are in other folders (there are none)" in refusal(lambda: inaturalist(tmp_path))


def test_listed_images_that_are_not_there_are_counted(tmp_path: Path) -> None:
    folder = make_inaturalist(tmp_path)
    shutil.rmtree(folder / "train_val2018/Plantae/9")
    next((folder / "train_val2018/Aves/10").iterdir()).unlink()
    message = refusal(lambda: inaturalist(tmp_path))
    assert re.search(r"7 of 18 listed images are not there \(train_val2018/Aves/10/\w+.jpg, .* and 4 more\)", message)


# CIFAR


def cifar(folder: Path, dataset: str = "cifar10", classes: int | None = None) -> Source:
    return open_paper_dataset(dataset, folder, threads=1, classes=classes)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_cifar_is_read_in_its_own_format(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cifar(tmp_path, dataset, DATASETS[dataset].classes, train_per_class=5, test_per_class=2).publish(monkeypatch)
    source = cifar(tmp_path, dataset)
    assert {part: len(items) for part, items in source.parts.items()} == {
        "train": 5 * DATASETS[dataset].classes,
        "test": 2 * DATASETS[dataset].classes,
    }
    assert class_names(source) == [f"class {label:02d}" for label in range(DATASETS[dataset].classes)]
    for items in source.parts.values():
        assert [item.reference for item in items] == list(range(len(items)))
        assert {item.label for item in items} == set(class_names(source))
    item = source.parts["test"][DATASETS[dataset].classes + 3]
    assert item.label == "class 03"
    expected = picture(3, DATASETS[dataset].classes, 32, f"{dataset}/test/{DATASETS[dataset].classes + 3}")
    for reference in (item.reference, str(item.reference)):  # as an index holds it
        assert np.array_equal(np.asarray(source.open["test"](reference)), expected)


def test_files_that_are_whole_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cifar(tmp_path).publish(monkeypatch)
    monkeypatch.setattr(cifars, "_download", None)
    assert len(cifar(tmp_path).parts["train"]) == 100


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_files_that_are_missing_or_damaged_are_downloaded(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    made = make_cifar(tmp_path / "server", dataset)
    made.publish(monkeypatch)
    serve(made)
    first = cifar(tmp_path, dataset, classes=10)
    files = tmp_path / "torchvision" / made.folder.name
    for name in made.sums:
        (files / name).write_bytes(b"damaged")
        assert cifar(tmp_path, dataset, classes=10).fingerprint == first.fingerprint
        (files / name).unlink()
        (tmp_path / "torchvision/archive.tar.gz").write_bytes(b"cut off")
        assert cifar(tmp_path, dataset, classes=10).parts == first.parts


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Has torchvision download a miniature from here; gives its archive."""
    from torchvision import datasets
    from torchvision.datasets.utils import calculate_md5

    servers = []

    def start(made: Cifar) -> Path:
        archive = made.folder.parent / "archive.tar.gz"
        pack(archive, made.folder.parent, [made.folder.name])
        handler = partial(Quiet, directory=archive.parent)
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        kind = getattr(datasets, made.kind)
        monkeypatch.setattr(kind, "url", f"http://127.0.0.1:{servers[-1].server_port}/{archive.name}")
        monkeypatch.setattr(kind, "filename", archive.name)
        monkeypatch.setattr(kind, "tgz_md5", calculate_md5(archive))
        return archive

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_without_a_network_the_message_names_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    made = make_cifar(tmp_path)
    made.publish(monkeypatch)
    serve(made).unlink()
    (made.folder / "data_batch_2").write_bytes(b"damaged")
    (made.folder / "batches.meta").unlink()
    message = refusal(lambda: cifar(tmp_path))
    assert (
        f"{made.folder}: data_batch_2 damaged, batches.meta missing, and not available from http://127.0.0.1:"
        in message
    )
    assert re.search(rf"put archive.tar.gz \(md5 [0-9a-f]{{32}}\) into {tmp_path}/torchvision/ and run again", message)


def test_an_archive_that_was_put_there_is_only_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    from torchvision import datasets

    made = make_cifar(tmp_path)
    made.publish(monkeypatch)
    serve(made)
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/nothing")
    shutil.rmtree(made.folder)
    assert len(cifar(tmp_path).parts["train"]) == 100


def test_an_archive_with_other_files_is_refused(tmp_path: Path, serve: Serve) -> None:
    serve(make_cifar(tmp_path / "server"))  # its files have not the published sums
    message = refusal(lambda: cifar(tmp_path))
    assert "data_batch_1 damaged, data_batch_2 damaged, data_batch_3 damaged and 4 more; put archive.tar.gz" in message


def test_files_that_are_not_the_published_ones_are_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    serve(make_cifar(tmp_path)).unlink()
    monkeypatch.setattr("torchvision.datasets.cifar.pickle.load", None)
    assert "damaged" in refusal(lambda: cifar(tmp_path))


def test_another_number_of_classes_of_cifar_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cifar(tmp_path, classes=4).publish(monkeypatch)
    assert "found 4 classes, the config says 10; correct `classes`" in refusal(lambda: cifar(tmp_path))
    assert len(class_names(cifar(tmp_path, classes=4))) == 4


def test_processes_of_a_workflow_can_read_a_miniature(tmp_path: Path) -> None:
    environments = [
        make_cifar(tmp_path, dataset, classes=4).environment(tmp_path / "site") for dataset in ("cifar10", "cifar100")
    ]
    code = "import sys\n"
    code += "assert 'torch' not in sys.modules\n"
    code += "from pathlib import Path\n"
    code += "from rrl.data.paper_datasets import open_paper_dataset\n"
    code += "for name in ('cifar10', 'cifar100'):\n"
    code += f"    print(len(open_paper_dataset(name, Path({str(tmp_path)!r}), 1, 4).parts['test']))\n"
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ) | environments[0] | environments[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout.split() == ["16", "16"]


# All of them


def make(dataset: str, folder: Path, monkeypatch: pytest.MonkeyPatch, train: int, test: int) -> Source:
    """A miniature of six classes."""
    if dataset == "imagenet":
        make_imagenet(folder, 6, train, test)
    elif dataset == "inaturalist18":
        make_inaturalist(folder, (1, 2, 9, 10, 20, 100), train, test)
    else:
        make_cifar(folder, dataset, 6, train, test).publish(monkeypatch)
    return open_paper_dataset(dataset, folder, 2, 6)


@pytest.mark.parametrize("dataset", PAPERS)
def test_a_miniature_can_be_learnt_from(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert learnable(make(dataset, tmp_path, monkeypatch, train=10, test=5)) > 0.8


@pytest.mark.parametrize("dataset", PAPERS)
def test_miniatures_are_the_same_each_time(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (make(dataset, tmp_path / name, monkeypatch, train=5, test=1) for name in ("a", "b"))
    assert first.parts == second.parts and first.fingerprint == second.fingerprint
    images = [
        [np.asarray(source.open["train"](item.reference)) for item in source.parts["train"]]
        for source in (first, second)
    ]
    assert all(np.array_equal(one, other) for one, other in zip(*images, strict=True))


@pytest.mark.parametrize("dataset", PAPERS)
def test_validation_images_can_be_drawn_from_train(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(dataset, tmp_path, monkeypatch, train=10, test=2)
    splits = splits_of(source.parts, val_fraction=0.2, test_fraction=0.5, split_seed=0)
    assert {split: len(images) for split, images in splits.items()} == {"train": 48, "val": 12, "test": 12}
    assert [item for _, item in splits["test"]] == source.parts["test"]


@pytest.mark.parametrize("dataset", ["imagenet", "inaturalist18"])
def test_an_image_that_cannot_be_read_is_found_with_its_name(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(dataset, tmp_path, monkeypatch, train=2, test=2)
    paths = {part: tmp_path / dataset / str(items[0].reference) for part, items in source.parts.items()}
    paths["train"].write_bytes(paths["train"].read_bytes()[:300])
    paths["test"].write_bytes(b"")
    first = {part: str(items[0].reference) for part, items in source.parts.items()}
    assert look(source, threads=2)[1] == {
        "train": {first["train"]: "truncated"},
        "test": {first["test"]: "zero bytes"},
    }
    with pytest.raises(Unreadable, match="truncated"):
        source.open["train"](first["train"])


@pytest.mark.parametrize("threads", [1, 4])
def test_the_number_of_threads_changes_nothing(threads: int, tmp_path: Path) -> None:
    make_imagenet(tmp_path)
    one = open_paper_dataset("imagenet", tmp_path, threads, 3)
    assert (one.parts, one.fingerprint) == (imagenet(tmp_path).parts, imagenet(tmp_path).fingerprint)


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    message = refusal(lambda: open_paper_dataset("mnist", tmp_path, 1))
    assert message == "data set 'mnist': must be one of imagenet, inaturalist18, cifar10, cifar100"


def test_grey_and_cmyk_files_are_given_as_rgb(tmp_path: Path) -> None:
    folder = make_imagenet(tmp_path)
    modes = {"L": f"{wnid(0)}_1.JPEG", "CMYK": f"{wnid(0)}_2.JPEG"}
    for mode, name in modes.items():
        Image.new(mode, (20, 30)).save(folder / "train" / wnid(0) / name)
    source = imagenet(tmp_path)
    assert [source.open["train"](f"train/{wnid(0)}/{name}").mode for name in modes.values()] == ["RGB", "RGB"]


def test_the_benchmark_prints_a_line_per_tree_and_removes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.indexing", "--folder", str(tmp_path), "--files", "20", "40"]
    command += ["--classes", "5", "--repeats", "1"]
    root = CLONE
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.splitlines()
    assert len(output) == 3 and output[0].split()[0] == "files"
    assert [line.split()[0] for line in output[1:]] == ["25", "45"] and not list(tmp_path.iterdir())


def test_images_are_opened_as_the_published_code_opens_them(tmp_path: Path) -> None:
    """Neither turned as EXIF says nor laid on white."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    for name in ("turned.png", "alpha.png"):
        assert np.array_equal(np.asarray(upright(opener(tmp_path)(name), 3)), pixels[..., :3])


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_batches_are_read_as_torchvision_reads_them_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    make_cifar(tmp_path, dataset).publish(monkeypatch)
    source = open_paper_dataset(dataset, tmp_path, 1, 10)
    batches = source.batches
    opens = cifars.openers(dataset, tmp_path, batches)
    for part, items in source.parts.items():
        for item in items:
            theirs, ours = source.open[part](item.reference), opens[part](str(item.reference))
            assert np.array_equal(np.asarray(theirs), np.asarray(ours))
    path = tmp_path / "torchvision" / batches["test"][0][0]
    path.write_bytes(path.read_bytes() + b"x")
    assert f"{path}: not the file that the target was made of" in refusal(
        lambda: cifars.openers(dataset, tmp_path, batches)
    )
    path.unlink()
    assert f"{path}: cannot be read (No such file" in refusal(lambda: cifars.openers(dataset, tmp_path, batches))
