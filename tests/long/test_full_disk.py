"""A full disk: a small one, of memory, that holds the results. To mount it takes root, or a user namespace, in which these
tests run where they are not run as root."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.clones import CLONE, copy_clone, run_snakemake, snakemake
from tests.helpers.kills import ROOT, files_of

SIZE = 64 << 20


@pytest.fixture(scope="module")
def disk(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone whose finished results lie on a small disk."""
    folder, disk = copy_clone(tmp_path_factory.mktemp("full")), tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", disk], check=True)
    try:
        subprocess.run(["cp", "-a", tiny / ROOT, disk / "tiny"], check=True)
        subprocess.run(["cp", "-a", tiny / ".snakemake", folder], check=True)
        (folder / ROOT).symlink_to(disk / "tiny")
        yield folder
    finally:
        subprocess.run(["umount", disk], check=True)


def leave(clone: Path, free: int) -> Path:
    """Fill the disk, but for so many bytes (in pages); the file that does."""
    disk = (clone / ROOT).resolve().parent
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while (more := shutil.disk_usage(disk).free - free) > 0:
            file.write(bytes(more))
    assert shutil.disk_usage(disk).free <= free
    return ballast


def files(clone: Path, *patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in (clone / ROOT).glob(pattern)]


FEATURES = ("features/mnist/erm-s0.json", "features/mnist/erm-s0/*", "logs/extract/mnist/erm-s0.log")
NETWORK = ("networks/erm-s0.json", "networks/erm-s0.safetensors", "logs/pretrain/erm-s0.log")
RECORD = (
    "records/mnist/cat2/linear_probe.json", "logits/mnist/cat2/linear_probe.h5",
    "records/mnist/cat2/linear_probe.run.json", "logs/probe/mnist/cat2.log",
)  # fmt: skip
TABLE = ("table2.csv", "table2.md", "table2.tex", "table2.json", "logs/table/table2.log")


@pytest.mark.parametrize(
    ("made", "left", "named"),
    [
        (FEATURES, 0, r"work/features\.mnist\.erm-s0\.\w+/(train|val|test)\.h5"),
        (FEATURES, 180_000, r"work/features\.mnist\.erm-s0\.\w+/(train|val|test)\.h5"),
        (NETWORK, 40_960, r"networks/erm-s0\.safetensors"),
        (RECORD, 270_000, r"logits/mnist/cat2/linear_probe\.h5"),
        (TABLE, 4_096, r"table2\.(csv|md|tex|json)"),
        (TABLE, 16_384, r"table2\.(csv|md|tex|json)"),
    ],
    ids=["extraction, nothing left", "extraction", "training", "probe", "table, a page left", "table"],
)
def test_a_full_disk_is_told_and_spoils_nothing(disk: Path, made: tuple[str, ...], left: int, named: str) -> None:
    """Even where nothing is left for a line in the log."""
    whole = files_of(disk)
    for path in files(disk, *made):
        path.unlink()
    ballast = leave(disk, left)
    try:
        result = run_snakemake(disk, f"{ROOT}/{made[0]}")
        now = files_of(disk)
    finally:
        ballast.unlink()
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output, output
    line = rf"Error: {ROOT}/{named}: no space left on the disk: it needs [\d,]+ bytes, [\d,]+ are free"
    no_line = "empty: no space left on the disk"
    allowed = line if left > 4096 else f"({line}|{no_line})"
    assert re.search(rf"^\S+\.log: {allowed}; make room, then run the same command again$", output, re.M), output
    assert {name: content for name, content in whole.items() if name in now} == now
    snakemake(disk, f"{ROOT}/{made[0]}")
    again = {name: content for name, content in files_of(disk).items() if not name.endswith(".run.json")}
    assert again == {name: content for name, content in whole.items() if not name.endswith(".run.json")}
    assert not files(disk, "**/*.partial", "work/**/*.*")


def test_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    """The tests above, where this user is root."""
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'inside'}", __file__], cwd=CLONE, capture_output=True, text=True
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]


if os.geteuid() == 0:
    del test_in_a_namespace_of_its_own
else:
    del test_a_full_disk_is_told_and_spoils_nothing
