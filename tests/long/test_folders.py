"""Folders that are read-only, moved behind links, or have odd names; clocks that were set back."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.clones import planned_jobs, run_snakemake, snakemake
from tests.helpers.kills import ROOT, files_of

UNMADE = ("records/mnist/cat2/linear_probe.json", "representations/mnist/cat2.json", "features/mnist/erm-s0.json")
AGAIN = {"extract": 1, "represent": 1, "probe": 1}


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the clone and its results, in a folder with an odd name."""
    folder = tmp_path / "a clöne's $(copy); x"
    subprocess.run(["cp", "-a", tiny, folder], check=True)
    return folder


def unmake(copy: Path) -> dict[str, bytes]:
    """A record and what it was made from are taken away; what was there before."""
    before = results(copy)
    for name in UNMADE:
        (copy / ROOT / name).unlink()
    return before


def results(copy: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_of(copy).items() if not name.endswith(".run.json")}


def as_owner(folder: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    """Snakemake without the right of root to write everywhere."""
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command += [sys.executable, "-m", "snakemake", *targets, "--cores", "2", "--scheduler", "greedy"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*command, "--configfile", "workflow/config/tiny.yaml"], cwd=folder, capture_output=True, text=True, env=clean
    )


@pytest.mark.parametrize("folder", [ROOT, f"{ROOT}/logs/extract/mnist", ".snakemake"])
def test_a_folder_that_cannot_be_written_in_is_told_before_the_first_job(copy: Path, folder: str) -> None:
    whole = unmake(copy)
    before = results(copy)
    (copy / folder).chmod(0o555)
    try:
        result = as_owner(copy)
    finally:
        (copy / folder).chmod(0o755)
    output = result.stdout + result.stderr
    place = (copy / folder).resolve()
    assert result.returncode == 1 and "Traceback" not in output, output
    said = [line.removeprefix("Error: ") for line in output.splitlines() if "cannot be written in" in line]
    assert said == [
        f"{place}: cannot be written in; make it writable (chmod u+w {shlex.quote(str(place))}), or use a folder that is"
    ], output  # fmt: skip
    assert results(copy) == before
    snakemake(copy, f"{ROOT}/{UNMADE[0]}")
    assert results(copy) == whole


def test_data_that_cannot_be_written_are_enough(copy: Path) -> None:
    """A data folder that many share."""
    shared = copy.parent / "shared"
    subprocess.run(["cp", "-aL", copy / "data", shared], check=True)
    (copy / "data").unlink()
    (copy / "data").symlink_to(shared)
    before = unmake(copy)
    (copy / ROOT / "targets/mnist.json").unlink()
    folders = [shared, *(path for path in shared.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        result = as_owner(copy, f"{ROOT}/{UNMADE[0]}")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert results(copy) == before


@pytest.mark.parametrize("moved", ["", "features", "representations"])
def test_results_may_lie_behind_links(copy: Path, moved: str) -> None:
    """On a larger disk: all of them, or one kind."""
    elsewhere = copy.parent / "another disk" / "deep" / "down"
    elsewhere.parent.mkdir(parents=True)
    place = (copy / ROOT / moved).resolve()
    shutil.move(place, elsewhere)
    place.symlink_to(elsewhere)
    assert planned_jobs(copy) == {}
    before = unmake(copy)
    snakemake(copy, f"{ROOT}/{UNMADE[0]}")
    if moved == "representations":  # virtual files: they name their members' files by where these lie from there
        before = {name: content for name, content in before.items() if not name.startswith(f"{moved}/mnist/cat2/")}
    assert place.is_symlink() and before.items() <= results(copy).items()


def test_a_clock_that_was_set_back_reruns_nothing(copy: Path) -> None:
    """What was made before lies in the future then."""
    future = time.time() + 86_400
    for path in (copy / ROOT).rglob("*"):
        if path.is_file():
            os.utime(path, (future, future))
    before = unmake(copy)
    assert planned_jobs(copy, f"{ROOT}/{UNMADE[0]}") == AGAIN
    snakemake(copy)
    assert planned_jobs(copy) == {}
    assert results(copy) == before


def test_two_workflows_in_one_folder(copy: Path) -> None:
    """Of the same results the second is refused by Snakemake; it changes nothing."""
    before = unmake(copy)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "workflow/config/tiny.yaml"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    first = subprocess.Popen(command, cwd=copy, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((copy / ".snakemake/locks").glob("*")):
        assert first.poll() is None
        time.sleep(0.01)
    second = run_snakemake(copy, options=("--rerun-incomplete",))
    assert second.returncode == 1 and "Traceback" not in second.stdout + second.stderr
    assert "Directory cannot be locked" in second.stdout + second.stderr
    assert first.wait() == 0
    assert planned_jobs(copy) == {} and results(copy) == before
