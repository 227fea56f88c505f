"""The workflow on the tiny experiment: what its records tell."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rrl.job import read_card
from tests.helpers.clones import duplicate, planned_jobs, snakemake


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


def test_a_deleted_record_is_made_again(tiny: Path) -> None:
    path = tiny / "results/tiny/records/mnist/cat2/ensemble.json"
    text = path.read_text()
    path.unlink()
    assert planned_jobs(tiny) == {"ensemble": 1, "collect": 1, "table": 1, "figure": 3}
    snakemake(tiny)
    assert path.read_text() == text


def test_records_csv_has_a_row_for_every_record_shots_and_selection(tiny: Path) -> None:
    frame = pd.read_csv(tiny / "results/tiny/records.csv")
    assert set(frame["method"]) == {"RANDOM", "ERM", "WIDE2", "CAT2"}
    # 5 representations probed and 2 as ensembles; all, 5 and 10 shots; two rules
    probing = frame[(frame["transfer"] == "linear_probe") | (frame["of"] == "linear_probe")]
    assert len(probing) == 7 * 3 * 2
    # 3 representations fine-tuned; one as an ensemble, with averaged heads, in two stages; two rules
    finetuned = frame.drop(probing.index)
    assert sorted(finetuned["transfer"]) == sorted((["finetune"] * 3 + ["ensemble", "averaged_head", "two_stage"]) * 2)
    for row in frame.itertuples():
        facts = read_card(tiny / "results/tiny" / row.record).facts
        assert row.top1 in [entry["top1"] for entry in facts["results"] if str(entry["shots"]) == row.shots]
    assert frame["top1"].between(0, 1).all()
    row = frame[(frame["representation"] == "cat2") & (frame["transfer"] == "linear_probe")].iloc[0]
    assert (row["parameters"], row["feature_dim"], row["seeds"]) == (2 * 19_480, 64, "0+1")
    assert set(frame[frame["target"] == "mnist"]["n_test"]) == {4700}


def test_a_record_tells_everything_behind_a_number(tiny: Path) -> None:
    record = read_card(tiny / "results/tiny/records/mnist/cat2/linear_probe.json")
    assert record.facts["members"] == ["erm-s0", "erm-s1"]
    assert [(entry["shots"], entry["selection"]) for entry in record.facts["results"]] == [
        (5, "heldout"), (5, "paper"), (10, "heldout"), (10, "paper"),
    ]  # fmt: skip
    for entry in record.facts["results"]:
        assert [setting["weight_decay"] for setting in entry["grid"]] == [0.0, 0.01]
        assert all(len(setting["top1"]) == len(setting["loss"]) == 2 for setting in entry["grid"])
        assert entry["n_train"] == 10 * entry["shots"]
    representation = read_card(tiny / "results/tiny/representations/mnist/cat2.json")
    assert record.inputs == [
        {"artifact": representation.artifact, "key": representation.key, "digest": representation.digest}
    ]


def test_config_values_reach_the_card_as_numbers(tiny: Path) -> None:
    config = yaml.safe_load((tiny / "workflow/config/tiny.yaml").read_text())
    settings = json.loads((tiny / "results/tiny/networks/erm-s1.json").read_text())["settings"]
    assert settings["seed"] == 1
    assert settings["recipe"] == config["recipes"]["erm"]
