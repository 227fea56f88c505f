"""Changes of docs/reruns.md through Snakemake; tests/workflow/test_reruns.py has a dozen pairs of them, and the modules."""

from pathlib import Path

import pytest

from tests.helpers.reruns import CASES, CHOSEN_PAIRS, Case, check, plans

REST = [case for case in CASES if not any(case in pair for pair in CHOSEN_PAIRS)]


@pytest.fixture(scope="module")
def found(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str] | Exception]:
    return plans(REST, tiny, tmp_path_factory.mktemp("reruns"))


@pytest.mark.parametrize("case", REST, ids=lambda case: case.what)
def test_a_change_reruns_exactly_its_own_jobs(found: dict[str, set[str] | Exception], case: Case) -> None:
    check(found, case)
