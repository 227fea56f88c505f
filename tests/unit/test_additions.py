"""What is added to a table changes no key of what was there; what is edited changes those that name it, and what follows.

Of the smoke experiment, which runs every stage. Only keys are computed: of a copy of the package, in a new process.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.clones import CLONE, clean_environment

Jobs = dict[str, dict[str, Any]]  # artifact -> stage, settings, artifacts that it reads, key
Predicate = Callable[[dict[str, Any]], bool]

PLAN = """
import json
from pathlib import Path
from rrl.config.load import load_plan

print(json.dumps({
    job.artifact: {"stage": job.stage, "settings": job.keyed, "inputs": [i.artifact for i in job.inputs], "key": job.key}
    for job in load_plan(Path("workflow/config/smoke.yaml")).jobs
}))
"""
CONFIG = "workflow/config/smoke.yaml"
TABLE = "    for entry in (\n"  # after which the first entry stands


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and what a plan reads beside it."""
    shutil.copytree(CLONE / "rrl", tmp_path / "rrl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (CONFIG, "workflow/pins.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLONE / name, tmp_path / name)
    return tmp_path


def planned(folder: Path) -> Jobs:
    """The jobs of the smoke experiment, as the package in a folder plans them."""
    environment = clean_environment() | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PLAN]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    jobs: Jobs = json.loads(result.stdout)
    return jobs


@pytest.fixture(scope="module")
def before() -> Jobs:
    return planned(CLONE)


def changed(before: Jobs, after: Jobs) -> set[str]:
    assert after.keys() == before.keys()
    return {artifact for artifact, job in after.items() if job["key"] != before[artifact]["key"]}


def with_followers(jobs: Jobs, named: Predicate) -> set[str]:
    """The jobs that a predicate holds for, and all that read what these make. (Jobs come after their inputs.)"""
    chosen: set[str] = set()
    for artifact, job in jobs.items():
        if named(job) or chosen & set(job["inputs"]):
            chosen.add(artifact)
    return chosen


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path}: {text.count(old)} times {old!r}"
    path.write_text(text.replace(old, new))


def source(job: dict[str, Any]) -> dict[str, Any]:
    """Where a network or a target comes from, or else the settings themselves."""
    inner: dict[str, Any] = job["settings"].get("source", job["settings"])
    return inner


def nothing(job: dict[str, Any]) -> bool:
    return False


@dataclass(frozen=True)
class Addition:
    """files : new ones, with their text. table : the file that an entry is inserted into, and the entry.

    use : a text of the config and what stands there when the new entry is used; "" where no config can name it.
    """

    files: dict[str, str]
    table: tuple[str, str]
    changes: Predicate = nothing
    use: tuple[str, str] = ("", "")


ADDITIONS = {
    "architecture": Addition(
        {"rrl/networks/added.py": "from rrl.networks.resnet8 import ResNet8\n\ndef added(*a):\n    return ResNet8(1, 1)\n"},
        ("rrl/networks/architectures.py", '        Entry("added", "rrl.networks.added:added", 32, widens=True),\n'),
        use=("arch: resnet8\n    target: fashion", "arch: added\n    target: fashion"),
    ),
    "format": Addition(
        {"rrl/networks/read_added.py": "def read_added(tensors, arch, path):\n    return tensors, None\n"},
        ("rrl/networks/formats.py", '        Format("added", "rrl.networks.read_added:read_added", "module.added."),\n'),
        changes=lambda job: source(job).get("format") == "auto",  # reads a file of any format
        use=("format: auto", "format: added"),
    ),
    "data set": Addition(
        {"rrl/data/added.py": "from rrl.data.demo import Part\n\ndef open_added(paths):\n    return Part(None, None)\n"},
        ("rrl/data/sources.py", '        DataSet("added", DEMO, "rrl.data.added:open_added", files={"all": ("added.gz",)}),\n'),
        use=("dataset: mnist-5k", "dataset: added"),
    ),
}  # fmt: skip


def add(copy: Path, addition: Addition) -> None:
    for name, text in addition.files.items():
        (copy / name).write_text(text)
    table, entry = addition.table
    replace(copy / table, TABLE, TABLE + entry)


@pytest.mark.parametrize("kind", ADDITIONS)
def test_an_added_entry_changes_no_key_of_others(copy: Path, before: Jobs, kind: str) -> None:
    addition = ADDITIONS[kind]
    add(copy, addition)
    assert changed(before, planned(copy)) == with_followers(before, addition.changes)


def test_the_code_of_an_added_entry_counts_where_it_is_used(copy: Path) -> None:
    for addition in ADDITIONS.values():
        add(copy, addition)
        replace(copy / CONFIG, *addition.use)
    used = planned(copy)
    for addition in ADDITIONS.values():
        (module,) = addition.files
        (copy / module).write_text(f"CONSTANT = 1\n{addition.files[module]}")
        key, value = addition.use[1].splitlines()[0].split(": ")
        names_it = with_followers(used, lambda job, key=key, value=value: source(job).get(key) == value)  # type: ignore[misc]
        assert names_it and changed(used, planned(copy)) == names_it
        (copy / module).write_text(addition.files[module])


def test_an_added_solver_changes_no_key(copy: Path, before: Jobs) -> None:
    (copy / "rrl/heads/added.py").write_text('RULES = ("heldout",)\n\ndef fit(*a):\n    return {}\n')
    replace(copy / "rrl/heads/solvers.py", '{"sgd": ', '{"added": "rrl.heads.added", "sgd": ')
    assert changed(before, planned(copy)) == set()


def test_an_added_stage_changes_no_key(copy: Path, before: Jobs) -> None:
    (copy / "rrl/stages/added.py").write_text(
        "from rrl.job import begin\n\ndef main(argv=None):\n    begin('added', argv)\n"
    )
    records = copy / "rrl/jobs/records.py"
    replace(
        records, "class RecordJobs", '@stage("added")\nclass Added(Computing):\n    depth = 4\n\n\nclass RecordJobs'
    )
    assert changed(before, planned(copy)) == set()


def has_resnet8(job: dict[str, Any]) -> bool:
    return source(job).get("arch") in ("resnet8", "resnet8rgb")


EDITS: dict[str, tuple[str, str, Predicate]] = {
    "networks/resnet8": ("in (8, 16, 32)", "in (8, 16, 64)", has_resnet8),
    "networks/resnets": ("[2, 2, 2, 2]", "[2, 2, 2, 3]", lambda job: source(job).get("arch") == "resnet50"),
    "networks/read_swav": ('"prototypes."', '"prototype."', lambda job: source(job).get("format") == "auto"),
    "data/imagenet": (', "imagenet"', "", lambda job: source(job).get("dataset") == "imagenet"),
    "heads/lbfgs": ("HISTORY = 10", "HISTORY = 11", lambda job: source(job).get("solver") == "lbfgs"),
    "heads/best_subset": (
        'RULES = ("heldout",)', 'RULES = ("paper",)', lambda job: source(job).get("solver") == "best_subset",
    ),
    "stages/similarity": ('SPLIT = "test"', 'SPLIT = "val"', lambda job: job["stage"] == "similarity"),
}  # fmt: skip


@pytest.mark.parametrize("module", EDITS)
def test_an_edited_module_changes_the_jobs_that_name_it_and_what_follows(copy: Path, before: Jobs, module: str) -> None:
    old, new, named = EDITS[module]
    replace(copy / f"rrl/{module}.py", old, new)
    assert changed(before, planned(copy)) == with_followers(before, named)


def test_a_fact_of_an_entry_counts_where_it_is_named(copy: Path, before: Jobs) -> None:
    """The features of resnet8, which are in its entry; resnet8rgb has another."""
    replace(
        copy / "rrl/networks/architectures.py",
        '"rrl.networks.resnet8:resnet8", 32',
        '"rrl.networks.resnet8:resnet8", 33',
    )
    after = with_followers(before, lambda job: source(job).get("arch") == "resnet8")
    assert changed(before, planned(copy)) == after
