"""The contents of the smoke experiment are those of golden.json, so plumbing, which no key has, changes no result.

Where they are meant to change: python -m tests.helpers.golden
"""

import json
from pathlib import Path

import pytest

from rrl.arithmetic import has_avx2
from rrl.jobs import STAGES
from tests.helpers.golden import GOLDEN, digests
from tests.helpers.reruns import SMOKE_JOBS
from tests.helpers.smoke import RESULTS

EXPECTED: dict[str, str] = json.loads(GOLDEN.read_text())


@pytest.mark.skipif(not has_avx2(), reason="arithmetic is only the same on Linux on x86-64 with AVX2")
def test_results_are_the_golden_ones(smoke: Path) -> None:
    made = digests(smoke / RESULTS)
    assert {file for file in made.keys() | EXPECTED.keys() if made.get(file) != EXPECTED.get(file)} == set()


def test_every_artifact_of_every_stage_is_among_them() -> None:
    """By its card, or by another file of it: the card of a table has no facts but what it is made of."""
    assert {job.stage for job in SMOKE_JOBS} == set(STAGES)
    for job in SMOKE_JOBS:
        assert any(file.startswith((f"{job.artifact}.", f"{job.artifact}/")) for file in EXPECTED), job.artifact
