"""Bars of stages on a terminal, and lines of logs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rrl.bars
from rrl.bars import Bar, duration
from tests.helpers.clones import duplicate
from tests.helpers.terminal import OF_A_TERMINAL, left_to_see, on_a_terminal


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


def command_of(folder: Path, artifact: str) -> list[str]:
    """The command that made an artifact of the tiny experiment, to make it again below `again/`."""
    for path in (folder / ".snakemake/metadata").rglob("*"):
        record = json.loads(path.read_text()) if path.is_file() else {}
        words = shlex.split(record.get("shellcmd") or "")
        if f"results/tiny/{artifact}.json" in words[words.index("--output") :] if "--output" in words else False:
            return [
                word.replace(f"results/tiny/{artifact}", f"again/{artifact}") for word in words[: words.index("2>")]
            ]
    raise AssertionError(artifact)


@pytest.mark.parametrize(
    ("artifact", "bar", "lines"),
    [
        ("networks/erm-s0", r"epoch 1/1: 100%\|█+\| 10/10 \[[^\]]+(step/s|s/step)\]", r"epoch 1/1 loss [\d.]+ top1 [\d.]+"),
        ("features/mnist/erm-s0", r"test: 100%\|█+\| 4700/4700 \[[^\]]+image/s\]", ""),
    ],
    ids=["pretrain", "extract"],
)  # fmt: skip
def test_a_stage_by_hand(tiny: Path, artifact: str, bar: str, lines: str) -> None:
    """The same bytes with a bar and without one."""
    command = command_of(tiny, artifact)
    card = tiny / f"again/{artifact}.json"
    made = []
    try:
        status, written = on_a_terminal(command, tiny)
        made.append(card.read_bytes())
        plain = subprocess.run(command, cwd=tiny, stderr=subprocess.PIPE, text=True)
        made.append(card.read_bytes())
    finally:
        shutil.rmtree(tiny / "again", ignore_errors=True)
    assert status == plain.returncode == 0, written
    assert re.search(rf"\r{bar}", written), written
    shown = left_to_see(written).splitlines()
    assert [line for line in shown if re.fullmatch(lines or "-", line)] == (
        [] if not lines else plain.stderr.splitlines()
    )
    assert re.fullmatch(f"{lines}\n" if lines else "", plain.stderr)
    assert made == [(tiny / f"results/tiny/{artifact}.json").read_bytes()] * 2


def test_logs_have_no_bars(tiny: Path) -> None:
    logs = [*(tiny / "results/tiny/logs").rglob("*.log"), *(tiny / ".snakemake/log").glob("*.log")]
    assert len(logs) > 70
    assert [str(log) for log in logs if OF_A_TERMINAL.search(log.read_bytes().decode())] == []


def test_lines_of_a_log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(rrl.bars.time, "monotonic", lambda: now)
    with Bar("train", "image", 10_000, done=1_000) as bar:
        for _ in range(180):
            now += 1.0
            bar.add(25)
    with Bar("weights", "B", None) as bar:
        now += 100.0
        bar.add(250_000_000)
    with Bar("hidden", "image", 10, shown=False) as bar:
        now += 100.0
        bar.add()
    assert capsys.readouterr().err.splitlines() == [
        "train: 2,500 of 10,000 images, 25.0 images/s, 5 min 0 s left",
        "train: 4,000 of 10,000 images, 25.0 images/s, 4 min 0 s left",
        "train: 5,500 of 10,000 images, 25.0 images/s, 3 min 0 s left",
        "weights: 250 MB, 2.5 MB/s",
    ]


def test_durations() -> None:
    seconds = [0, 9.94, 9.96, 59.6, 185, 3599.7, 7800, 47 * 3600, 76 * 3600]
    expected = ["0.0 s", "9.9 s", "10 s", "1 min 0 s", "3 min 5 s", "1 h 0 min", "2 h 10 min", "47 h 0 min", "3 d 4 h"]
    assert [duration(number) for number in seconds] == expected


ERROR = """
from rrl.bars import Bar
from rrl.job import run
from rrl.errors import UserError
def main(argv):
    with Bar("train", "image", 10) as bar:
        bar.add(5)
        raise UserError("what is wrong")
run(main)
"""


def test_an_error_stands_on_a_line_of_its_own(tiny: Path) -> None:
    status, written = on_a_terminal([sys.executable, "-c", ERROR], tiny)
    assert status == 1 and re.fullmatch(r"(\rtrain: .*)+\r\nError: what is wrong\r\n", written), written
