"""Every change of docs/reruns.md through Snakemake; modules by their keys in tests/workflow/test_reruns.py."""

from pathlib import Path

import pytest

from tests.helpers.reruns import CASES, Case, check, plans


@pytest.fixture(scope="module")
def found(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str] | Exception]:
    return plans(CASES, tiny, tmp_path_factory.mktemp("reruns"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_change_reruns_exactly_its_own_jobs(found: dict[str, set[str] | Exception], case: Case) -> None:
    check(found, case)
