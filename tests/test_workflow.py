"""The workflow on the tiny experiment: what reruns, that it is reproducible, and what it refuses."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import copy_clone, edited, planned_jobs, run_snakemake, snakemake

from rrl.provenance import read_card

TABLES = {"collect": 1, "table": 1, "figure": 1}
DOWNSTREAM_OF_PROBES = {"ensemble": 4, **TABLES}


def test_nothing_reruns_after_a_run(tiny: Path) -> None:
    assert "Nothing to be done" in snakemake(tiny, options=("--dry-run",))


@pytest.mark.parametrize(
    "change",
    [
        ("rrl/heads.py", "HEAD_STD = 0.01", "# why\nHEAD_STD = 0.01"),
        ("rrl/probe.py", '"""Stage `probe`: linear', '"""Another docstring: linear'),
        ("rrl/sweep.py", "EPSILON = 1e-5", "EPSILON = (\n    1e-5\n)"),
        ("workflow/rules/probe.smk", "threads: 1", "threads: 2"),
        ("workflow/rules/probe.smk", "/logs/probe/", "/logs/probes/"),
        ("workflow/config/tiny.yaml", "# The smallest", "# Still the smallest"),
    ],
    ids=lambda change: f"{change[0]}: {change[2]!r}",
)
def test_what_changes_no_result_reruns_nothing(tiny: Path, change: tuple[str, str, str]) -> None:
    path, old, new = change
    with edited(tiny / path, old, new):
        assert planned_jobs(tiny) == {}


@pytest.mark.parametrize(
    ("path", "old", "new", "jobs"),
    [
        ("rrl/heads.py", "HEAD_STD = 0.01", "HEAD_STD = 0.02", {"probe": 14, **DOWNSTREAM_OF_PROBES}),
        ("rrl/ensemble.py", ".mean(0, dtype", ".max(0).mean(0, dtype", DOWNSTREAM_OF_PROBES),
        ("rrl/table.py", "Windows share", "Windows have", {"table": 2}),
        (
            "workflow/config/tiny.yaml",
            "weight_decays: [0.0, 1.0e-2]",
            "weight_decays: [0.0, 1.0e-3]",
            {"probe": 14, **DOWNSTREAM_OF_PROBES},
        ),
        # One seed more: its network, its features on two targets, itself and the window {1, 2}, no other probe.
        # Fine-tuned in 2 settings under 2 rules, of which 1 is kept, and extracted, under each; the window likewise.
        (
            "workflow/config/tiny.yaml",
            "seeds: [0, 1]}",
            "seeds: [0, 1, 2]}",
            {
                "pretrain": 1,
                "extract": 2 + 2,
                "represent": 4 + 2,
                "probe": 4,
                "ensemble": 2,
                "finetune": 2 + 4,
                "finetune_kept": 2,
                "merge": 2,
                "ensemble_finetune": 1,
                "two_stage": 1,
                "averaged_head": 1,
                "collect": 1,
                "table": 2,
                "figure": 1,
            },
        ),
    ],
    ids=["probe", "ensemble", "table", "weight decay", "seed"],
)
def test_a_change_reruns_its_own_jobs(tiny: Path, path: str, old: str, new: str, jobs: dict[str, int]) -> None:
    with edited(tiny / path, old, new):
        assert planned_jobs(tiny) == jobs
    assert planned_jobs(tiny) == {}


@pytest.mark.parametrize(
    "pattern", ["features/*/*/*.h5", "features/*/*.json", "networks/*", "finetuned/*", "records/*/*/*.json"]
)
def test_touched_files_rerun_nothing(tiny: Path, pattern: str) -> None:
    paths = list((tiny / "results/tiny").glob(pattern))
    assert paths
    for path in paths:
        os.utime(path)
    assert planned_jobs(tiny) == {}


def test_a_deleted_record_is_made_again(tiny: Path) -> None:
    path = tiny / "results/tiny/records/mnist/cat2/ensemble.json"
    text = path.read_text()
    path.unlink()
    assert planned_jobs(tiny) == {"ensemble": 1, **TABLES}
    snakemake(tiny)
    assert path.read_text() == text


def test_records_are_byte_identical_in_another_folder_and_under_another_hash_seed(tiny: Path, tmp_path: Path) -> None:
    other = copy_clone(tmp_path / "another place")
    snakemake(other, PYTHONHASHSEED="2")
    root = tiny / "results/tiny"
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(other / "results/tiny") for path in (other / "results/tiny").rglob("*") if path.is_file()
    )
    differing = [
        str(file)
        for file in files
        if not file.name.endswith((".run.json", ".log"))
        and (root / file).read_bytes() != (other / "results/tiny" / file).read_bytes()
    ]
    assert differing == []


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


def test_code_edited_while_jobs_wait_is_refused(tiny: Path) -> None:
    """The command of a planned job, run after the code changed, stops."""
    options = ("--dry-run", "--printshellcmds", "--forcerun", "table")
    output = snakemake(tiny, "results/tiny/table2.csv", options=options, quiet=False)
    command = (
        next(line for line in output.splitlines() if "-m rrl.table" in line).strip().removeprefix("Shell command: ")
    )
    command = command[: command.index(" 2> ")]
    with edited(tiny / "rrl/table.py", "Windows share", "Windows have"):
        result = subprocess.run(["bash", "-c", command], cwd=tiny, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: rrl.table: code changed since submission (planned ")
    assert "Traceback" not in result.stderr


def test_an_altered_feature_file_stops_its_next_reader_with_what_rebuilds_it(tiny: Path) -> None:
    root = tiny / "results/tiny"
    path = root / "features/mnist/erm-s0/test.h5"
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    path.write_bytes(changed)
    record = root / "records/mnist/cat2/linear_probe.json"
    text = record.read_text()
    record.unlink()
    result = run_snakemake(tiny, str(record.relative_to(tiny)))
    assert result.returncode == 1
    output = result.stdout + result.stderr
    assert "erm-s0/test.h5: not the content" in output and "Traceback" not in output
    assert "delete results/tiny/features/mnist/erm-s0/test.h5 and run the same snakemake command again" in output
    # What the message says, done:
    path.unlink()
    snakemake(tiny)
    assert record.read_text() == text and path.read_bytes() == content
    assert planned_jobs(tiny) == {}


def test_results_of_another_plan_are_refused(tiny: Path, tmp_path: Path) -> None:
    """Results copied without .snakemake, then a setting changed: Snakemake alone would take them as they are."""
    other = copy_clone(tmp_path)
    shutil.copytree(tiny / "results/tiny", other / "results/tiny")
    (other / "results/tiny/table2.csv").unlink()
    config = other / "workflow/config/tiny.yaml"
    config.write_text(config.read_text().replace("epochs: 1\n", "epochs: 2\n"))
    result = run_snakemake(other, "results/tiny/table2.csv")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "made under another plan" in output and "Traceback" not in output


def test_config_values_reach_the_card_as_numbers(tiny: Path) -> None:
    config = yaml.safe_load((tiny / "workflow/config/tiny.yaml").read_text())
    settings = json.loads((tiny / "results/tiny/networks/erm-s1.json").read_text())["settings"]
    assert settings["seed"] == 1
    assert {key: settings[key] for key in config["recipes"]["erm"]} == config["recipes"]["erm"]
