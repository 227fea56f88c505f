"""The commands of the README and CONTRIBUTING run, where tiny was run before; tests/long has those of the docs."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.clones import CLONE, duplicate
from tests.helpers.commands import ELSEWHERE, commands, run_shown

COMMANDS = commands(CLONE / "README.md", CLONE / "CONTRIBUTING.md")


@pytest.fixture(scope="module")
def clone(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return duplicate(tiny, tmp_path_factory.mktemp("readme") / "clone")


def test_the_readme_has_commands() -> None:
    assert {"make demo", "make tiny", "make test", "make setup"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_a_shown_command_runs(command: str, clone: Path) -> None:
    run_shown(command, clone)


def test_nothing_of_the_project_names_a_path_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=CLONE, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile(r"(^|[\s\"'(])/(home|root|work|Users)/")
    found = [
        name
        for name in listed
        if name != "tests/workflow/test_readme.py" and pattern.search((CLONE / name).read_text(errors="ignore"))
    ]
    assert found == []
