"""Where a user's images may lie: every layout on real files, and the message for each that cannot be used."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image

from rrl.data.fetch import fetch
from rrl.data.image_sources import open_source, opened
from rrl.data.items import Source
from rrl.data.pictures import Unreadable, upright
from rrl.data.user_images import look
from rrl.errors import UserError
from tests.helpers.clones import CLONE


def picture(path: Path, value: int = 0, size: tuple[int, int] = (6, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path, format="PNG")
    return path


def labels_of(source: Source, part: str = "all") -> dict[str, str]:
    return {str(item.reference): item.label for item in source.parts[part]}


def shade(source: Source, part: str, position: int) -> int:
    """The first pixel of an item's picture."""
    value = upright(source.open[part](source.parts[part][position].reference), 1).getpixel((0, 0))
    assert isinstance(value, int)
    return value


def refused(source: str, data_root: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_source(source, data_root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    for number, name in enumerate(("cat/1.png", "cat/2.JPG", "dog/1.png", "dog/old/deep/3.tiff")):
        picture(tmp_path / "pets" / name, 10 * number)
    source = open_source("pets", tmp_path)
    assert source.name == str(tmp_path / "pets") and list(source.parts) == ["all"] and source.other == []
    assert labels_of(source) == {
        "cat/1.png": "cat",
        "cat/2.JPG": "cat",
        "dog/1.png": "dog",
        "dog/old/deep/3.tiff": "dog",
    }
    assert [shade(source, "all", position) for position in range(4)] == [0, 10, 20, 30]


def test_hidden_files_are_left_out_and_other_files_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "pets/cat/1.png")
    picture(tmp_path / "pets/cat/.2.png")
    picture(tmp_path / "pets/.thumbnails/3.png")
    for name in ("pets/readme.txt", "pets/cat/Thumbs.db", "pets/cat/video.mp4", "pets/.DS_Store"):
        (tmp_path / name).touch()
    source = open_source("pets", tmp_path)
    assert labels_of(source) == {"cat/1.png": "cat"}
    assert source.other == ["cat/Thumbs.db", "cat/video.mp4", "readme.txt"]


def test_an_image_in_no_class_folder_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "pets/cat/1.png")
    picture(tmp_path / "pets/2.png")
    assert (
        refused("pets", tmp_path) == f"{tmp_path}/pets/2.png: in no class folder; move it into the folder of its class"
    )
    shutil.rmtree(tmp_path / "pets")
    picture(tmp_path / "pets/train/cat/1.png")
    picture(tmp_path / "pets/train/2.png")
    assert "pets/train/2.png: in no class folder" in refused("pets", tmp_path)
    shutil.rmtree(tmp_path / "pets")
    picture(tmp_path / "pets/1.png")
    assert "pets/1.png: in no class folder" in refused("pets", tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty/cat").mkdir(parents=True)
    assert refused("empty", tmp_path).startswith(
        f"{tmp_path}/empty: no images in it; it must be a folder with a folder of"
    )
    (tmp_path / "empty/cat/1.txt").touch()
    assert "the images named .jpg, .jpeg, .png" in refused("empty", tmp_path)


def test_links_are_followed(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere/1.png", 40)
    picture(tmp_path / "pets/cat/0.png", 30)
    (tmp_path / "pets/cat/1.png").symlink_to(tmp_path / "elsewhere/1.png")
    (tmp_path / "pets/dog").symlink_to(tmp_path / "elsewhere")
    source = open_source("pets", tmp_path)
    assert labels_of(source) == {"cat/0.png": "cat", "cat/1.png": "cat", "dog/1.png": "dog"}
    assert [shade(source, "all", position) for position in range(3)] == [30, 40, 40]
    (tmp_path / "link").symlink_to(tmp_path / "pets")
    assert open_source("link", tmp_path).fingerprint == source.fingerprint


def test_a_link_to_nothing_is_an_image_that_is_missing(tmp_path: Path) -> None:
    """As git-annex and DVC leave them where the files were not fetched."""
    picture(tmp_path / "pets/cat/0.png")
    (tmp_path / "pets/cat/1.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source("pets", tmp_path)
    assert look(source, 1) == ({"grey": 1}, {"all": {"cat/1.png": "missing"}})
    picture(tmp_path / "nowhere.png")
    assert open_source("pets", tmp_path).fingerprint != source.fingerprint


def test_a_folder_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "pets/cat/0.png")
    (tmp_path / "pets/cat/again").symlink_to(tmp_path / "pets/cat")
    assert "cannot be read (Too many levels of symbolic links)" in refused("pets", tmp_path)


ODD = [
    "a b.png",
    "a,b.png",
    "a\nb.png",
    "a\rb.png",
    '"a".png',
    "é→猫.png",
    "a;b=c&d.png",
    "a\\b.png",
    os.fsdecode(b"\xff.png"),
]


def test_odd_names_are_names(tmp_path: Path) -> None:
    for number, name in enumerate(ODD):
        picture(tmp_path / "pets" / f"class {name}" / name, number)
    source = open_source("pets", tmp_path)
    assert labels_of(source) == {f"class {name}/{name}": f"class {name}" for name in ODD}
    found = {item.label: shade(source, "all", position) for position, item in enumerate(source.parts["all"])}
    assert found == {f"class {name}": number for number, name in enumerate(ODD)}


@pytest.mark.parametrize(
    "folders",
    [
        {"train": "train", "val": "val", "test": "test"},
        {"train": "train", "valid": "val"},
        {"train": "train", "test": "test"},
        {"training": "train", "validation": "val", "testing": "test"},
        {"Train": "train", "Test": "test"},
        {"train": "train"},
    ],
    ids=lambda folders: "+".join(folders),
)
def test_a_folder_with_parts(tmp_path: Path, folders: dict[str, str]) -> None:
    for folder in folders:
        picture(tmp_path / "pets" / folder / "cat/1.png")
        picture(tmp_path / "pets" / folder / "dog/old/2.png")
    (tmp_path / "pets/list.txt").touch()
    source = open_source("pets", tmp_path)
    assert set(source.parts) == set(folders.values()) and source.other == ["list.txt"]
    for folder, part in folders.items():
        assert labels_of(source, part) == {f"{folder}/cat/1.png": "cat", f"{folder}/dog/old/2.png": "dog"}


def test_a_part_may_lie_in_two_folders(tmp_path: Path) -> None:
    for folder in ("train", "training", "test"):
        picture(tmp_path / "pets" / folder / "cat/1.png")
    assert len(open_source("pets", tmp_path).parts["train"]) == 2


def test_classes_may_be_called_like_a_part_if_others_are_not(tmp_path: Path) -> None:
    for folder in ("train", "bus", "car"):
        picture(tmp_path / "vehicles" / folder / "old/1.png")
    assert labels_of(open_source("vehicles", tmp_path)) == {
        f"{name}/old/1.png": name for name in ("bus", "car", "train")
    }


def test_what_is_missing_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    assert refused("nothing", tmp_path).startswith(f"{tmp_path}/nothing: missing; it must be a folder with a folder")
    (tmp_path / "a.zip").touch()
    assert refused("a.zip", tmp_path).startswith(f"{tmp_path}/a.zip: of no known kind; it must be a folder")


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list.csv").write_text(text, encoding=encoding, newline="")
    return folder


def test_a_csv_with_relative_and_absolute_paths(tmp_path: Path) -> None:
    picture(tmp_path / "lists/images/1.png", 10)
    picture(tmp_path / "elsewhere/2", 20)  # any name will do here
    table(tmp_path / "lists", f"label,path,note\ncat,images/1.png,x\ndog,{tmp_path}/elsewhere/2,\n")
    source = open_source("lists/list.csv", tmp_path)
    assert labels_of(source) == {"images/1.png": "cat", f"{tmp_path}/elsewhere/2": "dog"}
    assert [shade(source, "all", 0), shade(source, "all", 1)] == [10, 20]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_as_spreadsheets_write_it(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["path,label", '"a,1.png",é→猫', '"a\n2.png",01', "", "a 3.png, dog"]
    table(tmp_path, end.join([*lines, ""]), encoding)
    assert labels_of(open_source("list.csv", tmp_path)) == {"a,1.png": "é→猫", "a\n2.png": "01", "a 3.png": " dog"}


def test_a_csv_with_splits(tmp_path: Path) -> None:
    table(tmp_path, "path,label,split\n1,a,train\n2,a,valid\n3,b,test\n4,b,training\n5,b,val\n")
    source = open_source("list.csv", tmp_path)
    assert labels_of(source, "train") == {"1": "a", "4": "b"}
    assert labels_of(source, "val") == {"2": "a", "5": "b"} and labels_of(source, "test") == {"3": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n1,a\n2,b\n1,a\n", "line 4: 1 is listed twice; list it once"),
        ("path,label\nx/1,a\n./x/../x/1,b\n", "line 3: ./x/../x/1 is listed twice"),
        ("path,label,split\n1,a,train\n1,a,test\n", "line 3: 1 is listed twice"),
        ("path,label\n1,a\n2,\n", "line 3: found path '2', label ''; both are needed"),
        ("path,label\n1,a\n2\n", "line 3: found path '2', label None; both are needed"),
        ("path,label\n,a\n", "line 2: found path '', label 'a'; both are needed"),
        ('path,label\n"a\nb",a\n\n\n2,\n', "line 6: found path '2', label ''"),
        ("path,label,split\n1,a,train\n2,a,dev\n", "line 3: found split 'dev'; it must be train, val or test"),
        ("path,label,split\n1,a,train\n2,a,all\n", "line 3: found split 'all'; it must be train, val or test"),
        ("path,label,split\n1,a,train\n2,a\n", "line 3: found split None"),
        ("file,class\n1,a\n", "found columns file, class; needed are path and label, optional is split"),
        ("path;label\n1;a\n", "found columns path;label; needed are path and label"),
        ("", "found columns ; needed are path and label"),
        ("path,label\n", "no images in it; needed is a line with path and label for each"),
    ],
)
def test_a_mistake_in_a_csv_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    table(tmp_path, text)
    found = refused("list.csv", tmp_path)
    assert found.startswith(f"{tmp_path}/list.csv") and message in found


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_csv_that_is_not_utf_8_is_refused(tmp_path: Path, encoding: str) -> None:
    table(tmp_path, "path,label\n1,é\n", encoding)
    assert refused("list.csv", tmp_path).startswith(f"{tmp_path}/list.csv: not a CSV file in UTF-8 (")


def test_a_file_that_a_csv_names_and_that_is_missing_is_found_by_looking(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "folder.png").mkdir()
    long = "x" * 300 + ".png"
    table(tmp_path, f"path,label\n1.png,a\n2.png,b\nfolder.png,b\n{long},b\n")
    counts, unreadable = look(open_source("list.csv", tmp_path), 2)
    assert counts == {"grey": 1}
    reasons = {"2.png": "missing", "folder.png": "damaged (Is a directory)", long: "damaged (File name too long)"}
    assert unreadable == {"all": reasons}


IMAGES = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)
LABELS = np.array([0, 1, 1, 0])


def arrays(path: Path, **content: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                file[name] = value
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.hdf5"])
def test_arrays_of_grey_and_rgb(tmp_path: Path, name: str) -> None:
    arrays(tmp_path / name, images=IMAGES, labels=LABELS)
    source = open_source(name, tmp_path)
    assert labels_of(source) == {"0": "0", "1": "1", "2": "1", "3": "0"}
    assert [shade(source, "all", position) for position in range(4)] == [0, 30, 60, 90]
    arrays(tmp_path / name, images=IMAGES[..., None], labels=LABELS[:, None])
    found = open_source(name, tmp_path).open["all"](2)
    assert found.mode == "L" and np.array_equal(np.asarray(found), IMAGES[2])
    arrays(tmp_path / name, images=np.stack([IMAGES, IMAGES + 1, IMAGES + 2], axis=3), labels=LABELS)
    found = open_source(name, tmp_path).open["all"]("3")
    assert found.mode == "RGB" and found.size == (5, 6) and found.getpixel((0, 0)) == (90, 91, 92)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_the_layout_of_medmnist(tmp_path: Path, name: str) -> None:
    parts = {"train": 4, "val": 1, "test": 2}
    content = {f"{part}_images": IMAGES[:count] for part, count in parts.items()}
    content |= {f"{part}_labels": LABELS[:count, None].astype(np.uint8) for part, count in parts.items()}
    arrays(tmp_path / name, **content)
    source = open_source(name, tmp_path)
    assert {part: [item.label for item in items] for part, items in source.parts.items()} == {
        "train": ["0", "1", "1", "0"],
        "val": ["0"],
        "test": ["0", "1"],
    }
    assert shade(source, "test", 1) == 30


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_labels_may_be_texts(tmp_path: Path, name: str) -> None:
    texts = np.array(["cat", "é", "dog", "cat"])
    stored = texts if name == "a.npz" else np.array([text.encode() for text in texts])
    arrays(tmp_path / name, images=IMAGES, labels=stored)
    assert [item.label for item in open_source(name, tmp_path).parts["all"]] == texts.tolist()
    arrays(tmp_path / name, images=IMAGES[:1], labels=np.array([b"\xff"]))
    assert open_source(name, tmp_path).parts["all"][0].label == "\\xff"


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_other_arrays_in_the_file_do_not_matter(tmp_path: Path, name: str) -> None:
    arrays(tmp_path / name, images=IMAGES, labels=LABELS, version=3, note="text", weights=np.zeros((2, 2)))
    assert len(open_source(name, tmp_path).parts["all"]) == 4
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["images"], file["labels"] = IMAGES, LABELS
        file.create_group("more")["images"] = IMAGES
    assert len(open_source("b.h5", tmp_path).parts["all"]) == 4


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"images": IMAGES / 255, "labels": LABELS},
            r"images is float64 (4, 6, 5); it must be uint8 (N, height, width) or",
        ),
        ({"images": IMAGES.astype(np.uint16), "labels": LABELS}, "images is uint16 (4, 6, 5); it must be uint8"),
        ({"images": IMAGES.reshape(4, 30), "labels": LABELS}, "images is uint8 (4, 30); it must be"),
        ({"images": IMAGES.reshape(4, 3, 2, 5), "labels": LABELS}, "images is uint8 (4, 3, 2, 5); it must be"),
        ({"images": IMAGES, "labels": LABELS[:3]}, "labels is (3,); needed is (4,), one per image"),
        ({"images": IMAGES, "labels": np.eye(4, dtype=int)}, "labels is (4, 4); needed is (4,), one per image"),
        ({"images": IMAGES}, "labels is (0,); needed is (4,), one per image"),
        ({"test_images": IMAGES, "labels": LABELS}, "test_labels is (0,); needed is (4,)"),
        ({"x": IMAGES, "y": LABELS}, "found x, y; needed are images and labels, or train_images ..."),
        ({}, "found nothing; needed are images and labels"),
        (
            {"images": IMAGES, "labels": LABELS, "test_images": IMAGES, "test_labels": LABELS},
            "found images beside test_images; keep one of the two",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, name: str, content: dict[str, Any], message: str) -> None:
    arrays(tmp_path / name, **content)
    found = refused(name, tmp_path)
    assert found.startswith(f"{tmp_path}/{name}: ") and message in found


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_a_file_of_arrays_that_is_damaged_is_refused(tmp_path: Path, name: str) -> None:
    path = arrays(
        tmp_path / name,
        images=np.random.default_rng(0).integers(0, 256, (40, 9, 9)).astype(np.uint8),
        labels=np.zeros(40),
    )
    content = path.read_bytes()
    for spoilt in (b"", b"no arrays", content[: len(content) // 2], content[:-100]):
        path.write_bytes(spoilt)
        assert refused(name, tmp_path).startswith(f"{path}: cannot be read as arrays (")


def test_damage_inside_a_compressed_file_of_arrays_is_found(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[60:90] = bytes(30)
    (tmp_path / "a.npz").write_bytes(content)
    assert "a.npz: cannot be read as arrays (" in refused("a.npz", tmp_path)


def test_objects_in_arrays_are_never_loaded(tmp_path: Path) -> None:
    """Loading them would run whatever code the file holds."""
    images = np.empty(2, dtype=object)
    images[:] = [IMAGES[0], IMAGES[1, :3]]
    np.savez(tmp_path / "a.npz", images=images, labels=LABELS[:2])
    assert "Object arrays cannot be loaded when allow_pickle=False" in refused("a.npz", tmp_path)


def test_an_npy_file_by_another_name_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, IMAGES)
    assert "a.npz: cannot be read as arrays (" in refused("a.npz", tmp_path)


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with Fashion-MNIST where torchvision looks for it."""
    pins = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())["data"]["fashion-mnist"]
    data = fetch("fashion-mnist", pins, CLONE / "data")
    raw = tmp_path_factory.mktemp("data") / "torchvision/FashionMNIST/raw"
    raw.mkdir(parents=True)
    for name in pins:
        (raw / name).symlink_to(data / name)
    return raw.parents[2]


def test_a_data_set_of_torchvision(fashion: Path) -> None:
    from rrl.data.demo import open_part

    source = open_source("torchvision/FashionMNIST", fashion)
    assert (source.name, source.fingerprint) == ("torchvision/FashionMNIST", "torchvision/FashionMNIST")
    assert {part: len(items) for part, items in source.parts.items()} == {"train": 60000, "test": 10000}
    assert Counter(item.label for item in source.parts["test"])["T-shirt/top"] == 1000
    published = open_part("fashion-mnist", "test", CLONE / "data")
    for position in (0, 7, 9999):
        assert np.array_equal(np.asarray(source.open["test"](position)), published.images[position])
        assert np.array_equal(np.asarray(source.open["test"](str(position))), published.images[position])
    names = {item.label: published.labels[position] for position, item in enumerate(source.parts["test"])}
    assert names["Ankle boot"] == 9 and len(names) == 10


def test_a_data_set_of_torchvision_with_a_val_part_by_another_name(tmp_path: Path) -> None:
    """Country211 calls it `valid`; a class of its files is a folder."""
    for part in ("train", "valid", "test"):
        for number, name in enumerate(("AD", "AE")):
            picture(tmp_path / f"torchvision/country211/{part}/{name}/1.jpg", number)
    source = open_source("torchvision/Country211", tmp_path)
    found = {part: [item.label for item in items] for part, items in source.parts.items()}
    assert found == {"train": ["AD", "AE"], "val": ["AD", "AE"], "test": ["AD", "AE"]}
    assert shade(source, "val", 1) == 1
    (tmp_path / "torchvision/country211/test/AE/1.jpg").write_bytes(b"")
    with pytest.raises(Unreadable, match="damaged"):
        source.open["test"](1)


def test_what_torchvision_does_not_have_is_refused(tmp_path: Path) -> None:
    wanted = "not a data set of torchvision with a training and a test part, such as CIFAR10"
    for name in ("NoSuchThing", "ImageFolder", "FakeData", "", "wrap_dataset_for_transforms_v2", "Caltech101"):
        assert refused(f"torchvision/{name}", tmp_path) == f"torchvision/{name}: {wanted}"
    assert "torchvision/UCF101: needs more than a folder and a part (" in refused("torchvision/UCF101", tmp_path)
    assert "torchvision/EMNIST: has no part named train, val or test" in refused("torchvision/EMNIST", tmp_path)


def test_a_data_set_of_torchvision_whose_files_are_missing_says_where_they_belong(tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    assert refused("torchvision/ImageNet", tmp_path).endswith(f"; put its files below {tmp_path}/torchvision")


def fingerprint(source: str, data_root: Path) -> str:
    found = open_source(source, data_root).fingerprint
    assert found == open_source(source, data_root).fingerprint and len(found) == 16
    return found


def test_the_fingerprint_of_a_folder_tells_names_and_sizes(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "pets/cat/1.png"), picture(tmp_path / "pets/dog/2.png")
    before = fingerprint("pets", tmp_path)
    os.utime(one, (1, 1))
    (tmp_path / "pets/note.txt").touch()
    assert fingerprint("pets", tmp_path) == before
    shutil.copytree(tmp_path / "pets", tmp_path / "copy")
    assert fingerprint("copy", tmp_path) == before
    seen = {before}
    three = picture(tmp_path / "pets/dog/3.png")
    seen.add(fingerprint("pets", tmp_path))
    three.unlink()
    assert fingerprint("pets", tmp_path) == before
    content = two.read_bytes()
    two.write_bytes(content + b"\0")
    seen.add(fingerprint("pets", tmp_path))
    two.write_bytes(content)
    two.rename(tmp_path / "pets/cat/2.png")
    seen.add(fingerprint("pets", tmp_path))
    (tmp_path / "pets/cat/2.png").unlink()
    seen.add(fingerprint("pets", tmp_path))
    assert len(seen) == 5


def test_the_fingerprint_of_a_csv_tells_labels_and_splits_too(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        picture(tmp_path / name)
    lines = ["path,label,split", "1.png,a,train", "2.png,b,test"]
    before = fingerprint("list.csv", table(tmp_path, "\n".join(lines)))
    (tmp_path / "3.png").unlink()
    os.utime(tmp_path / "1.png", (1, 1))
    assert fingerprint("list.csv", table(tmp_path, "\n".join([lines[0], lines[2], lines[1], ""]))) == before
    seen = {before}
    for changed in (["1.png,b,train", lines[2]], [lines[1], "2.png,b,val"], [lines[1]], [*lines[1:], "3.png,a,train"]):
        seen.add(fingerprint("list.csv", table(tmp_path, "\n".join([lines[0], *changed]))))
    table(tmp_path, "\n".join(lines))
    picture(tmp_path / "2.png", size=(50, 50))
    seen.add(fingerprint("list.csv", tmp_path))
    (tmp_path / "2.png").unlink()
    seen.add(fingerprint("list.csv", tmp_path))
    assert len(seen) == 7


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_the_fingerprint_of_arrays_tells_shapes_and_labels(tmp_path: Path, name: str) -> None:
    def of(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], prefix: str = "") -> str:
        arrays(tmp_path / name, **{f"{prefix}images": images, f"{prefix}labels": labels})
        return fingerprint(name, tmp_path)

    before = of(IMAGES, LABELS)
    os.utime(tmp_path / name, (1, 1))
    assert fingerprint(name, tmp_path) == before == of(IMAGES, LABELS)
    others = [
        of(IMAGES, 1 - LABELS),
        of(IMAGES[:3], LABELS[:3]),
        of(IMAGES[:, :5], LABELS),
        of(IMAGES, LABELS, "train_"),
    ]
    assert len({before, *others}) == 5


def test_a_source_is_opened_once_per_process(tmp_path: Path) -> None:
    picture(tmp_path / "pets/cat/1.png")
    assert opened("pets", tmp_path) is opened("pets", tmp_path)
