"""A full disk: a small one, of memory, that holds the results. To mount it takes root, or a user namespace, in which these
tests run where they are not run as root."""

import contextlib
import itertools
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from rrl.data.targets import Target, write_index
from rrl.errors import UserError
from rrl.figures.drawing import save
from rrl.networks import build, convert
from rrl.store.features import create, finish, write_virtual
from rrl.store.files import complete, write_json
from rrl.store.logits import write_logits
from rrl.store.work import claim
from rrl.training import training_state
from tests.helpers.clones import CLONE, copy_clone, run_snakemake, snakemake
from tests.helpers.kills import ROOT, files_of
from tests.helpers.trainings import Stages

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
    "records/mnist/cat2/linear_probe.run.json", "logs/probe/mnist/cat2/linear_probe.log",
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


# Every writer, in a process of its own, as HDF5 may crash.

LABELS = np.zeros(300, np.int64)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty disk of a megabyte."""
    disk = tmp_path_factory.mktemp("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is written from, on another disk."""
    folder = tmp_path_factory.mktemp("sources")
    create(folder / "features.h5", (1, 300, 40), "float16", LABELS)
    torch.manual_seed(0)
    torch.save(build("resnet8").state_dict(), folder / "network.pth")
    return folder


def extracted(_: Path, path: Path) -> None:
    """As rrl.stages.extract does: with attributes, at the end, which need a page more."""
    with claim(path.parent, path.stem, "key") as folder:
        create(folder / path.name, (1, 300, 40), "float16", LABELS)
        finish(folder / path.name, path, {"settings": "x" * 5000})


def virtual(sources: Path, path: Path) -> None:
    with complete(path) as partial:
        write_virtual(
            partial, [(sources / "features.h5", 0, 40), (sources / "features.h5", 0, 20)], (1, 300), "float16"
        )


def logits(_: Path, path: Path) -> None:
    scores = {"val": np.zeros((100, 20), np.float32), "test": np.zeros((300, 20), np.float32)}
    write_logits(path, {"5/heldout": scores, "5/paper": scores}, {"val": LABELS[:100], "test": LABELS})


def converted(sources: Path, path: Path) -> None:
    convert(sources / "network.pth", path, arch="resnet8", format="auto")


def drawn(_: Path, path: Path) -> None:
    picture = Figure()
    picture.add_subplot().plot(np.arange(3000) % 7)
    save(picture, path)


def indexed(_: Path, path: Path) -> None:
    rows = [(split, "all", f"{number}.png", 0) for split in ("train", "val", "test") for number in range(300)]
    write_index(path, Target(rows, "image", {}))


def carded(_: Path, path: Path) -> None:
    write_json(path, {"numbers": list(range(3000))})


WRITERS = (extracted, virtual, logits, converted, drawn, indexed, carded)
Writer = Callable[[Path, Path], None]


def outcome(write: Writer, sources: Path, path: Path) -> str:
    """The message of a UserError, or nothing; of a process that crashed, how."""
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def attempt() -> None:
        try:
            write(sources, path)
            theirs.send("")
        except UserError as error:
            theirs.send(str(error))

    process = multiprocessing.get_context("fork").Process(target=attempt)
    process.start()
    process.join()
    return ours.recv() if ours.poll() else f"exit code {process.exitcode}"


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_with_any_number_of_pages_left_a_writer_ends_in_one_line(write: Writer, small: Path, sources: Path) -> None:
    suffix = {"drawn": ".svg", "converted": ".safetensors", "indexed": ".csv", "carded": ".json"}
    for pages in itertools.count():
        with open(small / "ballast", "wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, shutil.disk_usage(small).free - pages * 4096)
        said = outcome(write, sources, small / f"file{suffix.get(write.__name__, '.h5')}")
        (small / "ballast").unlink()
        left = {path.name for path in small.rglob("*") if path.is_file()}
        for path in small.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not said:
            break
        assert re.fullmatch(
            rf"{small}/\S+: no space left on the disk: it needs ([\d,]+ bytes|more than there is), [\d,]+ are free; make "
            "room, then run the same command again",
            said,
        )
        assert left <= {"file.svg", "owner", "file.key.lock", "file.h5"}, left  # a figure is in two files
    assert pages > 1


@pytest.mark.parametrize("words", [["why", "workflow/config/tiny.yaml"], ["fingerprint", "LICENSE"]])
def test_output_to_a_full_disk_ends_in_one_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "rrl.cli", *words], cwd=CLONE, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (result.returncode, result.stderr) == (
        1, "Error: no space left on the disk; make room, then run the same command again\n",
    )  # fmt: skip


FULL = "[Errno 28] No space left on device"


@pytest.mark.parametrize("pages", [1, 18, 24, 38])
def test_a_full_disk_costs_a_training_its_saves_only(
    pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch.save may raise a RuntimeError there."""
    stages = Stages(tmp_path)
    work = stages.root / "work"
    work.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "none", work], check=True)
    try:
        (work / "ballast").write_bytes(bytes(4096 * (pages == 1)))
        monkeypatch.setattr(training_state, "SECONDS", 0.0)
        stages.run("pretrain")
    finally:
        subprocess.run(["umount", work], check=True)
    said = capsys.readouterr().err
    assert ": could not save (" in said and set(re.findall(r"could not save \((.*)\)", said)) == {FULL}
    assert stages.taken("pretrain") == stages.expected["pretrain"]


def test_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    """All tests above, where this user is root."""
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'inside'}", __file__], cwd=CLONE, capture_output=True, text=True
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]


INSIDE = "test_in_a_namespace_of_its_own"
for name in [name for name in globals() if name.startswith("test_")]:
    if (name == INSIDE) == (os.geteuid() == 0):
        del globals()[name]
