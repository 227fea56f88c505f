"""The search for the networks to concatenate, on features made up so that the answer is known, and against plain loops."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rrl.cli.show import card_of, describe, lines
from rrl.config.settings import HeadTraining, Probe
from rrl.differences import compare_records
from rrl.errors import UserError
from rrl.heads.cached import Data
from rrl.heads.picking import Selection
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.job import Card, read_card
from rrl.library import SCHEDULE
from rrl.library import probe as library_probe
from rrl.store.logits import read_logits
from rrl.store.members import SPLITS, parse_member
from tests.helpers import jobs
from tests.helpers.made_up import CLASSES, COUNTS, LABELS, NETWORKS, Arrays, network, represented

torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
TRAINING = HeadTraining(
    epochs=6, steps_per_epoch=0, batch_size=32, momentum=0.9, nesterov=True, schedule=SCHEDULE, seed=0
)
GRID: dict[str, list[float]] = {"learning_rates": [0.02, 0.1], "weight_decays": [0.0, 0.01, 0.1]}
SETTINGS = [Setting(rate, decay) for rate in GRID["learning_rates"] for decay in GRID["weight_decays"]]


# Made-up networks


def searched(
    root: Path, representation: Path, shots: list[int | str], solver: str = "best_subset", **changes: Any
) -> Card:
    probe = Probe(**{**GRID, **vars(TRAINING), "batch_norm": True, **changes})
    output = root / f"records/made-up/{representation.stem}/{solver}.json"
    return jobs.run("probe", {"solver": solver, "shots": shots, "probe": probe}, [read_card(representation)], output)


def search(root: Path, networks: dict[str, Arrays], shots: list[int | str], **more: Any) -> Card:
    return searched(root, represented(root, networks, **more), shots)


# The same by plain loops


def first_of_each(labels: np.ndarray[Any, Any], shots: int | str) -> list[int]:
    if shots == "all":
        return list(range(len(labels)))
    taken: dict[int, int] = {}
    positions = []
    for position, label in enumerate(labels.tolist()):
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= shots:  # type: ignore[operator]
            positions.append(position)
    return positions


def side_by_side(networks: dict[str, Arrays], names: list[str], split: str) -> np.ndarray[Any, Any]:
    columns = []
    for name in names:
        member = parse_member(name)
        columns.append(networks[member.network][split][:, :, slice(*(member.columns or (None,)))])
    return np.concatenate(columns, axis=2)


def plain_probe(networks: dict[str, Arrays], names: list[str], shots: int | str) -> Selection:
    chosen = first_of_each(LABELS["train"], shots)
    train = Data(
        torch.from_numpy(side_by_side(networks, names, "train")[:, chosen]), torch.from_numpy(LABELS["train"][chosen])
    )
    val = Data(torch.from_numpy(side_by_side(networks, names, "val")), torch.from_numpy(LABELS["val"]))
    head = initial_head(CLASSES, train.features.shape[2], TRAINING.seed)
    return train_heads(head, train, {"val": val}, ["heldout"], SETTINGS, TRAINING, True)[0]["heldout"]


def plain_search(networks: dict[str, Arrays], names: list[str], shots: int | str) -> list[tuple[list[str], Selection]]:
    """The best set of each size, greedily."""
    path: list[tuple[list[str], Selection]] = []
    chosen: list[str] = []
    for _ in names:
        best_name, best = "", None
        for name in names:
            if name in chosen:
                continue
            found = plain_probe(networks, [*chosen, name], shots)
            if best is None or found.best.correct > best.best.correct or (
                found.best.correct == best.best.correct and found.best.loss < best.best.loss
            ):  # fmt: skip
                best_name, best = name, found
        assert best is not None
        chosen = [*chosen, best_name]
        path.append((chosen, best))
    return path


def picked(path: list[tuple[list[str], Selection]]) -> tuple[list[str], Selection]:
    best = path[0]
    for step in path[1:]:
        if (step[1].best.correct, -step[1].best.loss) > (best[1].best.correct, -best[1].best.loss):
            best = step
    return best


def row(names: list[str], selection: Selection) -> dict[str, Any]:
    return {
        "members": names,
        "learning_rate": SETTINGS[selection.setting].learning_rate,
        "weight_decay": SETTINGS[selection.setting].weight_decay,
        "epoch": selection.epoch + 1,
        "val_top1": round(selection.best.correct / COUNTS["val"], 6),
        "val_loss": round(selection.best.loss, 6),
    }


def entry(record: Card, shots: int | str = "all") -> dict[str, Any]:
    (found,) = [entry for entry in record.facts["results"] if entry["shots"] == shots]
    return dict(found)


# What it finds


def test_networks_that_complete_each_other_are_picked_and_a_useless_one_is_not(tmp_path: Path) -> None:
    record = search(tmp_path, NETWORKS, ["all"])
    found = entry(record)
    assert found["selected"]["members"] == ["first-s0", "second-s0"]
    assert [len(step["members"]) for step in found["grid"]] == [1, 2, 3, 4]
    alone, together = found["grid"][0], found["grid"][1]
    assert together["val_top1"] > 0.8 > 0.6 > alone["val_top1"]
    assert found["selected"] == together and found["top1"] > 0.75


RANDOM = {f"net{number}-s0": network(10 + number, 2 + number, *strength) for number, strength in enumerate(
    [(0.6, 0.0), (0.0, 0.9), (0.5, 0.4), (0.9, 0.1), (0.0, 0.0)]
)}  # fmt: skip


@pytest.mark.parametrize("shots", ["all", 20, 5])
@pytest.mark.parametrize("networks", [NETWORKS, RANDOM], ids=["made-up", "random"])
def test_the_search_is_that_of_plain_loops(tmp_path: Path, networks: dict[str, Arrays], shots: int | str) -> None:
    found = entry(search(tmp_path, networks, [shots]), shots)
    path = plain_search(networks, list(networks), shots)
    assert found["grid"] == [row(*step) for step in path]
    assert found["selected"] == row(*picked(path))
    assert (found["n_train"], found["n_val"], found["n_test"]) == (
        COUNTS["train"] if shots == "all" else CLASSES * int(shots), COUNTS["val"], COUNTS["test"],
    )  # fmt: skip


def test_the_greedy_path_is_the_best_set_where_all_are_tried(tmp_path: Path) -> None:
    """Not always so; on the made-up networks it is, over all 15 sets in the order of the search."""
    found = entry(search(tmp_path, NETWORKS, ["all"]))
    sets = [list(names) for size in range(1, 5) for names in itertools.combinations(NETWORKS, size)]
    counts = {tuple(names): plain_probe(NETWORKS, names, "all").best.correct for names in sets}
    assert set(max(counts, key=lambda names: counts[names])) == set(found["selected"]["members"])


def test_the_probe_of_the_picked_set_is_that_of_the_library(tmp_path: Path) -> None:
    """rrl.library.probe on the arrays side by side: accuracy, setting, epoch and logits."""
    record = search(tmp_path, NETWORKS, ["all"])
    found = entry(record)
    names = found["selected"]["members"]
    parts = [(side_by_side(NETWORKS, names, split)[0], LABELS[split]) for split in SPLITS]
    expected = library_probe(*parts, **GRID, epochs=TRAINING.epochs, batch_size=TRAINING.batch_size)
    assert (found["top1"], found["val_top1"]) == (expected.top1, expected.val_top1)
    assert found["selected"] == {
        "members": names, "learning_rate": expected.learning_rate, "weight_decay": expected.weight_decay,
        "epoch": expected.epoch, "val_top1": round(expected.val_top1, 6), "val_loss": found["selected"]["val_loss"],
    }  # fmt: skip
    scores, labels = read_logits(tmp_path / "logits/made-up/all/best_subset.h5", record)
    assert list(scores) == ["all/heldout"] and labels["test"].tolist() == LABELS["test"].tolist()
    np.testing.assert_allclose(scores["all/heldout"]["test"], expected.logits, atol=1e-6)
    assert (scores["all/heldout"]["test"].argmax(1) == LABELS["test"]).mean() == found["top1"]
    assert (scores["all/heldout"]["val"].argmax(1) == LABELS["val"]).mean() == found["val_top1"]


def test_one_network_that_is_best_alone_is_picked_alone(tmp_path: Path) -> None:
    networks = {"useless-s0": network(0, 8), "good-s0": network(21, 6, 2.5, 2.5), "useless-s1": network(22, 8)}
    record = search(tmp_path, networks, ["all"])
    assert entry(record)["selected"]["members"] == ["good-s0"]
    assert (record.facts["parameters"], record.facts["feature_dim"]) == (200, 6)


@pytest.mark.parametrize("order", [("first-s0", "copy-s0"), ("copy-s0", "first-s0")])
def test_of_equals_the_first_is_taken(tmp_path: Path, order: tuple[str, str]) -> None:
    same = NETWORKS["first-s0"]
    record = search(tmp_path, dict.fromkeys(order, same) | {"useless-s0": NETWORKS["useless-s0"]}, ["all", 5])
    for shots in ("all", 5):
        assert entry(record, shots)["grid"][0]["members"] == [order[0]]


def test_of_sets_that_are_equally_good_the_first_and_smallest_is_taken(tmp_path: Path) -> None:
    """Features that are all zero leave the bias alone to be trained: every set gives the very same logits."""
    zeros = {split: np.zeros((1, count, 2), np.float32) for split, count in COUNTS.items()}
    names = ["b-s0", "a-s0", "c-s0"]
    representation = represented(tmp_path, dict.fromkeys(names, zeros))
    record = searched(tmp_path, representation, ["all"], batch_norm=False)
    steps = entry(record)["grid"]
    assert [step["members"] for step in steps] == [names[:1], names[:2], names]
    assert len({step["val_loss"] for step in steps}) == 1
    assert entry(record)["selected"]["members"] == record.facts["members"] == names[:1]


def test_a_network_and_its_copies_are_searched_as_by_plain_loops(tmp_path: Path) -> None:
    """Copies that stand in another place are given other initial weights, and so may help or not."""
    networks = {"first-s0": NETWORKS["first-s0"], "copy-s0": NETWORKS["first-s0"], "second-s0": NETWORKS["second-s0"]}
    found = entry(search(tmp_path, networks, ["all"]))
    assert found["grid"] == [row(*step) for step in plain_search(networks, list(networks), "all")]
    assert {"first-s0", "second-s0"} <= set(found["selected"]["members"])


# Test


def test_test_images_have_no_say_in_what_is_picked(tmp_path: Path) -> None:
    """With other labels of test, and with other features of test, the search is the same; the accuracy is not."""
    before = entry(search(tmp_path / "a", RANDOM, ["all", 5]))
    others = LABELS | {"test": np.random.default_rng(9).permutation(LABELS["test"])}
    permuted = entry(search(tmp_path / "b", RANDOM, ["all", 5], labels=others))
    noise = {name: features | {"test": features["test"] * 0} for name, features in RANDOM.items()}
    blind = entry(search(tmp_path / "c", noise, ["all", 5]))
    for after in (permuted, blind):
        assert (after["selected"], after["grid"], after["val_top1"]) == (
            before["selected"], before["grid"], before["val_top1"],
        )  # fmt: skip
    assert len({before["top1"], permuted["top1"], blind["top1"]}) == 3


# The record


def test_the_record_is_of_the_picked_networks_alone(tmp_path: Path) -> None:
    record = search(tmp_path, NETWORKS, ["all"])
    facts = record.facts
    assert (facts["target"], facts["representation"], facts["transfer"], facts["of"]) == (
        "made-up",
        "all",
        "linear_probe",
        None,
    )
    assert facts["members"] == ["first-s0", "second-s0"] and facts["seeds"] == [2, 3]
    assert facts["parameters"] == 200 + 300 and facts["feature_dim"] == 3 + 4
    found = entry(record)
    assert (found["selection"], found["selected_on"]) == ("heldout", "val")
    (kept,) = record.inputs
    assert kept["artifact"] == "representations/made-up/all"
    assert record.settings["shots"] == ["all"] and record.settings["solver"] == "best_subset"
    run = json.loads((tmp_path / "records/made-up/all/best_subset.run.json").read_text())
    assert run["seconds"] >= 0 and "torch" in run["libraries"]


def test_with_several_shots_the_record_is_of_all_that_were_picked(tmp_path: Path) -> None:
    record = search(tmp_path, RANDOM, ["all", 20, 3])
    sets = [entry(record, shots)["selected"]["members"] for shots in ("all", 20, 3)]
    assert len({frozenset(names) for names in sets}) > 1  # else this test shows nothing
    together = [name for name in RANDOM if any(name in names for names in sets)]
    assert record.facts["members"] == together
    numbers = [1 + list(RANDOM).index(name) for name in together]
    assert record.facts["seeds"] == numbers and record.facts["parameters"] == 100 * sum(numbers)
    assert record.facts["feature_dim"] == sum(1 + number for number in numbers)
    for shots in ("all", 20, 3):  # each search is its own
        alone = search(tmp_path / str(shots), RANDOM, [shots])
        assert entry(alone, shots) == entry(record, shots)


def test_column_ranges_are_members_like_networks(tmp_path: Path) -> None:
    """Parameters and seeds of a network count once, however many ranges of it are picked."""
    wide = {split: np.concatenate([NETWORKS[name][split] for name in ("useless-s0", "first-s0", "second-s0")], axis=2)
            for split in SPLITS}  # fmt: skip
    networks = {"noise-s0": NETWORKS["noise-s0"], "wide-s0": wide}
    members = ["noise-s0", "wide-s0[0:30]", "wide-s0[30:33]", "wide-s0[33:37]"]
    record = search(tmp_path, networks, ["all"], members=members)
    found = entry(record)
    assert found["grid"] == [row(*step) for step in plain_search(networks, members, "all")]
    assert found["selected"]["members"] == ["wide-s0[30:33]", "wide-s0[33:37]"] == record.facts["members"]
    assert (record.facts["parameters"], record.facts["seeds"], record.facts["feature_dim"]) == (200, [2], 7)
    whole = entry(search(tmp_path / "whole", NETWORKS, ["all"]))
    assert found["top1"] == whole["top1"] and found["selected"]["val_loss"] == whole["selected"]["val_loss"]


def test_views_of_train_are_taken_in_turn(tmp_path: Path) -> None:
    """val has a plain view in front of its augmented ones; the pick is on that."""
    networks = {f"net{seed}-s0": network(30 + seed, 4, 0.8 * seed, 1.0, views=2) for seed in range(3)}
    found = entry(search(tmp_path, networks, ["all"]))
    assert found["grid"] == [row(*step) for step in plain_search(networks, list(networks), "all")]


def test_two_searches_give_the_same_bytes(tmp_path: Path) -> None:
    content = []
    for folder in ("a", "b"):
        search(tmp_path / folder, RANDOM, ["all", 5])
        content.append((tmp_path / folder / "records/made-up/all/best_subset.json").read_bytes())
    assert content[0] == content[1]


def test_the_record_is_read_as_others_are(tmp_path: Path) -> None:
    """By rrl show and rrl compare-records, against the probe of all networks."""
    representation = represented(tmp_path, NETWORKS)
    record = searched(tmp_path, representation, ["all"])
    both = searched(tmp_path, representation, ["all"], solver="sgd")
    assert entry_of(both, "heldout")["val_top1"] <= entry(record)["val_top1"]
    (compared,) = [one for one in compare_records(record, [both]) if one["selection"] == "heldout"]
    assert compared["difference"] == pytest.approx(entry(record)["top1"] - entry_of(both, "heldout")["top1"])
    shown = "\n".join(lines(describe(card_of(tmp_path / "logits/made-up/all/best_subset.h5"))))
    assert "made by rrl.stages.probe" in shown and "members [first-s0, second-s0]" in shown
    assert "from features/made-up/second-s0" in shown


def entry_of(record: Card, rule: str) -> dict[str, Any]:
    (found,) = [entry for entry in record.facts["results"] if entry["selection"] == rule]
    return dict(found)


# Refusals


def test_more_shots_than_images_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="class 0: found 40 training images, shots needs 41"):
        search(tmp_path, NETWORKS, [41])


def test_a_batch_of_one_image_is_one_message(tmp_path: Path) -> None:
    representation = represented(tmp_path, NETWORKS)
    with pytest.raises(UserError, match="160 images in batches of 53 leave a batch of one image"):
        searched(tmp_path, representation, ["all"], batch_size=53)
    assert not (tmp_path / "records").exists() and not list((tmp_path / "logits").rglob("*.h5*"))


def test_a_setting_that_runs_away_is_one_message(tmp_path: Path) -> None:
    representation = represented(tmp_path, NETWORKS)
    with pytest.raises(UserError, match="the loss of Setting.* is not finite; remove it from the grid"):
        searched(tmp_path, representation, ["all"], learning_rates=[1e20])


def test_features_that_are_not_what_they_were_are_refused(tmp_path: Path) -> None:
    representation = represented(tmp_path, NETWORKS)
    (tmp_path / "features/made-up/noise-s0/val.h5").unlink()
    with pytest.raises(UserError, match=r"noise-s0/val\.h5: missing or unreadable"):
        searched(tmp_path, representation, ["all"])
