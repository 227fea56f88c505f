"""The pages of docs/ as HTML."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.clones import CLONE


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` builds them."""
    folder = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--builder", "html"]
    result = subprocess.run(
        [*command, "--doctree-dir", folder / "doctrees", CLONE / "docs", folder], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stderr[-3000:]
    return folder


def test_pages_are_built_of_all_files(built: Path) -> None:
    assert {path.stem for path in built.glob("*.html")} >= {path.stem for path in (CLONE / "docs").glob("*.md")}
    assert 'id="rrl.library.probe"' in (built / "python.html").read_text()


def test_a_browser_loads_nothing_from_elsewhere(built: Path) -> None:
    """A link that a reader may click is no load."""
    loads = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=\"((?:https?:)?//[^\"]+)\"")
    found = [(path.name, load) for path in built.rglob("*.html") for load in loads.findall(path.read_text())]
    found += [
        (path.name, load)
        for path in built.rglob("*.css")
        for load in re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", path.read_text())
    ]
    assert found == []
