"""`make accept-refactor` on real refactors: equal bytes are accepted, others refused with the first difference."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.clones import edited, planned_jobs, snakemake
from tests.helpers.reruns import git
from tests.helpers.smoke import CONFIG, RESULTS

# The same sums in the same order, by other names and through a function more.
REFACTOR = {
    "rrl/heads/sweep.py": [
        ("        error = scores.exp_()  # dL/dlogits (B, S, C)\n", "        error = _softmax(scores)  # dL/dlogits (B, S, C)\n"),
        ("def evaluate(", "def _softmax(scores: Tensor) -> Tensor:\n    return scores.exp_()\n\n\ndef evaluate("),
        ("        error[images, :, labels] -= 1\n", "        wanted = images, slice(None), labels\n        error[wanted] -= 1\n"),
    ],
    "rrl/networks/shapes.py": [
        ("sorted(set(trunk) - set(shapes))", "sorted(key for key in trunk if key not in shapes)"),
    ],
    "rrl/stages/distill.py": [
        ("outputs.view(-1, wanted.shape[2]) / temperature", "outputs.view(-1, wanted.size(2)) / temperature"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def clone(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which the smoke experiment was run at the only commit."""
    folder = tmp_path_factory.mktemp("accept") / "clone"
    subprocess.run(["cp", "-a", smoke, folder], check=True)
    git(folder, "init", "--quiet")
    (folder / ".git/info/exclude").write_text(".venv\n")  # a link here, which .gitignore's folder does not match
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of another environment, as after an upgrade of the libraries; with the same ones."""
    return environment_with(tmp_path_factory.mktemp("other environment"))


def environment_with(folder: Path, *extra: str) -> Path:
    """Python of an environment with the libraries of this one; extra : name and text of one file more."""
    import torch

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "all.pth").write_text(f"{Path(torch.__path__[0]).parent}\n")
    if extra:
        (packages / extra[0]).parent.mkdir()
        (packages / extra[0]).write_text(extra[1])
    return folder / "bin/python"


def accept(clone: Path, old_python: Path | str = sys.executable, old: str = "HEAD") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflow.accept_refactor", "--old", old, "--old-python", old_python]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True)


def test_without_a_change_there_is_nothing_to_accept(clone: Path) -> None:
    assert "nothing to accept" in accept(clone).stdout
    # What the old code made is kept for the next call; here it was made before, in the clone.
    (old,) = (clone / ".cache/accept").glob("old-*")
    shutil.rmtree(old / "results")
    for name in ("results", ".snakemake"):
        subprocess.run(["cp", "-a", clone / name, old / name], check=True)


def accepted(clone: Path) -> dict[str, str]:
    content: dict[str, str] = json.loads((clone / "rrl/accepted_refactors.json").read_text())
    return content


def test_a_refactor_is_accepted_and_then_reruns_nothing(clone: Path, other_python: Path) -> None:
    known = len(accepted(clone))
    for name, texts in REFACTOR.items():
        path = clone / name
        for old, new in texts:
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new))
    changed = {"distill", "import_network", "library_network", "probe", "two_stage"}
    before = planned_jobs(clone, config="smoke")
    assert changed <= before.keys()
    result = accept(clone, other_python)
    assert result.returncode == 0, result.stderr
    assert "Equal, byte for byte: " in result.stdout
    assert "Accepted, in rrl/accepted_refactors.json, to be committed with the code: 3 modules." in result.stdout
    assert len(accepted(clone)) == known + len(REFACTOR)
    assert planned_jobs(clone, config="smoke") == {}
    assert "nothing to accept" in accept(clone).stdout


def test_another_environment_has_old_results_of_its_own(clone: Path, tmp_path: Path) -> None:
    """The libraries are part of the name under which the results of the old code are kept."""
    executable = environment_with(
        tmp_path, "extra-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n"
    )
    before = {path.name for path in (clone / ".cache/accept").glob("old-*")}
    code = "import sys; from pathlib import Path; from workflow.accept_refactor import old_tree; print(old_tree('HEAD', Path(sys.argv[1])).name)"
    names = [
        subprocess.run(
            [sys.executable, "-c", code, python], cwd=clone, capture_output=True, text=True, check=True
        ).stdout.strip()
        for python in (sys.executable, executable)
    ]
    assert len(before) == 1 and names[0] in before and names[1] not in before


def test_what_is_made_after_an_accepted_refactor_is_the_same(clone: Path) -> None:
    path = clone / RESULTS / "records/fashion/cat2/linear_probe.json"
    before = path.read_bytes()
    path.unlink()
    snakemake(clone, config="smoke")
    assert path.read_bytes() == before


def test_another_result_is_refused_with_the_first_difference(clone: Path) -> None:
    table = (clone / "rrl/accepted_refactors.json").read_text()
    with edited(clone / "rrl/heads/training.py", "HEAD_STD = 0.01", "HEAD_STD = 0.010001"):
        result = accept(clone)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "Error: not accepted, as results differ. The first difference: logits/fashion/" in result.stderr
    assert "/linear_probe.h5: all/heldout/test[0, 0]: " in result.stderr
    assert (clone / "rrl/accepted_refactors.json").read_text() == table


def test_old_code_that_cannot_run_it_is_one_line(clone: Path) -> None:
    """As a stage, or a word of the config, came later."""
    stage = clone / "rrl/stages/similarity.py"
    with edited(clone / "rrl/config/schema.py", '"networks", "gains"]', '"networks"]'):
        git(clone, "commit", "--quiet", "--all", "--message", "without gains")
    stage.rename(clone / "similarity.py")
    git(clone, "commit", "--quiet", "--all", "--message", "without similarity")
    (clone / "similarity.py").rename(stage)
    with edited(clone / "rrl/heads/training.py", "HEAD_STD = 0.01", "HEAD_STD = 0.010001"):
        without_gains, without_similarity = accept(clone, old="HEAD~1"), accept(clone, old="HEAD")
    assert without_gains.returncode == 1 and without_similarity.returncode == 1
    (line,) = without_gains.stderr.splitlines()
    assert f"cannot run {CONFIG}: figures.gains.kind: found 'gains'; must be one of: " in line
    assert line.endswith("; there is nothing to compare with")
    (line,) = without_similarity.stderr.splitlines()
    assert line == "Error: HEAD has no stage similarity: there is nothing to compare with"


def test_an_unknown_commit_is_one_line(clone: Path) -> None:
    result = accept(clone, old="nowhere")
    assert result.returncode == 1 and result.stderr.startswith("Error: git rev-parse")
    assert "Traceback" not in result.stderr
