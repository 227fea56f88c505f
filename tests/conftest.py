"""Fixtures of all tests. `make test` runs tests/unit, tests/stages and tests/workflow; see CONTRIBUTING.md."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrl.arithmetic import PORTABLE, variables
from tests.helpers.clones import code_digest, duplicate, finished_tiny, state

# Tests run in several processes at once; more than one thread in each would only slow them down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before torch is loaded: tests call portable stages, here and in processes that inherit this.
os.environ |= variables(PORTABLE)
# The same for all of them, though somebody edits the code meanwhile.
CODE = os.environ.setdefault("RRL_TESTS_CODE", code_digest())

ELSEWHERE = {"long": "make test-long", "cluster": "make test-slurm"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    chosen = [Path(argument).parts[:2] for argument in terminalreporter.config.args]
    left_out = [f"tests/{name} ({how})" for name, how in ELSEWHERE.items() if ("tests", name) not in chosen]
    terminalreporter.write_line(f"Not run: {', '.join(left_out)}.")


@pytest.fixture(scope="session")
def tiny() -> Iterator[Path]:
    """A clone in which the tiny experiment was run, shared by all tests: only to be read."""
    yield from unchanged(finished_tiny(CODE))


@pytest.fixture(scope="session")
def smoke() -> Iterator[Path]:
    """The same of the smoke experiment; smoke.log is what Snakemake said."""
    from tests.helpers.smoke import finished_smoke  # imports torch

    yield from unchanged(finished_smoke(CODE))


def unchanged(folder: Path) -> Iterator[Path]:
    before = state(folder)
    yield folder
    assert state(folder) == before, f"a test changed {folder}; delete that folder, and let the test work in a copy"


@pytest.fixture
def tiny_copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny experiment that a test may change."""
    return duplicate(tiny, tmp_path / "clone")
