"""What a change of code changes the version of, and what not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rrl import code_version as versions
from rrl.command import flags

STAGES = [
    "target", "pretrain", "random_network", "extract", "represent", "probe", "finetune", "merge", "two_stage",
    "averaged_head", "ensemble", "collect", "table", "figure",
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("HEAD_STD = 0.01", "# a comment\nHEAD_STD = 0.01"),
        ("HEAD_STD = 0.01", "HEAD_STD = (\n    0.01\n)"),
        ('"""weight (C, D)', '"""Says something else. weight (C, D)'),
        ('"""Training linear heads', '"""Another docstring: linear heads'),
    ],
)
def test_comments_docstrings_and_layout_change_no_version(edited, old: str, new: str) -> None:  # type: ignore[no-untyped-def]
    assert edited("heads", old, new) == NOW


@pytest.mark.parametrize(
    ("module", "old", "new", "stages"),
    [
        ("heads", "HEAD_STD = 0.01", "HEAD_STD = 0.02", {"probe", "two_stage"}),
        ("sweep", "EPSILON = 1e-5", "EPSILON = 1e-6", {"probe", "two_stage"}),
        ("pretrain", '"head": network.head', '"top": network.head', {"pretrain"}),
        (
            "architectures",
            "stride=2, padding=1",
            "stride=2, padding=2",
            {"pretrain", "random_network", "extract", "finetune"},
        ),
        ("images", "np.float32(255)", "np.float32(256)", {"pretrain", "random_network", "extract", "finetune"}),
        (
            "members",
            "return Member(network, None)",
            "return Member(network, (0, 1))",
            {"extract", "represent", "probe", "finetune", "two_stage", "ensemble"},
        ),
        ("cells", '"heldout": "setting', '"heldout": "Setting', {"table", "figure"}),
        ("table", "Windows share", "Windows have", {"table"}),
        ("stage_one", "axis=0)", "axis=0) + 1", {"two_stage", "averaged_head"}),
        ("finetune", "best.epoch + 1", "best.epoch", {"finetune"}),
        ("record", '"heldout": "val"', '"heldout": "test"', {*STAGES[5:]}),
        ("files", 'name + ".partial"', 'name + ".part"', set(STAGES)),
        ("code_version", "[:12]", "[:12].upper()", set()),
    ],
)
def test_an_edit_changes_the_version_of_the_stages_that_import_it(edited, module, old, new, stages) -> None:  # type: ignore[no-untyped-def]
    after = edited(module, old, new)
    assert {stage for stage in STAGES if after[stage] != NOW[stage]} == stages


def test_a_stage_depends_on_no_other_stage_nor_on_the_config() -> None:
    for stage in STAGES:
        others = versions.imported_modules(stage) - {stage}
        assert not others & {*STAGES, "config", "schema", "references", "plan"}, stage


def test_flags_are_the_words_of_the_settings() -> None:
    settings = {"weight_decays": [1e-5, 0.1], "nesterov": True, "arch": "resnet8", "schedule": {"name": "constant"}}
    assert flags(settings) == [
        "--weight-decays", "1e-05", "0.1", "--nesterov", "true", "--arch", "resnet8", "--schedule", '{"name": "constant"}',
    ]  # fmt: skip
