"""The two selection rules: which images they train on, and which of two candidates is the better."""

import subprocess
import sys

import numpy as np
import pytest

from rrl.errors import UserError
from rrl.selection import (
    SELECTED_ON,
    Best,
    first_of_each_class,
    rules_by_training,
    training_count,
    training_splits,
)
from tests.helpers.clones import CLONE


def test_more_correct_images_win_then_the_lower_loss_then_the_earlier() -> None:
    best = Best()
    assert [best.offer(*score) for score in [(0, 9.0), (0, 9.0), (0, 8.0), (2, 10.0), (1, 0.0), (2, 10.0)]] == [
        True, False, True, True, False, False,
    ]  # fmt: skip
    assert (best.correct, best.loss) == (2, 10.0)


def test_shots_are_the_first_images_of_each_class() -> None:
    labels = np.array([1, 0, 0, 1, 1, 0])
    assert first_of_each_class(labels, 2).tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError, match="class 0: found 3 training images, shots needs 4"):
        first_of_each_class(labels, 4)


def test_no_rule_but_paper_sees_test_or_trains_on_val() -> None:
    assert SELECTED_ON == {"heldout": "val", "paper": "test"}
    assert training_splits("paper", "all") == ["train", "val"]
    assert [training_splits(*of) for of in (("heldout", "all"), ("heldout", 5), ("paper", 5))] == [["train"]] * 3
    assert rules_by_training("all") == [["heldout"], ["paper"]] and rules_by_training(5) == [["heldout", "paper"]]


def test_the_number_of_training_images() -> None:
    counts = {"train": 100, "val": 30, "test": 50}
    assert [training_count(rule, "all", counts, 7) for rule in SELECTED_ON] == [100, 130]
    assert [training_count(rule, 5, counts, 7) for rule in SELECTED_ON] == [35, 35]


def test_torch_is_not_needed() -> None:
    words = "import sys, rrl.selection; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], cwd=CLONE).returncode == 0
