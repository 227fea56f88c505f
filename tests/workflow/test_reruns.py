"""What reruns after a change: some pairs through Snakemake, every module by the keys of its jobs.

tests/long/test_more_reruns.py has the other pairs.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

import pytest

from rrl.plan import Plan
from rrl.store import code_version as versions
from tests.helpers.clones import CLONE
from tests.helpers.reruns import CASES, CHOSEN, CHOSEN_PAIRS, MODULES, PAIRS, PINS, TINY, Case, check, plans, rows


@pytest.fixture(scope="module")
def found(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str] | Exception]:
    return plans([case for pair in CHOSEN_PAIRS for case in pair], tiny, tmp_path_factory.mktemp("reruns"))


@pytest.mark.parametrize("case", [case for pair in CHOSEN_PAIRS for case in pair], ids=lambda case: case.what)
def test_a_change_reruns_exactly_its_own_jobs(found: dict[str, set[str] | Exception], case: Case) -> None:
    check(found, case)


@cache
def keys() -> dict[str, str]:
    """Artifact -> key of the job that makes it."""
    return {job.artifact: job.key for job in Plan(TINY, PINS).jobs}


@pytest.mark.parametrize("module", MODULES)
def test_a_statement_more_in_a_module_reruns_the_stages_that_import_it(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their jobs, and all that is made of what these make, have other keys; Snakemake reruns what has another key."""
    stages, again = MODULES[module].split(), set()
    for job in Plan(TINY, PINS).jobs:
        if job.stage in stages or any(source.artifact in again for source in job.inputs):
            again.add(job.artifact)
    before, digests = keys(), versions._module_digest
    dotted = module.replace("/", ".").removesuffix(".__init__")
    text = (CLONE / f"rrl/{module}.py").read_text() + "EDITED = 1\n"
    edited = hashlib.sha256(" ".join(versions._tokens(ast.parse(text), [])).encode()).hexdigest()
    assert edited != digests(dotted)
    monkeypatch.setattr(versions, "_module_digest", lambda name: edited if name == dotted else digests(name))
    versions.code_version.cache_clear()
    try:
        after = {job.artifact: job.key for job in Plan(TINY, PINS).jobs}
    finally:
        versions.code_version.cache_clear()
    assert {artifact for artifact, key in after.items() if key != before[artifact]} == again


def test_every_module_has_its_case() -> None:
    modules = {str(path.relative_to(CLONE / "rrl").with_suffix("")) for path in (CLONE / "rrl").rglob("*.py")}
    assert set(MODULES) == modules


def test_the_cases_are_pairs() -> None:
    assert all(not first.jobs and twin.jobs for first, twin in PAIRS) and len(CHOSEN_PAIRS) == len(CHOSEN) == 12
    assert len(CASES) == len({case.what for case in CASES})


def test_the_docs_have_every_case() -> None:
    lines = (CLONE / "docs/reruns.md").read_text().splitlines()
    assert [row for row in rows() if row not in lines] == []
    assert sum(line.startswith("| ") for line in lines if " | " in line) >= len(rows())
