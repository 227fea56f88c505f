"""`make demo` and `make tiny` go on after a kill, by themselves, and leave a run that is alive alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers.clones import copy_clone
from tests.helpers.processes import until

NETWORK = "results/tiny/networks/erm-s0.json"
EPOCHS = 80  # some seconds
OPTIONS = [NETWORK, "--cores", "1", "--scheduler", "greedy", "--configfile", "slow.yaml"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = copy_clone(tmp_path)
    tiny = (folder / "workflow/config/tiny.yaml").read_text()
    (folder / "slow.yaml").write_text(tiny.replace("epochs: 1\n", f"epochs: {EPOCHS}\n", 1))
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, "-m", "workflow.resume", *OPTIONS], cwd=folder, env=clean, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def snakemake(process: subprocess.Popen[str]) -> psutil.Process:
    (found,) = [child for child in psutil.Process(process.pid).children() if "snakemake" in child.cmdline()]
    return found


def trains(folder: Path) -> bool:
    log = folder / "results/tiny/logs/pretrain/erm-s0.log"
    return log.exists() and "epoch 3/" in log.read_text()


def test_after_the_whole_group_was_killed(clone: Path) -> None:
    process = start(clone)
    until(lambda: trains(clone))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((clone / ".snakemake/locks").glob("*")) and not (clone / NETWORK).exists()
    process = start(clone)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert (clone / NETWORK).exists() and not list((clone / ".snakemake/locks").glob("*"))


def test_after_snakemake_alone_was_killed_it_waits_for_its_job(clone: Path) -> None:
    """The job lives on and writes the same files."""
    process = start(clone)
    until(lambda: trains(clone))
    snakemake(process).kill()  # and nothing below it
    process.wait()
    log = (clone / "results/tiny/logs/pretrain/erm-s0.log").read_text()
    assert f"epoch {EPOCHS}/{EPOCHS}" not in log
    process = start(clone)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert "Waits for 1 jobs of a run that was killed." in output


def already(clone: Path, number: int) -> str:
    return f"Error: snakemake already runs in {clone} (process {number}); wait for it, or end it: kill {number}\n"


def test_a_config_that_is_no_yaml_is_named_with_line_and_column(clone: Path) -> None:
    """Snakemake alone says neither."""
    text = (clone / "slow.yaml").read_text()
    (clone / "slow.yaml").write_text(text.replace("sizes: [2]", "sizes: [2"))
    process = start(clone)
    output = process.communicate()[0]
    assert process.returncode == 1 and "Traceback" not in output
    assert output.startswith("Error: slow.yaml: not YAML: ") and "line " in output and "column " in output


def test_a_run_that_is_alive_is_left_alone(clone: Path) -> None:
    process = start(clone)
    until(lambda: trains(clone))
    second = start(clone)
    output = second.communicate()[0]
    assert second.returncode == 1 and output == already(clone, snakemake(process).pid)
    assert process.poll() is None
    assert process.wait() == 0, process.communicate()[0]


def test_a_plain_snakemake_that_is_alive_is_left_alone(clone: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "snakemake", *OPTIONS]
    process = subprocess.Popen(command, cwd=clone, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: trains(clone))
    second = start(clone)
    output = second.communicate()[0]
    assert second.returncode == 1
    assert output == already(clone, process.pid)
    assert process.wait() == 0


def test_ctrl_c_ends_it_and_nothing_is_lost(clone: Path) -> None:
    process = start(clone)
    until(lambda: trains(clone))
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate()[0]
    assert process.returncode != 0 and "Traceback" not in output
    assert list((clone / "results/tiny/work").rglob("*.pt"))
    process = start(clone)
    assert process.wait() == 0, process.communicate()[0]
    assert "goes on at epoch" in (clone / "results/tiny/logs/pretrain/erm-s0.log").read_text()


def test_sigterm_ends_it_when_its_jobs_have(clone: Path) -> None:
    process = start(clone)
    until(lambda: trains(clone))
    snakemake(process).terminate()
    output = process.communicate()[0]
    assert "Traceback" not in output and "Will exit after finishing currently running jobs" in output
    assert (clone / NETWORK).exists()
