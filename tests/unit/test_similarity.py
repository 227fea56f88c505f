"""Linear CKA against its formulas with kernels (N, N), and the stage that computes it from cached features."""

import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from rrl.arithmetic import NATIVE
from rrl.config.settings import Features, PaddedCrop
from rrl.errors import UserError
from rrl.figures.cka import Hsic, cka, hsic
from rrl.job import Card, Job, read_card
from rrl.jobs.networks import Extract
from rrl.stages import similarity
from rrl.store.features import create
from rrl.store.read_features import file_digest
from tests.helpers import jobs

Array = npt.NDArray[np.float64]


def kernel_hsic(x: Array, y: Array) -> tuple[float, float]:
    """HSIC of linear kernels as it is defined: biased (Gretton et al. 2005), unbiased (Song et al. 2012, eq. 5)."""
    n = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    centre = np.eye(n) - 1 / n
    biased = np.trace(k @ centre @ l @ centre) / (n - 1) ** 2
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    one = np.ones(n)
    unbiased = (
        np.trace(k @ l) + one @ k @ one * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    ) / (n * (n - 3))
    return float(biased), float(unbiased)


def kernel_cka(x: Array, y: Array) -> list[float]:
    """Biased and debiased."""
    of = zip(kernel_hsic(x, y), kernel_hsic(x, x), kernel_hsic(y, y), strict=True)
    return [both / math.sqrt(first * second) for both, first, second in of]


def in_blocks(x: Array, y: Array, rows: int) -> Hsic:
    x, y = x - x.mean(0), y - y.mean(0)
    return hsic((x[at : at + rows], y[at : at + rows]) for at in range(0, len(x), rows))


def block_cka(x: Array, y: Array, rows: int = 7) -> list[float]:
    found = [in_blocks(x, y, rows), in_blocks(x, x, rows), in_blocks(y, y, rows)]
    return [cka(*(getattr(of, name) for of in found)) for name in ("biased", "unbiased")]


def features(count: int, *dims: int, shared: float = 0.5) -> Iterator[Array]:
    """Features of as many networks, which have some of what they vary in in common, and large means."""
    random = np.random.default_rng(0)
    common = random.normal(size=(count, 5))
    for dim in dims:
        own = random.normal(size=(count, dim)) * random.uniform(0.1, 3, dim)
        yield 4 + shared * (common @ random.normal(size=(5, dim))) + own


@pytest.mark.parametrize(("count", "dims"), [(60, (5, 12)), (12, (40, 90)), (4, (3, 3)), (150, (1, 20))])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_it_is_the_formula_with_kernels(count: int, dims: tuple[int, int], rows: int) -> None:
    x, y = features(count, *dims)
    assert block_cka(x, y, rows) == pytest.approx(kernel_cka(x, y), rel=1e-10, abs=1e-10)


def test_rotation_scale_and_shift_change_nothing() -> None:
    x, y = features(200, 16, 24)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))[0]
    moved = 3.7 * x @ rotation + 11
    assert block_cka(x, moved) == pytest.approx([1, 1], abs=1e-10)
    assert block_cka(moved, y) == pytest.approx(block_cka(x, y), abs=1e-10)
    assert block_cka(y, x) == pytest.approx(block_cka(x, y), abs=1e-12)
    assert max(block_cka(x, y)) < 0.9


def test_features_with_nothing_in_common_are_about_0_debiased_and_far_from_it_biased() -> None:
    """The first as the docstring has it: sqrt(D E) / N."""
    random = np.random.default_rng(2)
    found = np.array([block_cka(random.normal(size=(200, 50)), random.normal(size=(200, 80)), 200) for _ in range(20)])
    biased, debiased = found.mean(0)
    assert biased == pytest.approx(math.sqrt(50 * 80) / 200, rel=0.3) and biased > 0.2
    assert abs(debiased) < 0.005 and np.abs(found[:, 1]).max() < 0.03 and found[:, 1].min() < 0


def test_the_stage_has_the_values_of_the_formula_for_every_pair(tiny: Path) -> None:
    card = read_card(tiny / "results/tiny/similarities/mnist/similarity.json")
    run = "mnist.heldout-lr0.1-wd0.0005-e2"
    networks = ["erm-s0", "erm-s1", "wide2-s0", f"erm-s0.{run}", f"erm-s1.{run}"]
    facts = card.facts
    assert facts["networks"] == networks and facts["feature_dims"] == [32, 32, 64, 32, 32]
    assert (facts["images"], facts["split"]) == (4700, "test")
    assert [source["artifact"] for source in card.inputs] == [f"features/mnist/{name}" for name in networks]
    arrays = []
    for name in networks:
        with h5py.File(tiny / f"results/tiny/features/mnist/{name}/test.h5") as file:
            arrays.append(file["features"][0].astype(np.float64))
    for i, x in enumerate(arrays):
        for j, y in enumerate(arrays):
            first = [[of - of.mean(0) for of in pair] for pair in ((x, y), (x, x), (y, y))]
            biased = [float(((a.T @ b) ** 2).sum()) for a, b in first]
            assert facts["biased_cka"][i][j] == pytest.approx(cka(*biased), abs=1e-10)
            assert facts["cka"][i][j] == facts["cka"][j][i]
            assert facts["cka"][i][j] == pytest.approx(block_cka(x, y, 5000)[1], abs=1e-10)
    assert np.diag(facts["cka"]).tolist() == [1] * 5 and 0 < np.min(facts["cka"]) < 0.9


def test_a_picture_has_the_values_and_the_names(tiny: Path) -> None:
    text = (tiny / "results/tiny/figures/similarity.svg").read_text()
    card = read_card(tiny / "results/tiny/similarities/mnist/similarity.json")
    for words in ("ERM 0", "WIDE2 0", "ERM fine-tuned 1", "mnist, 4,700 test images"):
        assert f">{words}</text>" in text, words
    for value in np.triu(card.facts["cka"], 1).flatten():
        assert value == 0 or f">{value:.2f}</text>".replace(">0.", ">.") in text
    assert text.count(">1</text>") == 5 and "<image" not in text


def written(folder: Path, name: str, values: Array, labels: npt.NDArray[np.int64]) -> Card:
    """A card of features, and their file."""
    path = folder / f"features/made/{name}/test.h5"
    path.parent.mkdir(parents=True)
    create(path, (1, *values.shape), "float16", labels)
    with h5py.File(path, "r+") as file:
        file["features"][0] = values
    facts = {"digests": {"test": file_digest(path)}, "feature_dim": values.shape[1]}
    settings = Extract(NATIVE, PaddedCrop(mean=0.0, std=1.0, pad=0, flip=False), Features(1, "float16", "float32", 1))
    Job("extract", settings, (), path.parent.with_suffix(".json")).write_card("d", facts)
    return read_card(path.parent.with_suffix(".json"))


def call(folder: Path, cards: list[Card]) -> dict[str, Any]:
    return jobs.run("similarity", {}, cards, folder / "similarities/made/all.json").facts


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    labels = np.arange(30) % 3
    x, y = features(30, 4, 6)
    cards = [written(tmp_path, name, of, labels) for name, of in (("a", x), ("b", y))]
    assert call(tmp_path, cards)["images"] == 30
    with pytest.raises(UserError, match=r"features/made/c\.json: its images are not those of .*a\.json"):
        call(tmp_path, [*cards, written(tmp_path, "c", y, labels[::-1].copy())])
    with pytest.raises(UserError, match=r"d\.json: the features of its test images do not vary"):
        call(tmp_path, [*cards, written(tmp_path, "d", np.ones((30, 4)), labels)])
    few = [written(tmp_path, name, of[:3], labels[:3]) for name, of in (("e", x), ("f", y))]
    with pytest.raises(UserError, match="3 test images; must be 4 or more"):
        call(tmp_path, few)
    with h5py.File(tmp_path / "features/made/b/test.h5", "r+") as file:
        file["features"][0, 0, 0] += 1
    with pytest.raises(UserError, match=r"b/test\.h5: altered since .*; to rebuild it: rm -f"):
        call(tmp_path, cards)


def test_memory_does_not_grow_with_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "BLOCK", 2**19)
    peaks = []
    for count in (20_000, 200_000):
        folder = tmp_path / str(count)
        labels = np.zeros(count, np.int64)
        cards = [written(folder, name, of, labels) for name, of in zip("ab", features(count, 8, 8), strict=True)]
        opened = similarity.opened(cards)
        tracemalloc.start()
        similarity.matrices(cards, opened)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 20_000 * 8 * 8 * 3
