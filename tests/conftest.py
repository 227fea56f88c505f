"""Helpers of all tests. Workflows run in copies of this clone, below .tmp; the data is shared."""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parent.parent

# Run by their name only, by `make test-slurm`.
SLURM = any("cluster" in argument for argument in sys.argv)
collect_ignore = [] if SLURM else ["cluster"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not SLURM:
        terminalreporter.write_line("Not run: the tests that need Slurm (make test-slurm).")


def copy_clone(folder: Path) -> Path:
    """The files of this clone that git would commit, in `folder`, with the data of this clone."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CLONE,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (CLONE / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CLONE / name, folder / name)
    (CLONE / "data").mkdir(exist_ok=True)
    (folder / "data").symlink_to(CLONE / "data")
    (folder / ".venv").symlink_to(CLONE / ".venv")
    return folder


def snakemake(
    folder: Path,
    *targets: str,
    options: tuple[str, ...] = (),
    config: str | None = "tiny",
    quiet: bool = True,
    **environment: str,
) -> str:
    """Run Snakemake in `folder`; its output. Fails the test unless it exits with 0."""
    result = run_snakemake(folder, *targets, options=options, config=config, quiet=quiet, **environment)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-1200:]
    return output


def run_snakemake(
    folder: Path,
    *targets: str,
    options: tuple[str, ...] = (),
    config: str | None = "tiny",
    quiet: bool = True,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in `folder` with a config of workflow/config, or None for config.yaml."""
    command = [sys.executable, "-m", "snakemake", *targets, *options, "--cores", "all", "--scheduler", "greedy"]
    command += ["--max-jobs-per-timespan", "1000/3s"]
    command += ["--quiet", "rules"] if quiet else []
    if config is not None:
        command += ["--configfile", f"workflow/config/{config}.yaml"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean | environment)


def planned_jobs(folder: Path, *targets: str, config: str | None = "tiny") -> dict[str, int]:
    """Rule -> number of jobs that a dry run would run, `all` left out."""
    output = snakemake(folder, *targets, options=("--dry-run",), config=config)
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}
    return {rule: count for rule, count in jobs.items() if rule not in ("all", "total")}


OF_A_TERMINAL = re.compile(r"[\r\x1b\b]|\d%\|")  # bars and colours


def on_a_terminal(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit status, and what was written to a terminal of 120 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=theirs, env=clean | {"TERM": "xterm"}) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                written += (piece := os.read(ours, 1 << 16))
            except OSError:  # of the terminal, once nobody has it any more
                break
            if not piece:
                break
    os.close(ours)
    return process.returncode, written.decode()


def left_to_see(written: str) -> str:
    """Lines without colours, each as it was last drawn."""
    plain = re.sub(r"\x1b\[\d*m", "", written.replace("\r\n", "\n"))
    return "\n".join(line.rpartition("\r")[2] for line in plain.split("\n"))


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with a text replaced, put back afterwards."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        yield
    finally:
        path.write_text(text)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the tiny experiment was run. Tests that change it must put it back."""
    folder = copy_clone(tmp_path_factory.mktemp("tiny"))
    snakemake(folder, PYTHONHASHSEED="1")
    return folder
