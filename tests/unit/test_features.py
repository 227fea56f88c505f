"""Cached features: blocks, resuming, virtual concatenation, and refusal of what is not what it was."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from rrl.config.settings import PaddedCrop
from rrl.data.images import Split, augment, inputs, normalise
from rrl.errors import UserError
from rrl.job import read_card
from rrl.networks.inference import for_inference
from rrl.networks.trunks import build_trunk
from rrl.stages.extract import extract_split
from rrl.store.features import to_dtype, views_of
from rrl.store.members import SPLITS, Member, parse_member
from rrl.store.read_features import read_split

PLAIN = PaddedCrop(mean=0.3, std=0.4, pad=0, flip=False)
MOVING = PaddedCrop(mean=0.3, std=0.4, pad=2, flip=True)


def some_images(count: int = 50) -> Split:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return Split(images, np.arange(count, dtype=np.int64) % 5)


def extract(
    path: Path, data: Split, transform: PaddedCrop = PLAIN, draws: tuple[str | None, ...] = (None,)
) -> np.ndarray:
    torch.manual_seed(0)
    trunk = build_trunk("resnet8").eval()
    features_of = for_inference(trunk, "float32", torch.device("cpu"), compiled=False, batch_size=2)
    extract_split(features_of, trunk.feature_dim, data, transform, list(draws), "float16", 2, path, torch.device("cpu"))
    with h5py.File(path) as file:
        assert file["labels"][:].tolist() == data.labels.tolist()
        return np.asarray(file["features"][:])


def test_features_are_those_of_the_plain_forward_pass_and_the_trunk_does_not_move(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = build_trunk("resnet8").eval()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    data = some_images()
    features_of = for_inference(trunk, "float32", torch.device("cpu"), compiled=False, batch_size=8)
    extract_split(
        features_of, trunk.feature_dim, data, PLAIN, [None], "float32", 8, tmp_path / "a.h5", torch.device("cpu")
    )
    with torch.no_grad():
        expected = trunk(torch.from_numpy(normalise(data.images, PLAIN))).numpy()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_allclose(file["features"][0], expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())


def test_an_interrupted_extraction_goes_on_after_its_last_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some_images()
    whole = extract(tmp_path / "whole.h5", data)
    calls = 0

    def fails_in_the_second_block(*of: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 20:  # a block is 16 batches
            raise KeyboardInterrupt
        return inputs(*of)

    monkeypatch.setattr("rrl.stages.extract.SECONDS", 0.0)  # each block is on the disk before the next begins
    monkeypatch.setattr("rrl.data.reading.inputs", fails_in_the_second_block)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path / "cut.h5", data)
    calls = 100
    resumed = extract(tmp_path / "cut.h5", data)
    assert calls - 100 == 25 - 16
    np.testing.assert_array_equal(resumed, whole)


def test_views_are_the_same_crops_whatever_the_batch() -> None:
    data = some_images()
    whole = augment(data.images, range(50), "targets/a/train/0", MOVING)
    parts = [
        augment(data.images[i : i + 7], range(50)[i : i + 7], "targets/a/train/0", MOVING) for i in range(0, 50, 7)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, augment(data.images, range(50), "targets/a/train/1", MOVING))
    assert not np.array_equal(whole, data.images)
    np.testing.assert_array_equal(augment(data.images, range(50), "any", PLAIN), data.images)


def test_views_of_each_split() -> None:
    assert views_of("train", "t", 1) == views_of("val", "t", 1) == views_of("test", "t", 3) == [None]
    assert views_of("train", "t", 2) == ["t/train/0", "t/train/1"]
    assert views_of("val", "t", 2) == [None, "t/val/0", "t/val/1"]


def test_overflow_of_float16_names_the_image_and_the_feature() -> None:
    features = np.array([[1.0, 2.0], [3.0, 1e5]], dtype=np.float32)
    with pytest.raises(UserError, match="image 11, feature 1: 100000.0 does not fit float16"):
        to_dtype(features, "float16", 10)
    assert to_dtype(features, "float32", 10).dtype == np.float32


def test_members_are_written_as_they_are_read() -> None:
    for text in ("erm-s0", "wide2-s0[0:32]"):
        assert str(parse_member(text)) == text
    assert parse_member("wide2-s0[0:32]") == Member("wide2-s0", (0, 32))


@pytest.mark.parametrize("representation", ["cat2", "wide2-s0", "wide2-s0.32-64", "random-s0"])
def test_a_representation_equals_numpys_concatenation_bit_for_bit(tiny: Path, representation: str) -> None:
    root = tiny / "results/tiny"
    card = read_card(root / f"representations/mnist/{representation}.json")
    for split in SPLITS:
        columns = []
        for text in card.settings["members"]:
            member = parse_member(text)
            with h5py.File(root / f"features/mnist/{member.network}/{split}.h5") as file:
                columns.append(file["features"][:, :, slice(*(member.columns or (None,)))])
        expected = np.concatenate(columns, axis=2)
        found, labels = read_split(card, split)
        assert found.dtype == expected.dtype == np.float16
        assert found.tobytes() == expected.tobytes()
        with h5py.File(root / f"representations/mnist/{representation}/{split}.h5") as file:  # as a user reads it
            assert file["features"][:].tobytes() == expected.tobytes()
            assert file["labels"][:].tolist() == labels.tolist()
        assert (root / f"representations/mnist/{representation}/{split}.h5").stat().st_size < 70_000


@pytest.fixture
def moved(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the results that may be spoilt; at another place, so the virtual files must be relative."""
    for name in ("features", "representations"):
        shutil.copytree(tiny / "results/tiny" / name, tmp_path / name)
    return tmp_path


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_shorter(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        features = file["features"][:, :-1]
        del file["features"]
        file["features"] = features


def spoil_another(path: Path) -> None:
    shutil.copy(path.parent.parent / "random-s0" / path.name, path)


def spoil_altered(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["features"][0, 0, 0] += 1


def spoil_labels(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["labels"][0] += 1


def spoil_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing, "missing or unreadable"),
        (spoil_shorter, "features have shape"),
        (spoil_another, "altered since"),
        (spoil_altered, "altered since"),
        (spoil_truncated, "missing or unreadable"),
    ],
)
@pytest.mark.parametrize("representation", ["cat2", "erm-s0"])
def test_a_spoilt_member_is_refused_with_what_rebuilds_it(
    moved: Path, representation: str, spoil, message: str
) -> None:
    card = read_card(moved / f"representations/mnist/{representation}.json")
    read_split(card, "test")
    spoil(moved / "features/mnist/erm-s0/test.h5")
    with pytest.raises(UserError, match=rf"erm-s0/test\.h5: {message}.*rm -f .*features/mnist/erm-s0/test\.h5"):
        read_split(card, "test")


def test_a_spoilt_virtual_file_is_refused(moved: Path) -> None:
    card = read_card(moved / "representations/mnist/cat2.json")
    spoil_labels(moved / "representations/mnist/cat2/test.h5")
    with pytest.raises(UserError, match="not the features and labels of its members"):
        read_split(card, "test")


def test_a_plain_file_in_place_of_a_virtual_one_is_named_itself(moved: Path) -> None:
    """Not a member, whose rebuilding would mend nothing."""
    card = read_card(moved / "representations/mnist/cat2.json")
    path = moved / "representations/mnist/cat2/test.h5"
    with h5py.File(path) as file:
        features, labels = file["features"][:], file["labels"][:]
    path.unlink()
    with h5py.File(path, "w") as file:
        file["features"], file["labels"] = features, labels
    with pytest.raises(UserError, match=r"representations/mnist/cat2/test\.h5: .*rm -f .*cat2/test\.h5"):
        read_split(card, "test")


@pytest.mark.parametrize("spoilt", ["features", "labels", "structure", "done"])
def test_what_was_damaged_between_kill_and_resume_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoilt: str
) -> None:
    """Blocks that were extracted before are checked before an extraction goes on."""
    data = some_images(200)
    whole = extract(tmp_path / "whole.h5", data)  # 7 blocks of 32 images
    path, calls = tmp_path / "cut.h5", 0

    def fails_in_the_fifth_block(*of: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 70:
            raise KeyboardInterrupt
        return inputs(*of)

    monkeypatch.setattr("rrl.stages.extract.SECONDS", 0.0)  # each block is on the disk before the next begins
    monkeypatch.setattr("rrl.data.reading.inputs", fails_in_the_fifth_block)
    with pytest.raises(KeyboardInterrupt):
        extract(path, data)
    done = path.with_name("cut.h5.done")
    assert len(done.read_text().splitlines()) == 4
    if spoilt == "features":
        with h5py.File(path, "r+") as file:
            file["features"][0, 70, 3] += 1  # of the third block
    elif spoilt == "labels":
        with h5py.File(path, "r+") as file:
            file["labels"][3] = 4
    elif spoilt == "structure":
        path.write_bytes(path.read_bytes()[:100])
    else:
        done.write_text(done.read_text()[:-5])
    calls = 100
    np.testing.assert_array_equal(extract(path, data), whole)
    left = {"features": 5, "labels": 3, "structure": 7, "done": 4}[spoilt]
    assert calls - 100 == sum(min(16, 100 - 16 * block) for block in range(7 - left, 7))
    assert ("damaged" in capsys.readouterr().err) == (spoilt != "labels")
