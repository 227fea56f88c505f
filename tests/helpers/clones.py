"""Copies of this clone in which workflows run, and the finished tiny experiment that tests share."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from rrl.arithmetic import VARIABLES

CLONE = Path(__file__).resolve().parents[2]
SHARED = CLONE / ".cache/tests"
PRISTINE = ".pristine"  # beside a shared folder: what is copied, as processes that read the former write caches there
UNUSED = 86_400  # seconds after which no run of the tests still has a shared clone


def names() -> list[str]:
    """The files of this clone that git would commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in listed if (CLONE / name).exists())


def copy_clone(folder: Path) -> Path:
    """The files of this clone that git would commit, in `folder`, with the data of this clone."""
    for name in names():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CLONE / name, folder / name)
    (CLONE / "data").mkdir(exist_ok=True)
    (folder / "data").symlink_to(CLONE / "data")
    (folder / ".venv").symlink_to(CLONE / ".venv")
    return folder


def duplicate(folder: Path, other: Path) -> Path:
    """A copy of a folder, links and times included, that may be changed."""
    pristine = folder.with_name(folder.name + PRISTINE)
    subprocess.run(["cp", "-a", pristine if pristine.exists() else folder, other], check=True)
    return other


def code_digest() -> str:
    """Of all that the finished experiments which tests share depend on."""
    code = hashlib.sha256()
    for name in names():
        if name.startswith(("Snakefile", "config.yaml", "requirements.lock", "rrl/", "workflow/", "tests/helpers/")):
            code.update(f"{name}\n".encode() + (CLONE / name).read_bytes())
    return code.hexdigest()[:12]


def finished_tiny(code: str) -> Path:
    """A clone in which the tiny experiment was run. It is shared and must not be changed: work in a `duplicate`."""
    return shared(f"tiny-{code}", lambda folder: snakemake(copy_clone(folder), PYTHONHASHSEED="1"))


def shared(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made once, by whatever process asks first, and kept for the next run of the tests."""
    folder, partial = SHARED / name, SHARED / f"{name}.partial"
    SHARED.mkdir(parents=True, exist_ok=True)
    with FileLock(SHARED / f"{name.partition('-')[0]}.lock"):
        if not folder.exists():
            for old in SHARED.glob(f"{name.partition('-')[0]}-*"):
                if time.time() - old.stat().st_mtime > UNUSED:
                    shutil.rmtree(old)
            for unfinished in (partial, folder.with_name(name + PRISTINE)):
                shutil.rmtree(unfinished, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder.with_name(name + PRISTINE))
            duplicate(folder.with_name(name + PRISTINE), partial)
            partial.rename(folder)
        folder.touch()
    return folder


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Path -> size and time of change, of a clone's files, but for what Snakemake and Python note for themselves."""
    own = {".snakemake", "__pycache__", ".cache"}
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in own and not Path(place, name).is_symlink()]
        for name in files:
            status = Path(place, name).lstat()
            found[str(Path(place, name).relative_to(folder))] = status.st_size, status.st_mtime_ns
    return found


def snakemake(
    folder: Path,
    *targets: str,
    options: tuple[str, ...] = (),
    config: str | None = "tiny",
    quiet: bool = True,
    **environment: str,
) -> str:
    """The output of Snakemake, run in `folder`. Fails the test unless it exits with 0."""
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
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean_environment() | environment)


def clean_environment() -> dict[str, str]:
    """The environment as a user has it: a copy of the clone imports its own modules, and sets the variables of portable
    arithmetic itself."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", *VARIABLES)}


def planned_jobs(folder: Path, *targets: str, config: str | None = "tiny") -> dict[str, int]:
    """Rule -> number of jobs that a dry run would run, `all` left out."""
    output = snakemake(folder, *targets, options=("--dry-run",), config=config)
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}
    return {rule: count for rule, count in jobs.items() if rule not in ("all", "total")}


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
