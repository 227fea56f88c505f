"""What reruns after a change: some pairs through Snakemake, every module by the keys of its jobs.

tests/long/test_more_reruns.py has the other pairs.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rrl import code_version as versions
from rrl.plan import Plan
from tests.helpers.clones import CLONE
from tests.helpers.reruns import (
    CASES,
    CHOSEN,
    CHOSEN_PAIRS,
    PAIRS,
    PINS,
    SMOKE,
    SMOKE_JOBS,
    Case,
    check,
    counted,
    modules,
    plans,
    rows,
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str] | Exception]:
    return plans([case for pair in CHOSEN_PAIRS for case in pair], tiny, tmp_path_factory.mktemp("reruns"))


@pytest.mark.parametrize("case", [case for pair in CHOSEN_PAIRS for case in pair], ids=lambda case: case.what)
def test_a_change_reruns_exactly_its_own_jobs(found: dict[str, set[str] | Exception], case: Case) -> None:
    check(found, case)


KEYS = {job.artifact: job.key for job in SMOKE_JOBS}
TOKENS: dict[int, list[str]] = {}  # of the syntax trees of modules, which no test changes


def tokens(node: Any, words: list[str], real: Any = versions._tokens) -> list[str]:
    if not isinstance(node, ast.Module):
        return real(node, words)  # type: ignore[no-any-return]
    if id(node) not in TOKENS:
        TOKENS[id(node)] = real(node, [])
    return words + TOKENS[id(node)]


@pytest.fixture(scope="module")
def trees() -> Iterator[dict[str, ast.Module]]:
    """Syntax tree of each module, in place of what is in the files."""
    parsed = {module: versions._tree(module) for module in modules()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "_tree", parsed.__getitem__)
        patch.setattr(versions, "_tokens", tokens)
        yield parsed
    versions.module_digest.cache_clear()


@pytest.mark.parametrize("module", modules())
def test_a_statement_more_in_a_module_reruns_the_jobs_that_import_it(
    trees: dict[str, ast.Module], monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """These jobs, and those after them, have other keys; Snakemake reruns what has another key."""
    again: set[str] = set()
    for job in SMOKE_JOBS:
        if module in counted()[job.artifact] or any(source.artifact in again for source in job.inputs):
            again.add(job.artifact)
    statement = ast.parse("EDITED = 1").body
    monkeypatch.setitem(trees, module, ast.Module([*trees[module].body, *statement], []))
    versions.module_digest.cache_clear()
    after = {job.artifact: job.key for job in Plan(SMOKE, PINS).jobs}
    assert {artifact for artifact, key in after.items() if key != KEYS[artifact]} == again


def test_modules_that_compute_count() -> None:
    """A sample of the table, written by hand."""
    by_solver = {job.settings.solver: counted()[job.artifact] for job in SMOKE_JOBS if job.stage == "probe"}
    assert {solver for solver, names in by_solver.items() if "heads.lbfgs" in names} == {"lbfgs"}
    assert all("heads.sweep" in names for names in by_solver.values()) and len(by_solver) == 3
    assert modules()["training.train"] == ["distill", "finetune", "pretrain"]
    assert modules()["stages.merge"] == ["merge"] and modules()["figures.cka"] == ["similarity"]
    assert not any(modules()[name] for name in versions.PLUMBING | versions.DECLARATIONS | {"cli.why", "plan"})


def test_the_cases_are_pairs() -> None:
    assert all(not first.jobs and twin.jobs for first, twin in PAIRS) and len(CHOSEN_PAIRS) == len(CHOSEN) == 12
    assert len(CASES) == len({case.what for case in CASES})


def test_the_docs_have_every_case() -> None:
    lines = (CLONE / "docs/reruns.md").read_text().splitlines()
    assert [row for row in rows() if row not in lines] == []
    assert sum(line.startswith("| ") for line in lines if " | " in line) >= len(rows())
