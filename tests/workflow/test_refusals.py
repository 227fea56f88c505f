"""What is refused, the command that the message gives, and that it rebuilds the same results."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from rrl.cli.why import reason
from rrl.config.settings import parse
from rrl.job import read_card
from rrl.jobs import Planned
from rrl.jobs.networks import Target
from tests.helpers.clones import duplicate, edited, snakemake
from tests.helpers.flips import commands, import_stages, run
from tests.helpers.jobs import Printed
from tests.helpers.reruns import ROOT
from tests.helpers.spoilt import CASES


class Jobs:
    """The jobs of a finished tiny experiment, which lies in the working directory, each in a process of its own."""

    def __init__(self, every: list[Printed]):
        self.by_file = {path: command for command in every for path in command.made}

    def maker(self, file: str) -> Printed:
        """The job that makes an artifact, by any of its files."""
        return self.by_file[Path(ROOT, file)]

    def run(self, command: Printed, log: Path) -> tuple[int | None, str]:
        """Exit status and log."""
        return run(command, log), log.read_text()


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Jobs]:
    folder = duplicate(tiny, tmp_path_factory.mktemp("spoilt") / "clone")
    import_stages()
    return folder, Jobs(commands(folder))


@pytest.mark.parametrize("name", CASES)
def test_a_spoilt_artifact_is_refused_and_the_command_given_rebuilds_it(
    made: tuple[Path, Jobs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By the jobs alone; some of these cases go through Snakemake in tests/long/test_rebuilding.py."""
    (folder, jobs), case = made, CASES[name]
    monkeypatch.chdir(folder)
    spoilt, record = Path(ROOT, case.file), Path(ROOT, case.record)
    content, before = spoilt.read_bytes(), record.read_bytes()
    reader, maker = jobs.maker(case.deleted or case.record), jobs.maker(case.file)
    case.spoil(spoilt)
    status, log = jobs.run(reader, tmp_path / "log")
    line = log.strip().splitlines()[-1]
    assert status == 1 and "Traceback" not in log, log
    assert re.search(f"^Error: {spoilt}: .*({case.message})", line), line
    (command,) = re.findall(r"to rebuild it: (rm -f \S+), then run the same snakemake command again", line)
    subprocess.run(["bash", "-c", command], check=True)
    for job in dict.fromkeys([maker, reader, jobs.maker(case.record)]):
        assert jobs.run(job, tmp_path / "log")[0] == 0, (tmp_path / "log").read_text()
    assert record.read_bytes() == before
    if not case.file.startswith("features"):  # whose space between datasets has no meaning
        assert spoilt.read_bytes() == content


WEIGHT_DECAYS = ("weight_decays: [0.0, 1.0e-2]", "weight_decays: [0.0, 1.0e-3]")


@pytest.fixture
def copy(tiny_copy: Path) -> Path:
    return tiny_copy


def test_code_edited_while_jobs_wait_is_refused(copy: Path) -> None:
    """The command of a planned job, run after the code changed, stops."""
    options = ("--dry-run", "--printshellcmds", "--forcerun", "table")
    output = snakemake(copy, f"{ROOT}/table2.csv", options=options, quiet=False)
    lines = [line.strip().removeprefix("Shell command: ") for line in output.splitlines()]
    command = next(line for line in lines if "-m rrl.stages.table" in line)
    command = command[: command.index(" 2> ")]
    with edited(copy / "rrl/stages/table.py", "Windows share", "Windows have"):
        result = subprocess.run(["bash", "-c", command], cwd=copy, capture_output=True, text=True)
    assert result.returncode == 1
    assert re.fullmatch(
        r"Error: rrl\.stages\.table: the key of this job is \w{16}, planned was \w{16}: its code, its settings or a card "
        r"that it reads changed since it was planned\. Run the same snakemake command again; .*\n",
        result.stderr,
    )


def test_why_names_what_differs(copy: Path) -> None:
    def why(*options: str) -> str:
        command = [
            "bash",
            "-c",
            f"{copy}/.venv/bin/python -m rrl.cli why {' '.join(options)} workflow/config/tiny.yaml",
        ]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout

    assert why() == "Every artifact is the planned one.\n" and why("--paths") == ""
    (copy / ROOT / "records/mnist/cat2/ensemble.json").unlink()
    with edited(copy / "workflow/config/tiny.yaml", *WEIGHT_DECAYS):
        lines = why().splitlines()
    assert (
        lines[0]
        == "probe: records/fashion-source/random-s0/linear_probe and 13 more: probe.weight_decays: [0.0, 0.01] -> [0.0, 0.001]"
    )
    assert lines[1].startswith("14 of ")
    assert why().splitlines()[0] == "ensemble: records/mnist/cat2/ensemble: not made yet"
    with edited(copy / "workflow/config/tiny.yaml", "seeds: [0, 1]}", "seeds: [0, 1, 2]}"):
        text = why()
    assert "pretrain: networks/erm-s2: not made yet" in text


def test_another_plan_without_a_difference_that_can_be_told_is_another_one(tiny: Path) -> None:
    card = read_card(tiny / ROOT / "targets/mnist.json")
    settings = parse(Target, json.dumps(card.settings))
    same = Planned("target", "targets/mnist", settings)
    assert reason(str(tiny / ROOT), same) == ""
    source = replace(settings.source, split_seed=float(settings.source.split_seed))  # equal, and written otherwise
    other = Planned("target", "targets/mnist", replace(settings, source=source))
    assert reason(str(tiny / ROOT), other) == f"key: {card.key} -> {other.key}"
