"""Commands for people, on the tiny experiment."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from rrl.cli.main import main
from rrl.cli.run import options
from rrl.data.image_sources import open_source
from rrl.job import read_card
from rrl.statistics import paired_interval
from rrl.store.logits import read_logits
from tests.helpers.clones import CLONE, duplicate, edited


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def root(tiny: Path) -> Path:
    return tiny / "results/tiny"


CLAIM = {
    "statement": "ERM is more accurate than WIDE2 on digits.",
    "table": "table2",
    "selection": "heldout",
    "test": {"name": "greater"},
    "pairs": [[{"group": name, "ensemble": False, "transfer": "linear_probe"} for name in ("erm", "wide2")]],
    "panels": [{"target": "mnist", "shots": 10}],
}


@pytest.fixture
def claiming(tiny: Path, tmp_path: Path) -> Path:
    """The config of tiny with a claim."""
    config = tmp_path / "claiming.yaml"
    config.write_text(
        yaml.safe_dump(yaml.safe_load((tiny / "workflow/config/tiny.yaml").read_text()) | {"claims": {"one": CLAIM}})
    )
    return config


def test_claims_are_checked_on_the_results(claiming: Path, root: Path, tmp_path: Path) -> None:
    """Two networks against one are too few to say; their accuracies are those of the records."""
    result = call("claims", claiming, "--results", root, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"UNDECIDED: {CLAIM['statement']}"
    assert re.fullmatch(
        r"  mnist 10-shot: ERM - WIDE2: ([+-]\d+\.\d|0\.0) points, n = 2 and 1, "
        r"undecided: 1 replicate; an interval needs 4",
        lines[1],
    )
    assert lines[2] == "1 claim; holds: 0, does not hold: 0, undecided: 1." and "missing" not in result.output
    replicates = pd.read_csv(tmp_path / "out/claims.csv").set_index("replicate")
    for name in ("erm-s0", "erm-s1", "wide2-s0"):
        (entry,) = [
            entry
            for entry in read_card(root / f"records/mnist/{name}/linear_probe.json").facts["results"]
            if (entry["shots"], entry["selection"]) == (10, "heldout")
        ]
        assert replicates.loc[name, "top1"] == entry["top1"]
    content = json.loads((tmp_path / "out/claims.json").read_text())
    assert content == json.loads(call("claims", claiming, "--results", root, "--json").stdout)
    assert content["claims"]["one"]["verdict"] == "undecided" and content["claims"]["one"]["comparisons"][0]["n"] == [
        2,
        1,
    ]
    assert "ERM − WIDE2" in (tmp_path / "out/claims.md").read_text()


def test_claims_say_what_is_missing_and_what_makes_it(claiming: Path, root: Path, tmp_path: Path) -> None:
    record = root / "records/mnist/erm-s1/linear_probe.json"
    record.rename(tmp_path / "away")
    try:
        result = call("claims", claiming, "--results", root)
    finally:
        (tmp_path / "away").rename(record)
    assert result.exit_code == 0 and "undecided: 1 of 3 records missing" in result.stdout
    assert "1 record missing, left out: records/mnist/erm-s1/linear_probe.json; to make it: rrl run" in result.stderr
    changed = yaml.safe_load(claiming.read_text())
    changed["probes"]["tiny"]["epochs"] = 3
    claiming.write_text(yaml.safe_dump(changed))
    result = call("claims", claiming, "--results", root)
    assert (
        result.exit_code == 1
        and "none of the 3 records that the claims need was made by this config and code" in result.output
    )
    result = call("claims", claiming, "--results", tmp_path)
    assert result.exit_code == 1 and f"{tmp_path}: none of the 3 records" in result.output


def test_claims_need_a_config_that_has_some(tiny: Path) -> None:
    result = call("claims", tiny / "workflow/config/tiny.yaml")
    assert result.exit_code == 1 and "tiny.yaml: it has no claims; name a config with some" in result.output


def test_claims_do_without_torch() -> None:
    code = "import sys, rrl.cli.main, rrl.cli.claims_text; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_record_is_shown_with_all_that_is_behind_it(root: Path) -> None:
    about = json.loads(call("show", root / "records/mnist/cat2/linear_probe.json", "--json").output)
    assert about["facts"]["members"] == ["erm-s0", "erm-s1"] and about["settings"]["probe"]["weight_decays"] == [
        0.0,
        0.01,
    ]
    sources = {source["artifact"]: source for source in about["made_from"]}
    assert next(iter(sources)) == "representations/mnist/cat2"
    assert sources["networks/erm-s1"]["settings"]["seed"] == 1
    assert sources["targets/mnist"]["settings"]["source"]["dataset"] == "mnist-5k"
    assert sources["targets/fashion-source"]["digest"] == read_card(root / "targets/fashion-source.json").digest
    for result in about["results"]:
        low, high = result["top1_interval"]
        assert low < result["top1"] < high and high - low < 0.04
    text = call("show", root / "records/mnist/cat2/linear_probe.json").output
    first = about["results"][0]
    assert f"shots 5, heldout: top-1 {100 * first['top1']:.2f} %, 95 % interval " in text
    found = re.search(
        r"picked on val: {[^}]+}; val top-1 (\d+\.\d\d) %; best of 2 settings x (\d) epochs on val, so", text
    )
    assert (
        found and found[1] == f"{100 * first['val_top1']:.2f}" and int(found[2]) == about["settings"]["probe"]["epochs"]
    )
    assert "so test is optimistic\n" in text and about["remarks"] == []
    assert "from networks/erm-s1, made by rrl.stages.pretrain" in text and "weight_decays [0.0, 0.01]" in text


@pytest.mark.parametrize(
    ("file", "artifact"),
    [
        ("logits/mnist/cat2/linear_probe.h5", "records/mnist/cat2/linear_probe"),
        ("features/mnist/erm-s0/test.h5", "features/mnist/erm-s0"),
        ("representations/mnist/cat2/test.h5", "representations/mnist/cat2"),
        ("networks/erm-s0.safetensors", "networks/erm-s0"),
        (
            "networks/erm-s0.mnist.heldout-lr0.1-wd0.0005-e2.safetensors",
            "networks/erm-s0.mnist.heldout-lr0.1-wd0.0005-e2",
        ),
        ("targets/mnist.csv", "targets/mnist"),
        ("records.csv", "records"),
        ("figures/accuracy.svg", "figures/accuracy"),
        ("similarities/mnist/similarity.json", "similarities/mnist/similarity"),
    ],
)
def test_any_file_of_the_results_is_shown(root: Path, file: str, artifact: str) -> None:
    result = call("show", root / file)
    assert result.exit_code == 0 and result.output.startswith(f"{artifact}, made by rrl.")


def test_a_cell_of_a_table_is_traced_to_its_records(root: Path) -> None:
    table = pd.read_csv(root / "table2.csv")
    text = call("show", root / "table2.csv").output
    assert "CAT2^sub" in text and "'mnist 10-shot'" in text
    for selection in ("heldout", "paper"):
        words = ("--row", "ERM", "--column", "mnist 10-shot", "--selection", selection)
        about = json.loads(call("show", root / "table2.md", *words, "--json").output)
        assert [record["seeds"] for record in about["records"]] == [[0], [1]]
        (row,) = table[(table["method"] == "ERM") & (table["selection"] == selection)].to_dict("records")
        mean = np.mean([100 * record["top1"] for record in about["records"]])
        assert row["mnist 10-shot mean"] == pytest.approx(mean)
    text = call("show", root / "table2.csv", "--row", "ERM", "--column", "mnist 10-shot").output
    assert "records/mnist/erm-s1/linear_probe.json: seeds [1], top-1 " in text


def test_a_table_that_was_edited_by_hand_is_noticed(root: Path) -> None:
    file = root / "table2.csv"
    with edited(file, "heldout", "Heldout"):
        result = call("show", file)
    assert result.exit_code == 1 and f"{file} was altered since it was written; delete that" in result.output
    assert call("show", file).exit_code == 0


def test_records_are_compared_on_the_same_images(root: Path) -> None:
    paths = [root / f"records/mnist/{name}/linear_probe.json" for name in ("cat2", "erm-s0")]
    entries = json.loads(call("compare-records", *paths, "--json").output)
    assert [(entry["shots"], entry["selection"]) for entry in entries] == [
        ("5", "heldout"), ("5", "paper"), ("10", "heldout"), ("10", "paper"),
    ]  # fmt: skip
    right = []
    for name, path in zip(("cat2", "erm-s0"), paths, strict=True):
        scores, labels = read_logits(root / f"logits/mnist/{name}/linear_probe.h5", read_card(path))
        right.append(scores["5/heldout"]["test"].argmax(1) == labels["test"])
    entry = entries[0]
    assert entry["top1"] == [right[0].mean(), right[1].mean()] and entry["n_test"] == 4700
    assert entry["right_alone"] == [(right[0] & ~right[1]).sum(), (~right[0] & right[1]).sum()]
    low, high = entry["difference_interval"]
    assert low <= entry["difference"] <= high and 0 <= entry["mcnemar_p"] <= 1
    text = call("compare-records", *paths).output
    assert re.search(r"A \d+\.\d\d %, B \d+\.\d\d %; A - B [+-]\d+\.\d\d points, 95 % interval", text)
    assert entry["difference_interval"] == list(paired_interval(*entry["right_alone"], 4700))


def test_a_record_is_compared_with_the_mean_of_others(root: Path) -> None:
    paths = [root / f"records/mnist/{name}/linear_probe.json" for name in ("cat2", "erm-s0", "erm-s1")]
    several = json.loads(call("compare-records", *paths, "--json").output)
    alone = [json.loads(call("compare-records", paths[0], path, "--json").output) for path in paths[1:]]
    for entry, *of in zip(several, *alone, strict=True):
        assert entry["top1"] == [of[0]["top1"][0], *(one["top1"][1] for one in of)]
        assert entry["difference"] == pytest.approx(np.mean([one["difference"] for one in of]))
        low, high = entry["difference_interval"]
        assert low < entry["difference"] < high
    text = call("compare-records", *paths).output
    assert re.search(
        r"A [\d.]+ %, B1 [\d.]+ %, B2 [\d.]+ %; A - mean of B1 to B2 [+-][\d.]+ points, 95 % interval", text
    )
    assert "McNemar" not in text and text.startswith("A: records/mnist/cat2/linear_probe\nB1: records/mnist/erm-s0/")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "nothing.json"], "nothing.json: missing; name a file below a results folder"),
        (["show", "Snakefile"], "Snakefile: no card beside it"),
        (["show", "{root}/features"], "features: a folder; name a file in it"),
        (["show", "{root}/table2.csv", "--row", "CAT"], "--row, --column: a cell needs both"),
        (["show", "{root}/table2.csv", "--row", "CAT", "--column", "mnist 10-shot"], "--row: found 'CAT'; did you mean CAT2?"),
        (["show", "{root}/table1.csv", "--row", "ERM", "--column", "two-stage: mnist 10-shot"], "an empty cell"),
        (["show", "{root}/records.csv", "--row", "ERM", "--column", "x"], "records.json: not a table"),
        (["compare-records", "{root}/table2.csv", "{root}/table2.csv"], "table2.json: not a record"),
        (["compare-records", "{root}/records/mnist/cat2/linear_probe.json",
          "{root}/records/fashion-source/cat2/linear_probe.json"], "not the same test images"),
        (["compare-records", "{root}/records/mnist/cat2/linear_probe.json", "{root}/records/mnist/cat2/two_stage.json"], None),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(root: Path, words: list[str], message: str | None) -> None:
    result = call(*[word.replace("{root}", str(root)) for word in words])
    if message is None:  # both were trained with 10 images per class
        assert result.exit_code == 0
        return
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert result.output.startswith("Error: ") and message in result.output and result.output.count("\n") == 1


@pytest.mark.parametrize(
    "name",
    ["a.ckpt", "a.bin", "a.pkl", "a", "a.pth.tar", "a.safetensors", "a.PTH", "a.npz", "a.h5", "a.hdf5", "torchvision/a.pth"],
)  # fmt: skip
def test_the_sha256_of_a_network_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, kernel=np.zeros((3, 2)))
    else:
        path.write_bytes(b"weights")
    result = call("fingerprint", name, "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output == f"sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.hdf5"])
def test_a_file_of_images_has_a_sha256_and_a_fingerprint(tmp_path: Path, name: str) -> None:
    arrays = {"images": np.zeros((2, 3, 3), np.uint8), "labels": np.arange(2)}
    if name == "a.npz":
        np.savez(tmp_path / name, **arrays)
    else:
        with h5py.File(tmp_path / name, "w") as file:
            file.update(arrays)
    result = call("fingerprint", name, "--data-root", tmp_path)
    sha256 = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    fingerprint = open_source(name, tmp_path).fingerprint
    assert (result.exit_code, result.output) == (0, f"sha256: {sha256}\nfingerprint: {fingerprint}\n")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing.ckpt", "nothing.ckpt: missing; it must be a folder"),
        ("n" * 300, "File name too long; fix that"),
        ("torchvision/nothing", "torchvision/nothing: not a data set of torchvision"),
    ],
)
def test_what_has_no_fingerprint_is_one_line(tmp_path: Path, path: str, message: str) -> None:
    result = call("fingerprint", path, "--data-root", tmp_path)
    assert result.exit_code == 1 and result.output.startswith("Error: ") and result.output.count("\n") == 1
    assert message in result.output


def test_help_says_what_each_command_does() -> None:
    for words in ([], *([name] for name in main.commands)):
        result = call(*words, "--help")
        assert result.exit_code == 0 and len(result.output) > 200
    assert all("--json" in call(name, "--help").output for name in main.commands)


@pytest.mark.parametrize("name", ["run", "plan", "status", "why", "report", "claims"])
def test_a_wrong_config_is_an_error_and_a_wrong_option_a_usage_error(name: str, tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    result = call(name, config)
    assert (result.exit_code, result.output) == (1, f"Error: {config}: missing; name the config of an experiment\n")
    config.write_text("results: x\n")
    result = call(name, config)
    assert result.exit_code == 1 and result.output.startswith(f"Error: {config}: ") and "mistakes\n" in result.output
    assert "  targets: missing; this key is required\n" in result.output and "Traceback" not in result.output
    result = call(name, config, "--no-such-option")
    assert result.exit_code == 2 and "No such option" in result.output


def test_a_run_is_a_run_of_snakemake() -> None:
    config = Path("a.yaml")
    local = ["--scheduler", "greedy", "--max-jobs-per-timespan", "1000/3s", "--quiet", "host", "rules"]
    common = ["--snakefile", str(CLONE / "Snakefile"), "--configfile", "a.yaml"]
    assert options(config) == [*common, "--cores", "all", *local]
    assert options(config, ["x.csv", "--keep-going", "y"], cores=2, dry_run=True) == [
        "x.csv", *common, "--cores", "2", *local, "--dry-run", "--keep-going", "y",
    ]  # fmt: skip
    assert options(config, profile="slurm") == [*common, "--profile", "slurm"]


def test_a_run_makes_what_is_missing_and_says_how_it_ended(tiny: Path) -> None:
    def rrl(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rrl.cli", *words]
        return subprocess.run(command, cwd=tiny, capture_output=True, text=True)

    config, table = "workflow/config/tiny.yaml", "results/tiny/table1.csv"
    (tiny / table).unlink()
    planned = rrl("run", config, table, "--dry-run")
    assert planned.returncode == 0 and re.search(r"^table +1$", planned.stdout, flags=re.MULTILINE), planned.stderr
    done = rrl("run", config, table, "--cores", "1", "--json")
    assert done.returncode == 0 and (tiny / table).exists(), done.stderr
    assert json.loads(done.stdout) == json.loads(rrl("status", config, "--json").stdout)
    failed = rrl("run", config, "results/tiny/no_such_file.csv")
    assert failed.returncode == 1 and "no_such_file" in failed.stderr


def test_what_is_fetched_is_named_or_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(CLONE / "data/mnist-5k", data / "mnist-5k")
    result = call("fetch", "mnist-*", "--data-root", data)
    assert (result.exit_code, result.output) == (0, f"{data}/mnist-5k\n")
    result = call("fetch", "mnist-5k", "--data-root", data, "--json")
    assert json.loads(result.output) == [{"name": "mnist-5k", "path": f"{data}/mnist-5k"}]
    for name in ("mnist-6k", "supervised-resnet51", "supervised_pretrain/resnet51.pth.tar", "no*"):
        result = call("fetch", "mnist-5k", name, "--data-root", data, "--checkpoints", tmp_path)
        assert result.exit_code == 1 and result.output.startswith(f"Error: NAME: found {name!r}; "), result.output
