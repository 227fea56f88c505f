"""What is refused, the command that the message gives, and that it rebuilds the same results."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest
from conftest import edited, run_snakemake, snakemake
from test_reruns import PROBES, ROOT, fitting, planned

from rrl.artifacts.provenance import read_card
from rrl.experiment.plan import Planned
from rrl.why import reason

FEATURES = "features/mnist/erm-s0/val.h5"
ENSEMBLE = "records/mnist/cat2/ensemble.json"
PROBE = "records/mnist/cat2/linear_probe.json"
LOGITS = "logits/mnist/erm-s0/linear_probe.h5"
RUN = "finetuned/cat2.mnist.heldout-lr0.1-wd0.0005-e2"
TUNED = "networks/erm-s0.mnist.heldout-lr0.1-wd0.0005-e2"


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the clone and its results that may be spoilt."""
    subprocess.run(["cp", "-a", tiny, tmp_path / "clone"], check=True)
    return tmp_path / "clone"


def flip(path: Path) -> None:
    """One bit in the middle; of a dataset, in an HDF5 file, as there is space between them."""
    at = path.stat().st_size // 2
    if path.suffix == ".h5":
        places: list[int] = []
        with h5py.File(path) as file:
            file.visititems(lambda _, item: places.append(place(item)) if isinstance(item, h5py.Dataset) else None)
        at = places[0]
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def place(dataset: h5py.Dataset) -> int:
    """Of its first values in the file."""
    return dataset.id.get_offset() or dataset.id.get_chunk_info(0).byte_offset


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def swap(other: str) -> Callable[[Path], None]:
    """Another file of the same kind in its place."""

    def spoil(path: Path) -> None:
        content = (path.parents[len(path.parts) - path.parts.index("tiny") - 2] / other).read_bytes()
        assert path.read_bytes() != content
        path.write_bytes(content)

    return spoil


def shorten(path: Path) -> None:
    """A valid file with fewer images."""
    with h5py.File(path, "r+") as file:
        fewer = file["features"][:, :-1]
        del file["features"]
        file["features"] = fewer


def higher(path: Path) -> None:
    """A better number in a record."""
    text = path.read_text()
    changed = re.sub(r'"top1": 0\.\d+', '"top1": 0.99', text)
    assert changed != text
    path.write_text(changed)


@dataclass(frozen=True)
class Case:
    """file : what is spoilt. record : what reads it; deleted, so that it is made again, and `deleted` before it."""

    file: str
    spoil: Callable[[Path], None]
    record: str
    message: str
    deleted: str = ""

    def check(self, copy: Path) -> None:
        root = copy / ROOT
        before, content = (root / self.record).read_bytes(), (root / self.file).read_bytes()
        for name in filter(None, {self.record, self.deleted} - {self.file}):
            (root / name).unlink()
        self.spoil(root / self.file)
        result = run_snakemake(copy, f"{ROOT}/{self.record}")
        output = result.stdout + result.stderr
        assert result.returncode == 1 and "Traceback" not in output, output
        (line,) = {line for line in output.splitlines() if "Error:" in line and f"{ROOT}/{self.file}" in line}
        assert re.search(f"Error: {ROOT}/{self.file}: .*({self.message})", line), line
        (command,) = re.findall(r"to rebuild it: (rm -f \S+), then run the same snakemake command again", line)
        subprocess.run(["bash", "-c", command], cwd=copy, check=True)
        snakemake(copy, f"{ROOT}/{self.record}")
        assert (root / self.record).read_bytes() == before
        if not self.file.startswith("features"):  # whose space between datasets has no meaning
            assert (root / self.file).read_bytes() == content


CASES = {
    "a bit of a network": Case("networks/erm-s0.safetensors", flip, PROBE, "altered since", FEATURES),
    "half of a network": Case("networks/erm-s0.safetensors", cut, PROBE, "altered since", FEATURES),
    "another network": Case("networks/erm-s0.safetensors", swap("networks/erm-s1.safetensors"), PROBE, "altered since", FEATURES),
    "a bit of a fine-tuned network": Case(f"{TUNED}.safetensors", flip, "records/mnist/cat2/two_stage.json", "altered since"),
    "a bit of an index": Case("targets/mnist.csv", flip, PROBE, "altered since", FEATURES),
    "a bit of features": Case("features/mnist/erm-s0/test.h5", flip, PROBE, "not the content that"),
    "half of features": Case("features/mnist/erm-s0/test.h5", cut, PROBE, "missing or unreadable"),
    "other features": Case("features/mnist/erm-s0/test.h5", swap("features/mnist/erm-s1/test.h5"), PROBE, "not the content that"),
    "fewer features": Case("features/mnist/erm-s0/test.h5", shorten, PROBE, "features have shape"),
    "half of a virtual file": Case("representations/mnist/cat2/val.h5", cut, PROBE, "missing or unreadable"),
    "another virtual file": Case("representations/mnist/cat2/val.h5", swap("representations/mnist/wide2-s0/val.h5"), PROBE, "not the features and"),
    "a bit of logits": Case(LOGITS, flip, ENSEMBLE, "altered since"),
    "half of logits": Case(LOGITS, cut, ENSEMBLE, "missing or unreadable"),
    "other logits": Case(LOGITS, swap("logits/mnist/erm-s1/linear_probe.h5"), ENSEMBLE, "altered since"),
    "a better number of a run": Case(f"{RUN}.json", higher, "records/mnist/cat2/finetune.json", "altered since"),
    "a better number of a record": Case(PROBE, higher, "table2.csv", "altered since"),
    "half of a record": Case(PROBE, cut, "table2.csv", "not a JSON file"),
    "another record": Case(PROBE, swap("records/mnist/erm-s0/linear_probe.json"), "table2.csv", "made under another plan"),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exception | None]:
    """Of the cases, two at a time, each in a copy of its own."""

    def outcome(case: Case) -> Exception | None:
        folder = tmp_path_factory.mktemp("spoilt") / "clone"
        subprocess.run(["cp", "-a", tiny, folder], check=True)
        try:
            case.check(folder)
        except Exception as error:
            return error
        shutil.rmtree(folder)
        return None

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(outcome, CASES.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_spoilt_artifact_is_refused_and_the_command_given_rebuilds_it(
    outcomes: dict[str, Exception | None], name: str
) -> None:
    if error := outcomes[name]:
        raise error


def test_a_missing_member_is_made_again(copy: Path) -> None:
    """By the workflow; a stage that is run by hand refuses (test_features.py)."""
    root = copy / ROOT
    before = (root / PROBE).read_bytes()
    (root / PROBE).unlink()
    (root / "features/mnist/erm-s0/test.h5").unlink()
    snakemake(copy, f"{ROOT}/{PROBE}")
    assert (root / PROBE).read_bytes() == before


WEIGHT_DECAYS = ("weight_decays: [0.0, 1.0e-2]", "weight_decays: [0.0, 1.0e-3]")


@pytest.mark.parametrize(
    ("path", "texts", "why", "jobs"),
    [
        ("workflow/config/tiny.yaml", WEIGHT_DECAYS, r"weight_decays: \[0.0, 0.01\] -> \[0.0, 0.001\]", PROBES),
        ("rrl/table.py", ("Windows share", "Windows have"), "code of rrl.table: ", {"table?": 2}),
    ],
)  # fmt: skip
def test_results_alone_of_another_plan_are_refused_and_the_command_given_rebuilds_them(
    copy: Path, path: str, texts: tuple[str, str], why: str, jobs: dict[str, int]
) -> None:
    """All tables are there: Snakemake, without its records, would say that there is nothing to do."""
    shutil.rmtree(copy / ".snakemake")
    with edited(copy / path, *texts):
        result = run_snakemake(copy)
        output = result.stdout + result.stderr
        assert result.returncode == 1 and "Traceback" not in output
        assert re.search(rf"Error: {ROOT}/\S+\.json and \d+ more: {why}.*Snakemake has no record of", output)
        (command,) = re.findall(r"to rebuild them: (.*), then run the same snakemake command again", output)
        subprocess.run(
            ["bash", "-c", f"set -eo pipefail; source {copy}/.venv/bin/activate; {command}"], cwd=copy, check=True
        )
        assert fitting(planned(copy), jobs) == jobs
        snakemake(copy)
        assert planned(copy) == set()


def test_results_alone_of_the_same_plan_are_taken(copy: Path) -> None:
    shutil.rmtree(copy / ".snakemake")
    assert planned(copy) == set()


def test_code_edited_while_jobs_wait_is_refused(copy: Path) -> None:
    """The command of a planned job, run after the code changed, stops."""
    options = ("--dry-run", "--printshellcmds", "--forcerun", "table")
    output = snakemake(copy, f"{ROOT}/table2.csv", options=options, quiet=False)
    lines = [line.strip().removeprefix("Shell command: ") for line in output.splitlines()]
    command = next(line for line in lines if "-m rrl.table" in line)
    command = command[: command.index(" 2> ")]
    with edited(copy / "rrl/table.py", "Windows share", "Windows have"):
        result = subprocess.run(["bash", "-c", command], cwd=copy, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: rrl.table: code changed since submission (planned ")
    assert result.stderr.endswith("run the same snakemake command again\n")


def test_why_names_what_differs(copy: Path) -> None:
    def why(*options: str) -> str:
        command = ["bash", "-c", f"{copy}/.venv/bin/python -m rrl.why {' '.join(options)} workflow/config/tiny.yaml"]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout

    assert why() == "Every artifact is the planned one.\n" and why("--paths") == ""
    (copy / ROOT / "records/mnist/cat2/ensemble.json").unlink()
    with edited(copy / "workflow/config/tiny.yaml", *WEIGHT_DECAYS):
        lines = why().splitlines()
    assert (
        lines[0]
        == "probe: records/fashion-source/random-s0/linear_probe and 13 more: weight_decays: [0.0, 0.01] -> [0.0, 0.001]"
    )
    assert lines[1].startswith("14 of ")
    assert why().splitlines()[0] == "ensemble: records/mnist/cat2/ensemble: not made yet"
    with edited(copy / "workflow/config/tiny.yaml", "seeds: [0, 1]}", "seeds: [0, 1, 2]}"):
        text = why()
    assert "pretrain: networks/erm-s2: not made yet" in text


def test_another_plan_without_a_difference_that_can_be_told_is_another_one(tiny: Path) -> None:
    card = read_card(tiny / ROOT / "targets/mnist.json")
    same = Planned("target", "targets/mnist", card.settings)
    assert reason(str(tiny / ROOT), same) == ""
    other = Planned("target", "targets/mnist", card.settings | {"new": "none"})
    assert reason(str(tiny / ROOT), other) == f"key: {card.key} -> {other.key}"
