"""The version of a job's code: what changes it and what does not. test_reruns.py has what each change reruns."""

import ast
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rrl import code_version as versions
from rrl.heads.solvers import SOLVERS
from rrl.jobs import STAGES
from tests.helpers.clones import CLONE
from tests.helpers.reruns import imported

PARTS: dict[str, list[versions.Part]] = {stage: [] for stage in STAGES} | {
    f"probe/{solver}": [versions.Part(module.removeprefix("rrl."))] for solver, module in SOLVERS.items()
}


def now() -> dict[str, str]:
    """The version of the jobs of each stage, and of the probes by each solver."""
    return {name: versions.code_version(name.partition("/")[0], parts) for name, parts in PARTS.items()}


NOW = now()
BY_SGD = {"probe/sgd", "probe/best_subset", "two_stage"}

Change = Callable[[Path], None]
After = Callable[[Change], dict[str, str]]


def clear() -> None:
    for function in vars(versions).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture
def after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[After]:
    """Versions of all jobs after a change of a copy of the package; changes add up."""
    package = tmp_path / "rrl"
    shutil.copytree(versions.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(versions, "PACKAGE", package)

    def changed(change: Change) -> dict[str, str]:
        change(package)
        clear()
        return now()

    clear()
    yield changed
    monkeypatch.undo()
    clear()


def edit(module: str, old: str, new: str) -> Change:
    """In a module, named by its path below the package, a text replaced."""

    def change(package: Path) -> None:
        path = package / f"{module}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def move(module: str, to: str) -> Change:
    """A module at another place; whoever imports it, imports it from there."""

    def change(package: Path) -> None:
        (package / to).parent.mkdir(exist_ok=True)
        (package / f"{module}.py").rename(package / f"{to}.py")
        old, new = (f"rrl.{name}".replace("/", ".") for name in (module, to))
        (old_package, _, old_name), (new_package, _, new_name) = old.rpartition("."), new.rpartition(".")
        for path in package.rglob("*.py"):
            text = re.sub(rf"\b{re.escape(old)}\b", new, path.read_text())
            path.write_text(
                text.replace(f"from {old_package} import {old_name}\n", f"from {new_package} import {new_name}\n")
            )

    return change


def differing(versions_after: dict[str, str]) -> set[str]:
    return {name for name in NOW if versions_after[name] != NOW[name]}


# What reruns nothing


def test_a_move_and_another_name_of_a_module_change_nothing(after: After) -> None:
    assert differing(after(move("training/randomness", "training/streams"))) == set()
    assert differing(after(move("selection", "heads/rules"))) == set()
    assert differing(after(move("cells", "report/cells"))) == set()


def test_comments_docstrings_and_layout_change_nothing(after: After) -> None:
    assert differing(after(edit("heads/training", "HEAD_STD = 0.01", "# why\nHEAD_STD = (\n    0.01\n)"))) == set()
    assert differing(after(edit("stages/merge", '"""Stage `merge`', '"""A stage: `merge`'))) == set()


def test_an_edited_message_changes_nothing(after: After) -> None:
    refused = after(edit("selection", "training images, shots needs", "images to train on, and shots needs"))
    assert differing(refused) == set()
    assert differing(after(edit("stages/probe", 'print(f"shots {shots}', 'print(f"with shots {shots}'))) == set()


@pytest.mark.parametrize("module", sorted(versions.PLUMBING | versions.DECLARATIONS))
def test_plumbing_and_declarations_are_left_out(after: After, module: str) -> None:
    def add_a_statement(package: Path) -> None:
        with open(package / f"{module.replace('.', '/')}.py", "a") as file:
            file.write("\nEDITED = 1\n")

    assert differing(after(add_a_statement)) == set()


# What reruns something


def test_a_constant_changes_the_jobs_that_import_it(after: After) -> None:
    assert differing(after(edit("heads/training", "HEAD_STD = 0.01", "HEAD_STD = 0.02"))) == BY_SGD


def test_a_text_that_is_part_of_a_result_changes_its_jobs(after: After) -> None:
    assert differing(after(edit("cells", "read once", "read"))) == {"table", "figure"}


def test_a_solver_counts_for_the_probes_that_name_it(after: After) -> None:
    def add_a_statement(package: Path) -> None:
        with open(package / "heads/lbfgs.py", "a") as file:
            file.write("\nEDITED = 1\n")

    assert differing(after(add_a_statement)) == {"probe/lbfgs"}


def test_an_import_more_changes_the_stage(after: After) -> None:
    assert differing(
        after(edit("stages/merge", "import time\n", "import time\n\nimport rrl.training.randomness\n"))
    ) == {"merge"}


def test_the_same_name_from_another_module_changes_the_stage(after: After) -> None:
    def change(package: Path) -> None:
        shutil.copy(package / "selection.py", package / "data/other_selection.py")
        edit("data/other_selection", "import numpy as np\n", "import numpy as np\n\nFIRST = 1\n")(package)
        edit("stages/finetune", "from rrl.selection import", "from rrl.data.other_selection import")(package)

    assert differing(after(change)) == {"finetune"}


def test_another_library_by_the_same_name_changes_the_stage(after: After) -> None:
    assert differing(after(edit("stages/merge", "import time\n", "import datetime as time\n"))) == {"merge"}


# Versions stay comparable


SYNTAX = '''
import os.path as path
from collections import abc
@decorator(1, key="k")
class A(B, metaclass=C):
    """Docstring."""
    x: int = 1
    def f(self, a, /, b=2, *args: int, c: "str" = 'c', **kwargs) -> None:
        """Docstring."""
        return f"{a!r:>{b}} {c=} " "and" f"{{}}{args[0]:.2f}" + rb"\\x00".hex() + "é"
async def g():
    async with a as b, c: pass
    async for x in y: await z
    return [i async for i in y if i]
match p:
    case {"a": [1, *rest], **more} if rest: pass
    case A(x=1) | None | -1.5: pass
    case _: ...
try:
    n = (m := 10) if not q else lambda *, k=1: k ** -2
except* ValueError as e:
    raise E from e
finally:
    del a[1:2, ..., ::3]
with (open(1) as f, open(2)): global_ = {*x, 1j, 0x10, 1_000, 1e-3}
print(*a, **b, end="")
'''


def test_the_digest_is_the_same_under_every_python() -> None:
    """Of a text with every kind of syntax, as Python 3.11, 3.12 and 3.13 gave it; and of all stages, under the
    Pythons that are here."""
    words = versions._tokens(ast.parse(SYNTAX), [])
    assert hashlib.sha256(" ".join(words).encode()).hexdigest()[:16] == "21dcdd3eacb3cc20"
    code = "import sys; from rrl.code_version import code_version; print(*map(code_version, sys.argv[1:]))"
    for minor in range(11, 16):
        command = [f"python3.{minor}", "-c", code, *STAGES]
        if shutil.which(command[0]) and subprocess.run([command[0], "-c", ""], capture_output=True).returncode == 0:
            result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=True)
            assert result.stdout.split() == [NOW[stage] for stage in STAGES], minor


def test_an_accepted_digest_stands_for_the_older_one(after: After) -> None:
    before = versions.module_digest("heads.training")
    changed = after(edit("heads/training", "HEAD_STD = 0.01", "HEAD_STD = 0.02"))
    assert differing(changed) == BY_SGD
    digest = versions.module_digest("heads.training")
    assert digest != before

    def accept(package: Path) -> None:
        table = versions.accepted_refactors() | {digest: before}
        (package / versions.ACCEPTED).write_text(json.dumps(table))

    assert differing(after(accept)) == set()


def test_no_stage_imports_another_stage_nor_the_plan() -> None:
    for job, parts in PARTS.items():
        stage = f"stages.{job.partition('/')[0]}"
        others = imported([stage, *(part.module for part in parts)]) - {stage}
        plan = others & {"config.load", "config.schema", "config.references", "config.names", "plan"}
        assert not {name for name in others if name.startswith(("stages.", "jobs."))} | plan, job
