"""The version of a stage's code. test_reruns.py has what each change reruns."""

import ast
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rrl.command import flags

from rrl.store import code_version as versions
from tests.helpers.clones import CLONE

STAGES = [
    "target", "image_target", "paper_target", "convert", "user_network", "library_network", "pretrain",
    "random_network", "distill", "extract", "represent", "probe", "lbfgs_probe", "best_subset", "finetune",
    "merge", "two_stage", "averaged_head", "ensemble", "similarity", "collect", "table", "figure",
]  # fmt: skip


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], dict[str, str]]:
    """Versions of all stages after a text in one module was replaced."""
    package = tmp_path / "rrl"
    shutil.copytree(versions.PACKAGE, package)
    monkeypatch.setattr(versions, "PACKAGE", package)

    def clear() -> None:
        for function in (versions.code_version, versions._tree, versions._module_digest, versions._imports):
            function.cache_clear()

    def edit(module: str, old: str, new: str) -> dict[str, str]:
        path = package / f"{module}.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        clear()
        return {stage: versions.code_version(stage) for stage in STAGES}

    clear()
    yield edit  # type: ignore[misc]
    clear()


NOW = {stage: versions.code_version(stage) for stage in STAGES}


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
    assert hashlib.sha256(" ".join(words).encode()).hexdigest()[:16] == "fde2801b9742d6f1"
    code = "import sys; from rrl.code_version import code_digest; print(*map(code_digest, sys.argv[1:]))"
    for minor in range(11, 16):
        command = [f"python3.{minor}", "-c", code, *STAGES]
        if shutil.which(command[0]) and subprocess.run([command[0], "-c", ""], capture_output=True).returncode == 0:
            result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=True)
            assert result.stdout.split() == [versions.code_digest(stage) for stage in STAGES], minor


def test_an_accepted_digest_has_the_version_of_the_older_one(edited: Callable[[str, str, str], dict[str, str]]) -> None:
    changed = edited("probing/heads", "HEAD_STD = 0.01", "HEAD_STD = 0.02")
    assert {stage for stage in STAGES if changed[stage] != NOW[stage]} == {
        "probe",
        "lbfgs_probe",
        "best_subset",
        "two_stage",
    }
    table = versions.accepted_refactors() | {changed["probe"]: NOW["probe"]}
    (versions.PACKAGE / versions.ACCEPTED).write_text(json.dumps(table))
    after = edited("probing/heads", "HEAD_STD = 0.02", "HEAD_STD = 0.02")
    assert after == changed | {"probe": NOW["probe"]}


def test_a_stage_depends_on_no_other_stage_nor_on_the_config() -> None:
    for stage in STAGES:
        others = versions.imported_modules(stage) - {stage}
        assert not others & {
            *STAGES,
            *(f"experiment.{module}" for module in ("config", "schema", "references", "plan")),
        }, stage


def test_flags_are_the_words_of_the_settings() -> None:
    settings = {"weight_decays": [1e-5, 0.1], "nesterov": True, "arch": "resnet8", "schedule": {"name": "constant"}}
    assert flags(settings) == [
        "--weight-decays", "1e-05", "0.1", "--nesterov", "true", "--arch", "resnet8", "--schedule", '{"name": "constant"}',
    ]  # fmt: skip
