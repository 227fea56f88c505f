"""Splits and the fetching of data."""

import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rrl.data.demo import open_part, split_images
from rrl.data.fetch import fetch
from rrl.data.images import load_split
from rrl.data.sources import DATASETS
from rrl.errors import UserError
from rrl.job import read_card
from tests.helpers.clones import CLONE

LABELS = {"train": [i % 4 for i in range(400)], "test": [i % 4 for i in range(80)]}


def split(labels=LABELS, classes=(1, 3), train=20, val=5, seed=0):  # type: ignore[no-untyped-def]
    return split_images(labels, list(classes), train, val, seed)


def test_splits_have_their_counts_and_share_no_image() -> None:
    rows = split()
    assert Counter((row[0], row[3]) for row in rows) == {
        ("train", 0): 20,
        ("train", 1): 20,
        ("val", 0): 5,
        ("val", 1): 5,
        ("test", 0): 20,
        ("test", 1): 20,
    }
    assert len({row[1:3] for row in rows}) == len(rows)
    assert all(LABELS[part][position] == (1, 3)[label] for _, part, position, label in rows)
    assert {row[1] for row in rows if row[0] == "test"} == {"test"}


def test_without_a_published_test_part_test_is_what_is_left() -> None:
    rows = split({"all": LABELS["train"]})
    assert sum(row[0] == "test" for row in rows) == 200 - 50
    assert len({row[1:3] for row in rows}) == 200


def test_a_larger_split_begins_with_the_smaller_one() -> None:
    small = [row for row in split(train=10) if row[0] == "train"]
    large = [row for row in split(train=20) if row[0] == "train"]
    for label in (0, 1):
        assert [row for row in large if row[3] == label][:10] == [row for row in small if row[3] == label]


def test_the_seed_changes_the_images() -> None:
    assert split(seed=0) == split(seed=0) != split(seed=1)


def test_a_class_with_too_few_images_is_named() -> None:
    with pytest.raises(UserError, match="class 1: found 100 images, the split needs at least 105"):
        split(train=100)
    with pytest.raises(UserError, match="class 9: found 0 images"):
        split(classes=(1, 9))


def test_the_data_of_the_demo_is_what_it_should_be(tiny: Path) -> None:
    train = open_part("fashion-mnist", "train", tiny / "data")
    assert train.images.shape == (60000, 28, 28) and Counter(train.labels.tolist()) == dict.fromkeys(range(10), 6000)
    digits = open_part("mnist-5k", "all", tiny / "data")
    assert digits.images.shape == (5000, 28, 28) and Counter(digits.labels.tolist()) == dict.fromkeys(range(10), 500)
    assert digits.images.max() == 255 and 30 < digits.images.mean() < 40


def test_a_wrong_checksum_names_the_file_and_both_sums(tmp_path: Path) -> None:
    (tmp_path / "mnist-5k").mkdir()
    (tmp_path / "mnist-5k/mnist_5k.csv.gz").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"mnist_5k.csv.gz: sha256 is [0-9a-f]{64}, pinned is 00.*delete the file"):
        fetch("mnist-5k", {"mnist_5k.csv.gz": "00"}, tmp_path)
    assert (tmp_path / "mnist-5k/mnist_5k.csv.gz").read_bytes() == b"something else"


@pytest.mark.parametrize("dataset", ["fashion-mnist", "mnist-5k"])
def test_without_a_network_the_message_says_what_to_put_where(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    places = {"gz": "http://127.0.0.1:9/", "apt": "no-such-package", "deb": "http://127.0.0.1:9/x.deb"}
    if dataset == "fashion-mnist":
        assert list(places) == [kind for kind, _ in DATASETS[dataset].addresses]
        monkeypatch.setitem(DATASETS, dataset, replace(DATASETS[dataset], addresses=tuple(places.items())))
    with pytest.raises(UserError, match=rf"put there by hand: .*, into {tmp_path}/{dataset}/") as caught:
        fetch(dataset, {"file": "00"}, tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / dataset).iterdir()] in ([], [".lock"])


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (folder / name).write_bytes(np.array([0x0803, 10, 28, 28], dtype=">i4").tobytes())
    with pytest.raises(UserError, match="not an idx file of 3 dimensions, or cut off"):
        open_part("fashion-mnist", "test", tmp_path)
    with pytest.raises(UserError, match="train-images-idx3-ubyte: missing"):
        open_part("fashion-mnist", "train", tmp_path)


def test_data_that_were_deleted_come_back_with_the_command_of_the_message(tiny: Path, tmp_path: Path) -> None:
    card, data = read_card(tiny / "results/tiny/targets/mnist.json"), tmp_path / "it's my data"
    with pytest.raises(UserError, match="mnist_5k.csv.gz: missing") as caught:
        load_split(card, "test", data)
    command = str(caught.value).partition("then: ")[2]
    with pytest.raises(UserError, match=f"mnist_5k.csv.gz: missing; to fetch it: {re.escape(command)}$"):
        open_part("mnist-5k", "all", data)
    subprocess.run(["bash", "-ec", f"source .venv/bin/activate; {command}"], cwd=CLONE, check=True)
    assert len(load_split(card, "test", data).labels) == 4700
