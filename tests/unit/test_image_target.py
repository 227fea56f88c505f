"""The stage that looks at a user's images and fixes train, val and test, and what reads its index."""

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rrl.config.settings import ImageSource, PaddedCrop, Photographs
from rrl.data.image_sources import open_source, opened
from rrl.data.image_splits import RULE
from rrl.data.images import Split, inputs, join, load_split
from rrl.data.pictures import upright
from rrl.errors import UserError
from rrl.job import Card
from rrl.store.files import sha256_of_file
from tests.helpers.jobs import run


@pytest.fixture(autouse=True)
def another_process() -> Iterator[None]:
    """A process opens a source once; each test is one."""
    opened.cache_clear()
    yield
    opened.cache_clear()


def picture(path: Path, value: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 5), (value,) * 3 if mode == "RGB" else value).save(path, format="PNG")
    return path


def folder(root: Path, counts: dict[str, int]) -> Path:
    """A folder of class folders below `root`, one shade per image."""
    for name, count in counts.items():
        for number in range(count):
            picture(root / name / f"{number:03}.png", number)
    return root


def look_at(source: Path, output: Path | None = None, threads: int = 1, **settings: Any) -> Card:
    """The card of the stage for a source."""
    opened.cache_clear()
    settings = {
        "source": source.name,
        "fingerprint": settings.get("fingerprint") or open_source(source.name, source.parent).fingerprint,
        "unreadable": "stop",
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "split_seed": 0,
    } | settings
    card = output or source.parent / "results/targets/pets.json"
    made = ImageSource(dataset="images", **settings)
    return run("target", {"source": made, "pins": {}}, [], card, threads=threads, data_root=source.parent)


def refused(source: Path, **settings: Any) -> str:
    card = source.parent / "refused/targets/pets.json"
    with pytest.raises(UserError) as caught:
        look_at(source, output=card, **settings)
    assert "\n" not in str(caught.value) and not card.exists()
    return str(caught.value)


def index(card: Card) -> list[dict[str, str]]:
    with open(card.path.with_suffix(".csv"), newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def images_of(card: Card, split: str | None = None) -> list[str]:
    return [row["image"] for row in index(card) if split in (None, row["split"])]


def split_by_image(card: Card) -> dict[str, str]:
    return {row["image"]: row["split"] for row in index(card)}


def test_the_card_tells_what_was_found(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 10, "dog": 20})
    picture(root / "cat/grey.png", mode="L")
    picture(root / "cat/alpha.png", mode="LA")
    (root / "notes.txt").touch()
    card = look_at(root)
    assert (card.stage, card.artifact) == ("target", "targets/pets")
    assert card.digest == sha256_of_file(card.path.with_suffix(".csv"))
    assert card.settings["source"]["fingerprint"] == open_source("pets", tmp_path).fingerprint
    assert card.facts == {
        "classes": 2,
        "class_names": ["cat", "dog"],
        "counts": {"train": 20, "val": 6, "test": 6},
        "rule": RULE,
        "converted": {"alpha laid on white": 1, "grey": 2},
        "left_out": {},
        "no_images_by_name": ["notes.txt"],
    }


def test_what_was_converted_is_told_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    picture(root / "cat/grey.png", mode="L")
    look_at(root)
    assert capsys.readouterr().err == "1 images: grey\n"


def test_the_index_has_a_row_per_image_with_the_number_of_its_class(tmp_path: Path) -> None:
    card = look_at(folder(tmp_path / "pets", {"cat": 10, "dog": 20}))
    rows = index(card)
    assert list(rows[0]) == ["split", "part", "image", "label"] and {row["part"] for row in rows} == {"all"}
    assert [row["split"] for row in rows] == ["train"] * 18 + ["val"] * 6 + ["test"] * 6
    assert all(row["label"] == str(["cat", "dog"].index(row["image"].split("/")[0])) for row in rows)
    assert sorted(images_of(card)) == sorted(
        f"{name}/{n:03}.png" for name, count in (("cat", 10), ("dog", 20)) for n in range(count)
    )
    counts = Counter((row["split"], row["label"]) for row in rows)
    assert counts == {
        ("train", "0"): 6,
        ("val", "0"): 2,
        ("test", "0"): 2,
        ("train", "1"): 12,
        ("val", "1"): 4,
        ("test", "1"): 4,
    }


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 9, "dog": 12, "mouse": 5})
    first = look_at(root)
    shutil.copytree(root, tmp_path / "elsewhere/pets")
    for again in (look_at(root, tmp_path / "again/targets/pets.json", threads=3), look_at(tmp_path / "elsewhere/pets")):
        assert again.path.read_bytes() == first.path.read_bytes()
        assert again.path.with_suffix(".csv").read_bytes() == first.path.with_suffix(".csv").read_bytes()


def test_another_seed_draws_other_images(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 20, "dog": 20})
    cards = [look_at(root, tmp_path / f"seed{seed}.json", split_seed=seed) for seed in (0, 1, 2)]
    assert len({frozenset(images_of(card, "test")) for card in cards}) == 3
    assert len({frozenset(images_of(card, "val")) for card in cards}) == 3
    assert len({card.key for card in cards}) == 3 and cards[0].facts == cards[1].facts


@pytest.mark.parametrize(
    ("val", "test", "counts"), [(0.1, 0.3, (12, 2, 6)), (0.01, 0.5, (9, 1, 10)), (0.22, 0.24, (11, 4, 5))]
)
def test_the_fractions_are_those_of_each_class_rounded(
    tmp_path: Path, val: float, test: float, counts: tuple[int, ...]
) -> None:
    card = look_at(folder(tmp_path / "pets", {"cat": 20, "dog": 20}), val_fraction=val, test_fraction=test)
    assert [card.facts["counts"][split] for split in ("train", "val", "test")] == [2 * count for count in counts]


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.9, 0.9), (0.45, 0.45), (0.01, 0.99), (0.01, 0.01)])
def test_every_class_has_an_image_in_every_split(tmp_path: Path, val: float, test: float) -> None:
    card = look_at(folder(tmp_path / "pets", {"cat": 3, "dog": 4, "mouse": 10}), val_fraction=val, test_fraction=test)
    found = Counter((row["split"], row["label"]) for row in index(card))
    assert len(found) == 9 and sum(found.values()) == 17 == len(set(images_of(card)))


def test_more_images_of_one_class_move_none_of_another(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 12, "dog": 12, "mouse": 7})
    before = split_by_image(look_at(root))
    folder(root, {"dog": 31})
    picture(root / "ant/1.png")
    picture(root / "ant/2.png")
    picture(root / "ant/3.png")
    after = split_by_image(look_at(root))
    others = [image for image in before if not image.startswith("dog")]
    assert len(others) == 19 and all(before[image] == after[image] for image in others)
    assert len(after) == 12 + 31 + 7 + 3


def parted(root: Path, *folders: str) -> Path:
    for at, part in enumerate(folders):
        for name, count in (("cat", 10), ("dog", 20)):
            for number in range(count // (at + 1)):
                picture(root / part / name / f"{number}.png", number)
    return root


def test_given_parts_stay_what_they_are(tmp_path: Path) -> None:
    card = look_at(parted(tmp_path / "pets", "train", "val", "test"))
    assert card.facts["counts"] == {"train": 30, "val": 15, "test": 9}
    assert all(row["image"].startswith(f"{row['split']}/") and row["part"] == row["split"] for row in index(card))
    other = look_at(tmp_path / "pets", tmp_path / "seed1.json", split_seed=1)
    assert {split: set(images_of(card, split)) for split in ("train", "val", "test")} == {
        split: set(images_of(other, split)) for split in ("train", "val", "test")
    }


def test_without_a_val_part_val_is_drawn_from_train(tmp_path: Path) -> None:
    card = look_at(parted(tmp_path / "pets", "train", "test"))
    assert card.facts["counts"] == {"train": 24, "val": 6, "test": 15}
    assert {row["part"] for row in index(card) if row["split"] != "test"} == {"train"}
    assert {row["part"] for row in index(card) if row["split"] == "test"} == {"test"}
    assert len(set(images_of(card))) == 45


def test_of_train_and_val_alone_val_is_the_test_part(tmp_path: Path) -> None:
    card = look_at(parted(tmp_path / "pets", "train", "valid"))
    assert card.facts["counts"] == {"train": 24, "val": 6, "test": 15}
    assert {(row["split"], row["part"], row["image"].split("/")[0]) for row in index(card)} == {
        ("train", "train", "train"),
        ("val", "train", "train"),
        ("test", "val", "valid"),
    }


def test_of_a_train_part_alone_both_are_drawn(tmp_path: Path) -> None:
    card = look_at(parted(tmp_path / "pets", "train"))
    assert card.facts["counts"] == {"train": 18, "val": 6, "test": 6}


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    assert look_at(folder(tmp_path / "pets", {str(n): 3 for n in (10, 9, 2, 100)})).facts["class_names"] == [
        "2",
        "9",
        "10",
        "100",
    ]
    card = look_at(folder(tmp_path / "more", dict.fromkeys(("10", "b", "9", "A", "09", "-1", "1.5", "é", "²"), 3)))
    assert card.facts["class_names"] == ["-1", "1.5", "A", "b", "²", "é", "09", "9", "10"]
    assert {row["label"] for row in index(card) if row["image"].startswith("10/")} == {"8"}


def test_one_class_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 10})
    assert refused(root) == f"{root}: one class only (cat); at least two are needed"


@pytest.mark.parametrize("few", [1, 2])
def test_a_class_with_too_few_images_is_refused(tmp_path: Path, few: int) -> None:
    root = folder(tmp_path / "pets", {"cat": 10, "dog": few, "mouse": 3})
    message = refused(root)
    assert message.startswith(
        f"{root}: 1 of 3 classes have fewer than 3 images ('dog' has {few}): nothing would be left for test and val;"
    )
    assert message.endswith("add images, leave the classes out, or give parts train, val and test yourself")


def test_a_class_with_one_image_is_refused_where_val_is_drawn(tmp_path: Path) -> None:
    root = parted(tmp_path / "pets", "train", "test")
    picture(root / "train/mouse/1.png")
    assert "1 of 3 classes have fewer than 2 images ('mouse' has 1): nothing would be left for val;" in refused(root)


def test_a_class_of_the_test_part_without_train_images_is_refused(tmp_path: Path) -> None:
    root = parted(tmp_path / "pets", "train", "val", "test")
    picture(root / "test/mouse/1.png")
    assert refused(root) == f"{root}: test: train has no image of 'mouse'; add some, or take these classes out"
    folder(root / "test", {f"class{number:02}": 1 for number in range(15)})
    message = refused(root)
    assert "'class00', 'class01', " in message and "'class09' and 6 more; add" in message


def test_parts_without_train_are_refused(tmp_path: Path) -> None:
    root = parted(tmp_path / "pets", "test", "val")
    assert refused(root) == f"{root}: no image to train on, only test and val; add a part train"
    (tmp_path / "list.csv").write_text("path,label,split\npets/test/cat/0.png,a,test\npets/test/dog/0.png,b,test\n")
    assert refused(tmp_path / "list.csv") == f"{tmp_path}/list.csv: no image to train on, only test; add a part train"


def test_classes_of_a_part_may_be_fewer_than_those_of_train(tmp_path: Path) -> None:
    root = parted(tmp_path / "pets", "train", "val", "test")
    picture(root / "train/mouse/1.png")
    card = look_at(root)
    assert card.facts["class_names"] == ["cat", "dog", "mouse"] and card.facts["counts"]["train"] == 31


def test_other_files_than_the_config_was_written_for_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 4, "dog": 4})
    before = open_source("pets", tmp_path).fingerprint
    picture(root / "dog/new.png")
    now = open_source("pets", tmp_path).fingerprint
    message = refused(root, fingerprint=before)
    assert message.startswith(f"{root}: its fingerprint is {now}, the config says {before}: files were added, removed")
    assert look_at(root, fingerprint=now).facts["counts"] == {"train": 5, "val": 2, "test": 2}


def spoil(root: Path, count: int) -> Path:
    """A folder with `count` images that cannot be used, besides 20 that can."""
    folder(root, {"cat": 10, "dog": 10})
    whole = picture(root / "dog/cut.png").read_bytes()
    (root / "dog/cut.png").write_bytes(whole[:-25])
    for number in range(count - 1):
        (root / f"cat/empty{number:02}.jpg").touch()
    return root


def test_images_that_cannot_be_used_stop_the_stage_with_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = spoil(tmp_path / "pets", 3)
    assert refused(root) == (
        f"{root}: 3 of 23 images cannot be used: cat/empty00.jpg: zero bytes; cat/empty01.jpg: zero bytes; dog/cut.png: "
        "truncated. Repair or remove them, or have them left out (unreadable: leave_out in the config, --leave-out for rrl compare)"
    )
    assert capsys.readouterr().err.splitlines() == [
        "cat/empty00.jpg: zero bytes",
        "cat/empty01.jpg: zero bytes",
        "dog/cut.png: truncated",
    ]


def test_of_many_images_that_cannot_be_used_ten_are_named_and_all_are_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(spoil(tmp_path / "pets", 13))
    assert ": 13 of 33 images cannot be used: cat/empty00.jpg: zero bytes; " in message
    assert "cat/empty09.jpg: zero bytes; and 3 more. Repair" in message and "empty10" not in message
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"cat/empty{number:02}.jpg: zero bytes" for number in range(12)] + ["dog/cut.png: truncated"]
    assert "and 0 more" not in refused(spoil(tmp_path / "more", 10))


def test_images_that_cannot_be_used_are_left_out_if_so_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = look_at(spoil(tmp_path / "pets", 3), unreadable="leave_out")
    assert card.facts["left_out"] == {
        "cat/empty00.jpg": "zero bytes",
        "cat/empty01.jpg": "zero bytes",
        "dog/cut.png": "truncated",
    }
    assert card.facts["counts"] == {"train": 12, "val": 4, "test": 4} and set(images_of(card)).isdisjoint(
        card.facts["left_out"]
    )
    assert len(capsys.readouterr().err.splitlines()) == 3
    plain = look_at(folder(tmp_path / "plain/pets", {"cat": 10, "dog": 10}))
    assert split_by_image(plain) == split_by_image(card)


def test_floating_point_pixels_cannot_be_used(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    Image.fromarray(np.zeros((4, 4), np.float32)).save(root / "dog/a.tif")
    assert "1 of 7 images cannot be used: dog/a.tif: pixels are floating-point numbers;" in refused(root)


def test_a_missing_file_of_a_csv_cannot_be_used(tmp_path: Path) -> None:
    folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    lines = [f"pets/{name}/{number:03}.png,{name}" for name in ("cat", "dog") for number in range(4)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    assert "2 of 8 images cannot be used: pets/cat/003.png: missing; pets/dog/003.png: missing." in refused(
        tmp_path / "list.csv"
    )
    assert look_at(tmp_path / "list.csv", unreadable="leave_out").facts["counts"] == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize("kept", ["train", "val", "test"])
def test_a_part_of_which_nothing_can_be_used_is_refused(tmp_path: Path, kept: str) -> None:
    root = parted(tmp_path / "pets", "train", "val", "test")
    for path in (root / kept).glob("*/*.png"):
        path.write_bytes(b"")
    message = refused(root, unreadable="leave_out")
    wanted = "no image to train on, only test and val" if kept == "train" else f"{kept}: no image in it; add some, or"
    assert message.startswith(f"{root}: {wanted}")


def test_a_class_that_loses_its_images_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5, "mouse": 3})
    (root / "mouse/000.png").write_bytes(b"")
    assert "('mouse' has 2)" in refused(root, unreadable="leave_out")
    for number in range(3):
        (root / f"mouse/{number:03}.png").write_bytes(b"")
    assert look_at(root, unreadable="leave_out").facts["class_names"] == ["cat", "dog"]


ODD = ["a b", "a,b", "a\nb", '"a"', "é→猫", os.fsdecode(b"\xff")]


def test_odd_names_come_back_from_the_index(tmp_path: Path) -> None:
    odd = [*ODD, "a\rb"]
    for value, name in enumerate(odd):
        for number in range(3):
            picture(tmp_path / f"pets/{name}/{name}{number}.png", 10 * value + number)
    card = look_at(tmp_path / "pets")
    names = card.facts["class_names"]
    assert sorted(images_of(card)) == sorted(f"{name}/{name}{number}.png" for name in odd for number in range(3))
    for split in ("train", "val", "test"):
        data = load_split(card, split, tmp_path)
        assert data.open is not None
        for reference, label in zip(data.images, data.labels, strict=True):
            shade = upright(data.open(reference), 1).getpixel((0, 0))
            assert shade == 10 * odd.index(names[label]) + int(reference[1][-5])


# What reads the index.

PLAIN = Photographs(4, 4, (0.5, 1.0), "bilinear", True, (0.0,), (1.0,))


def shades(data: Split) -> list[int]:
    assert data.open is not None
    return [round(float(upright(data.open(reference), 1).getpixel((0, 0)))) for reference in data.images]  # type: ignore[arg-type]


def test_a_split_has_its_pictures_in_the_order_of_the_index(tmp_path: Path) -> None:
    card = look_at(folder(tmp_path / "pets", {"cat": 10, "dog": 20}))
    for split in ("train", "val", "test"):
        data = load_split(card, split, tmp_path)
        rows = [row for row in index(card) if row["split"] == split]
        assert data.labels.dtype == np.int64 and data.labels.tolist() == [int(row["label"]) for row in rows]
        assert data.images.shape == (len(rows),)
        assert [tuple(reference) for reference in data.images] == [(row["part"], row["image"]) for row in rows]
        assert shades(data) == [int(row["image"][-7:-4]) for row in rows]
        found = inputs(data, np.arange(len(rows)), PLAIN, None)
        assert found.shape == (len(rows), 1, 4, 4) and found.dtype == torch.float32
        assert (found[:, 0, 2, 2] * 255).round().int().tolist() == shades(data)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_split_of_few_images_is_read_as_well(tmp_path: Path, count: int) -> None:
    folder(tmp_path / "pets", {"cat": 9})
    names = {"train": [0, 1], "val": [2], "test": range(3, 3 + count)}
    lines = [f"pets/cat/{n:03}.png,{'ab'[n % 2]},{split}" for split, numbers in names.items() for n in numbers]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *lines]))
    card = look_at(tmp_path / "list.csv")
    for split, numbers in names.items():
        data = load_split(card, split, tmp_path)
        assert sorted(shades(data)) == list(numbers) and sorted(data.labels) == sorted(n % 2 for n in numbers)


def test_arrays_are_read_by_their_positions(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (30, 4, 4, 3)).astype(np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "pets.npz", images=images, labels=labels)
    card = look_at(tmp_path / "pets.npz")
    assert card.facts["class_names"] == ["0", "1", "2"] and card.facts["converted"] == {}
    transform = Photographs(4, 4, (1.0, 1.0), "bilinear", False, (0.0,) * 3, (1.0,) * 3)
    for split in ("train", "val", "test"):
        data = load_split(card, split, tmp_path)
        positions = [int(image) for image in images_of(card, split)]
        assert data.labels.tolist() == labels[positions].tolist()
        found = inputs(data, np.arange(len(positions)), transform, None)
        assert np.array_equal((found.numpy() * 255).round().transpose(0, 2, 3, 1), images[positions])


def test_chosen_images_keep_their_labels_and_open_as_before(tmp_path: Path) -> None:
    card = look_at(folder(tmp_path / "pets", {"cat": 10, "dog": 20}))
    data = load_split(card, "train", tmp_path)
    chosen = np.array([17, 0, 5, 5])
    few = data.take(chosen)
    assert few.open is data.open and few.labels.tolist() == data.labels[chosen].tolist()
    assert shades(few) == [shades(data)[at] for at in chosen]
    assert torch.equal(inputs(few, np.arange(4), PLAIN, None), inputs(data, chosen, PLAIN, None))
    memory = Split(np.arange(8, dtype=np.uint8).reshape(4, 2, 1), np.array([0, 1, 0, 1])).take(np.array([3, 1]))
    assert (
        memory.images.tolist() == [[[6], [7]], [[2], [3]]] and memory.labels.tolist() == [1, 1] and memory.open is None
    )


def test_splits_are_joined_one_behind_the_other(tmp_path: Path) -> None:
    card = look_at(folder(tmp_path / "pets", {"cat": 10, "dog": 20}))
    parts = [load_split(card, split, tmp_path) for split in ("val", "train")]
    joined = join(iter(parts))
    assert (
        joined.labels.dtype == np.int64
        and joined.labels.tolist() == parts[0].labels.tolist() + parts[1].labels.tolist()
    )
    assert shades(joined) == shades(parts[0]) + shades(parts[1])
    assert len(join(parts[:1]).labels) == 6
    memory = Split(np.arange(8, dtype=np.uint8).reshape(4, 2, 1), np.array([0, 1, 0, 1]))
    assert join([memory, memory]).images.shape == (8, 2, 1) and join([memory]).open is None


def test_files_added_after_the_target_was_made_are_noticed(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5})
    card = look_at(root)
    added = picture(root / "dog/new.png")
    opened.cache_clear()
    with pytest.raises(
        UserError, match=rf"{root}: files were added, removed or changed since {card.path} was made \(fingerprint"
    ) as caught:
        load_split(card, "train", tmp_path)
    assert card.settings["source"]["fingerprint"] in str(caught.value) and "\n" not in str(caught.value)
    added.unlink()
    opened.cache_clear()
    assert len(load_split(card, "train", tmp_path).labels) == 6


def test_data_that_are_gone_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5})
    card = look_at(root)
    shutil.rmtree(root)
    opened.cache_clear()
    with pytest.raises(UserError, match=f"{root}: missing"):
        load_split(card, "train", tmp_path)


def test_an_index_that_was_altered_or_lost_is_refused(tmp_path: Path) -> None:
    card = look_at(folder(tmp_path / "pets", {"cat": 5, "dog": 5}))
    path = card.path.with_suffix(".csv")
    path.write_text(path.read_text().replace("train", "test", 1))
    with pytest.raises(
        UserError, match=f"{path}: missing, or altered since {card.path} was written; to rebuild it: rm -f {path}"
    ):
        load_split(card, "train", tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: missing, or altered"):
        load_split(card, "train", tmp_path)


def test_an_image_that_is_damaged_later_with_its_size_kept_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5})
    card = look_at(root)
    first = images_of(card, "train")[0]
    (root / first).write_bytes(bytes((root / first).stat().st_size))
    data = load_split(card, "train", tmp_path)
    with pytest.raises(UserError, match=f"{root}: {first}: not an image; it .* when the target was made"):
        inputs(data, np.arange(len(data.labels)), PLAIN, None)


def test_a_transform_for_images_in_memory_is_refused_for_pictures(tmp_path: Path) -> None:
    data = load_split(look_at(folder(tmp_path / "pets", {"cat": 5, "dog": 5})), "train", tmp_path)
    with pytest.raises(
        UserError, match="a transform with pad is for grey images in memory; here it must be one with a size"
    ):
        inputs(data, np.arange(2), PaddedCrop(0.5, 0.5, 2, True), None)
