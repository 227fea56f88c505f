"""Every command that the README, CONTRIBUTING and the docs show runs, in their order, in a fresh clone.

test_tutorial.py follows docs/images.md, test_demo.py docs/tutorial.md.
"""

from pathlib import Path

import pytest

from tests.helpers.clones import CLONE, copy_clone
from tests.helpers.commands import ELSEWHERE, commands, run_shown

STORIES = {"images", "tutorial"}
PAGES = [path for path in sorted((CLONE / "docs").glob("*.md")) if path.stem not in STORIES]
COMMANDS = commands(CLONE / "README.md", CLONE / "CONTRIBUTING.md", *PAGES)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_clone(tmp_path_factory.mktemp("shown"))


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_a_shown_command_runs(command: str, clone: Path) -> None:
    run_shown(command, clone)


def test_what_runs_elsewhere_is_shown() -> None:
    assert set(COMMANDS) >= ELSEWHERE
