"""Every command that the docs show runs, in their order, where tiny was run before.

tests/workflow/test_readme.py runs those of the README and CONTRIBUTING, test_tutorial.py follows docs/images.md,
test_demo.py docs/tutorial.md.
"""

from pathlib import Path

import pytest

from tests.helpers.clones import CLONE, duplicate
from tests.helpers.commands import ELSEWHERE, commands, run_shown

STORIES = {"images", "tutorial"}
PAGES = [path for path in sorted((CLONE / "docs").glob("*.md")) if path.stem not in STORIES]


@pytest.fixture(scope="module")
def clone(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return duplicate(tiny, tmp_path_factory.mktemp("shown") / "clone")


@pytest.mark.parametrize("command", [command for command in commands(*PAGES) if command not in ELSEWHERE])
def test_a_shown_command_runs(command: str, clone: Path) -> None:
    run_shown(command, clone)


def test_what_runs_elsewhere_is_shown() -> None:
    assert set(commands(CLONE / "README.md", CLONE / "CONTRIBUTING.md", *PAGES)) >= ELSEWHERE
