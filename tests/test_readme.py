"""Every command of the README and the docs runs."""

import re
import subprocess

import pytest
from conftest import CLONE, copy_clone

# Stories: test_tutorial.py follows docs/images.md, test_demo.py docs/tutorial.md.
STORIES = {"images", "tutorial"}
TEXTS = [
    CLONE / "README.md",
    CLONE / "CONTRIBUTING.md",
    *(path for path in sorted((CLONE / "docs").glob("*.md")) if path.stem not in STORIES),
]
COMMANDS = sorted(
    {
        line
        for text in TEXTS
        for block in re.findall(r"^```sh\n(.*?)^```$", text.read_text(), flags=re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if line and not line.startswith("#")
    }
)
# Run by others: `make test` runs this test, test_demo.py runs `make demo`, test_accept_refactor.py the command behind
# `make accept-refactor`, tests/cluster the commands on Slurm with another config, test_kills.py the harnesses,
# test_benchmarks.py what is behind `make bench`.
ELSEWHERE = {
    "make test", "make test-slurm", "make bench", "make demo", "make setup TORCH=cpu", "make accept-refactor",
    "python tests/kills.py --kills 50 --seed 1", "python tests/flips.py --flips 200 --seed 1",
    "snakemake --profile slurm results/table1.csv", "snakemake --profile slurm results/table2.csv",
    "snakemake --profile slurm --configfile workflow/config/tiny.yaml",
}  # fmt: skip


def test_the_readme_has_commands() -> None:
    assert {"make demo", "make tiny", "make test", "make setup"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_a_shown_command_runs(command: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "readme"
    if not folder.exists():
        copy_clone(folder)
    result = subprocess.run(
        ["bash", "-c", f"source .venv/bin/activate; {command}"], cwd=folder, capture_output=True, text=True
    )
    assert result.returncode == 0, (command, (result.stdout + result.stderr)[-3000:])


def test_nothing_of_the_project_names_a_path_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=CLONE, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile(r"(^|[\s\"'(])/(home|root|work|Users)/")
    found = [
        name
        for name in listed
        if name != "tests/test_readme.py" and pattern.search((CLONE / name).read_text(errors="ignore"))
    ]
    assert found == []
