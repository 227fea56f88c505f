"""Fine-tuning, two-stage fine-tuning and their controls: units, and the tiny experiment's results recomputed."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rrl.config.runs import Run, setting_name
from rrl.config.settings import FirstStage, PaddedCrop
from rrl.data.images import Split, join, load_split
from rrl.errors import UserError
from rrl.heads.stage_one import averaged_head, stage_one
from rrl.heads.sweep import Heads, logits
from rrl.job import Card, read_card
from rrl.networks.stored_networks import load_trunk
from rrl.networks.trunks import JointTrunk, Network, build_trunk
from rrl.selection import training_images
from rrl.stages.averaged_head import cross_entropy as cross_entropy_without_torch
from rrl.stages.finetune import BestEpoch, Evaluation
from rrl.store.files import read_json
from rrl.store.logits import read_logits
from rrl.store.read_features import read_split
from rrl.training.batches import plain_batches, step_batches

torch.set_num_threads(1)
CPU = torch.device("cpu")
PLAIN = PaddedCrop(0.0, 1.0, 0, False)
SETTING = "heldout-lr0.1-wd0.0005-e2"
SELECTED = FirstStage(0.1, 5e-4, 2, "heldout", 10)


def made_up(count: int, classes: int = 4) -> Split:
    random = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int64) % classes
    images = random.integers(0, 120, (count, 28, 28), dtype=np.uint8)
    images[np.arange(count), labels * 5] += 120  # a row of each class is bright
    return Split(images, labels)


def test_settings_are_named_by_their_numbers() -> None:
    assert setting_name(0.01, 1e-4, 100) == "lr0.01-wd0.0001-e100"
    assert setting_name(1.0, 0.0, 5) == "lr1-wd0-e5"
    assert setting_name(5e-3, 1e-6, 50) == setting_name(0.005, 0.000001, 50) == "lr0.005-wd0.000001-e50"
    assert Run("cat4", "mnist", "heldout", "lr1-wd0-e5").name == "cat4.mnist.heldout-lr1-wd0-e5"


def test_rules_train_on_their_images() -> None:
    whole = made_up(24)
    splits = {"train": Split(whole.images[:16], whole.labels[:16]), "val": Split(whole.images[16:], whole.labels[16:])}

    def images(rule: str, shots: int | str) -> Split:
        return training_images(splits, rule, shots, lambda *parts: join(parts))

    assert len(images("heldout", "all").labels) == 16
    assert len(images("paper", "all").labels) == 24
    for rule in ("heldout", "paper"):
        few = images(rule, 2)
        assert few.labels.tolist() == [0, 1, 2, 3] * 2 and np.array_equal(few.images, whole.images[:8])
    with pytest.raises(UserError, match="class 0: found 4 training images, shots needs 5"):
        images("heldout", 5)


def flat(lists: list[list[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(lists))


def test_an_epoch_of_steps_goes_on_where_the_last_one_stopped() -> None:
    data = Split(made_up(10).images, np.arange(10))
    passes = [[labels.tolist() for _, labels in step_batches(data, PLAIN, 4, 7, number, 3)] for number in range(4)]
    assert all(sorted(flat(batches)) == list(range(10)) for batches in passes)  # three steps are one pass
    fives = [[labels.tolist() for _, labels in step_batches(data, PLAIN, 4, 7, number, 5)] for number in range(2)]
    assert flat(fives) == flat(passes)[:10]


def test_the_state_of_the_best_epoch_is_remembered() -> None:
    data = made_up(8)
    torch.manual_seed(0)
    network = Network(build_trunk("resnet8"), 4)
    best = BestEpoch(network, data, Evaluation(PLAIN, 3, CPU))
    for epoch, label in enumerate((0, 1, 2)):  # predicts one class, 2 of 8; the losses differ
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.bias.copy_(torch.eye(4)[label] * (3, 1, 2)[epoch])
        best(epoch)
    assert best.top1 == [0.25] * 3 and best.epoch == 1 and best.loss[1] == min(best.loss)
    assert best.tensors["head.bias"].tolist() == [0, 1, 0, 0]


def test_evaluation_counts_each_image_once_and_does_not_move_batch_norm() -> None:
    data = made_up(10)
    network = Network(build_trunk("resnet8"), 4).train()
    before = network.trunk.bn.running_mean.clone()
    found = Evaluation(PLAIN, 4, CPU).logits(network, data)
    ((images, labels),) = plain_batches(data, PLAIN, 10)
    torch.testing.assert_close(found, network.eval()(images), atol=1e-5, rtol=1e-5)
    assert labels.tolist() == data.labels.tolist() and torch.equal(before, network.trunk.bn.running_mean)


def test_cross_entropy_without_torch() -> None:
    scores = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32) * 30
    labels = np.arange(20) % 5
    expected = cross_entropy(torch.from_numpy(scores).double(), torch.from_numpy(labels))
    assert cross_entropy_without_torch(scores, labels) == pytest.approx(float(expected), rel=1e-6)


def card(tiny: Path, artifact: str) -> Card:
    return read_card(tiny / f"results/tiny/{artifact}.json")


def fine_tuned(tiny: Path) -> list[Card]:
    return [card(tiny, f"networks/erm-s{seed}.mnist.{SETTING}") for seed in (0, 1)]


def whole_network(of: Card) -> Network:
    """The fine-tuned network as one module, from its file."""
    trunk = load_trunk(of, PLAIN)
    weight, bias = averaged_head([of])  # of one network: its head
    network = Network(trunk, len(bias))
    network.head.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return network.eval()


def test_before_training_two_stage_logits_are_the_mean_of_the_members_logits(tiny: Path) -> None:
    """On images through whole networks in float32, and on the cached features that the second stage trains on."""
    networks = fine_tuned(tiny)
    images = load_split(card(tiny, "targets/mnist"), "val", tiny / "data")
    evaluation = Evaluation(PaddedCrop(0.286, 0.353, 2, True), 250, CPU)
    mean = torch.stack([evaluation.logits(whole_network(network), images) for network in networks]).mean(0)
    features = torch.cat([evaluation.logits(load_trunk(network, PLAIN), images) for network in networks], dim=1)
    weight, bias = (torch.from_numpy(part) for part in averaged_head(networks))
    heads = Heads.create(weight, bias, 1, batch_norm=False)
    torch.testing.assert_close(logits(heads, features)[:, 0], mean, atol=1e-5, rtol=0)

    (start,) = stage_one([card(tiny, f"representations/mnist/cat2.{SETTING}")], networks, [SELECTED])
    cached = torch.from_numpy(read_split(start.representation, "val")[0][0]).float()
    alone = [
        whole_network(network).head(torch.from_numpy(read_split_of_network(tiny, network, "val")).float())
        for network in networks
    ]
    torch.testing.assert_close(logits(heads, cached)[:, 0], torch.stack(alone).mean(0), atol=1e-5, rtol=0)


def read_split_of_network(tiny: Path, network: Card, split: str) -> Any:
    """Cached plain features (N, D) of one network on mnist."""
    import h5py

    name = network.artifact.removeprefix("networks/")
    with h5py.File(tiny / f"results/tiny/features/mnist/{name}/{split}.h5") as file:
        return file["features"][0]


def test_averaged_heads_are_recorded_as_they_are(tiny: Path) -> None:
    record = card(tiny, "records/mnist/cat2/averaged_head")
    scores, labels = read_logits(tiny / "results/tiny/logits/mnist/cat2/averaged_head.h5", record)
    networks = fine_tuned(tiny)
    weight, bias = averaged_head(networks)
    features = np.concatenate([read_split_of_network(tiny, network, "test") for network in networks], axis=1)
    expected = features.astype(np.float32) @ weight.T + bias
    np.testing.assert_allclose(scores["10/heldout"]["test"], expected, atol=1e-5)
    entry = record.facts["results"][0]
    assert entry["top1"] == (expected.argmax(1) == labels["test"]).mean()
    assert record.facts["members"] == ["erm-s0", "erm-s1"] and record.facts["seeds"] == [0, 1]


def test_the_ensemble_of_fine_tuned_networks_is_the_mean_of_their_logits(tiny: Path) -> None:
    root = tiny / "results/tiny"
    record = card(tiny, "records/mnist/cat2/ensemble_finetune")
    assert (record.facts["transfer"], record.facts["of"]) == ("ensemble", "finetune")
    scores, _ = read_logits(root / "logits/mnist/cat2/ensemble_finetune.h5", record)
    alone = [
        read_logits(root / f"logits/mnist/erm-s{seed}/finetune.h5", card(tiny, f"records/mnist/erm-s{seed}/finetune"))[
            0
        ]
        for seed in (0, 1)
    ]
    for rule in ("10/heldout", "10/paper"):
        mean = (alone[0][rule]["test"].astype(np.float64) + alone[1][rule]["test"]) / 2
        np.testing.assert_allclose(scores[rule]["test"], mean, rtol=1e-6)


def test_a_record_of_fine_tuning_has_every_setting_and_the_best_one_picked(tiny: Path) -> None:
    record = card(tiny, "records/mnist/cat2/finetune")
    assert [entry["selection"] for entry in record.facts["results"]] == ["heldout", "paper"]
    for entry in record.facts["results"]:
        runs = [
            read_json(tiny / f"results/tiny/finetuned/cat2.mnist.{entry['selection']}-lr{rate}-wd0.0005-e2.json")
            for rate in ("0.05", "0.1")
        ]
        results = [run["facts"]["result"] for run in runs]
        assert entry["grid"] == [result["grid"][0] for result in results]
        assert [row["learning_rate"] for row in entry["grid"]] == [0.05, 0.1]
        best = max(results, key=lambda result: max(result["grid"][0]["top1"]))
        assert max(best["grid"][0]["top1"]) == max(max(row["top1"]) for row in entry["grid"])
        assert entry["selected_on"] == {"heldout": "val", "paper": "test"}[entry["selection"]]
        assert entry["n_train"] == 100
        if entry["selection"] == "paper":
            assert entry["top1"] == pytest.approx(max(max(row["top1"]) for row in entry["grid"]), abs=1e-6)


def test_two_stage_has_the_weight_decay_of_its_first_stage(tiny: Path) -> None:
    record = card(tiny, "records/mnist/cat2/two_stage")
    for entry in record.facts["results"]:
        assert [row["weight_decay"] for row in entry["grid"]] == [5e-4]
        assert entry["selected"]["stage_one"] == {"learning_rate": 0.1, "weight_decay": 5e-4, "epochs": 2}
    assert [source["artifact"] for source in record.inputs] == [
        f"representations/mnist/cat2.{rule}-lr0.1-wd0.0005-e2" for rule in ("heldout", "paper")
    ] + [
        f"networks/erm-s{seed}.mnist.{rule}-lr0.1-wd0.0005-e2" for rule in ("heldout", "paper") for seed in (0, 1)
    ]  # fmt: skip


def test_weights_are_kept_for_the_settings_of_two_stage_only(tiny: Path) -> None:
    kept = {path.stem for path in (tiny / "results/tiny/networks").glob("*.mnist.*.safetensors")}
    assert kept == {f"erm-s{seed}.mnist.{rule}-lr0.1-wd0.0005-e2" for seed in (0, 1) for rule in ("heldout", "paper")}


def test_a_representation_is_fine_tuned_as_one_model(tiny: Path) -> None:
    """Weights of all members move; the record counts their parameters."""
    run = card(tiny, f"finetuned/cat2.mnist.{SETTING}")
    assert run.facts["subject"]["parameters"] == 2 * 19_480 and run.facts["subject"]["feature_dim"] == 64
    assert [source["artifact"] for source in run.inputs] == ["targets/mnist", "networks/erm-s0", "networks/erm-s1"]
    trunks = [load_trunk(card(tiny, f"networks/erm-s{seed}"), PLAIN) for seed in (0, 1)]
    network = Network(JointTrunk(trunks), 10)
    nn.functional.cross_entropy(network(torch.rand(4, 1, 28, 28)), torch.arange(4)).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_heads_of_other_networks_are_refused(tiny: Path) -> None:
    networks = fine_tuned(tiny)
    with pytest.raises(UserError, match=r"--inputs: found networks .*erm-s1.*has members .*erm-s0"):
        list(stage_one([card(tiny, f"representations/mnist/cat2.{SETTING}")], networks[::-1], [SELECTED]))


def test_the_figure_has_its_text_and_points_and_is_the_same_each_time(tiny: Path) -> None:
    text = (tiny / "results/tiny/figures/accuracy.svg").read_text()
    for words in ("CATn two-stage", "CATn^sub", "WIDE2", "Linear probing: mnist, 10 images per class", "20k", "50k"):
        assert words in text, words
    picture = (tiny / "results/tiny/figures/accuracy.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
    facts = json.loads((tiny / "results/tiny/figures/accuracy.json").read_text())["facts"]
    assert "records/mnist/cat2/two_stage" in facts["records"]
