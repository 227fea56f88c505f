"""The commands that the README and the docs show."""

import os
import re
import subprocess
from pathlib import Path

from tests.helpers.clones import CLONE

# Run elsewhere: `make test` runs this test, tests/long the demo, the command of `make accept-refactor`, the harnesses and
# what is in `make bench`, tests/cluster the commands on Slurm with another config.
ELSEWHERE = {
    "make test", "make test-long", "make test-slurm", "make bench", "make demo", "make claims",
    "make setup TORCH=cpu",
    "make accept-refactor", "python -m tests.helpers.kills --kills 50 --seed 1",
    "python -m tests.helpers.flips --flips 200 --seed 1", "snakemake --profile slurm results/table1.csv",
    "snakemake --profile slurm results/table2.csv", "snakemake --profile slurm --configfile workflow/config/tiny.yaml",
}  # fmt: skip


def commands(*texts: Path) -> list[str]:
    """Lines of the `sh` blocks of pages, each once, in order."""
    blocks = [
        block
        for text in texts
        for block in re.findall(r"^```sh\n(.*?)^```$", text.read_text(), flags=re.MULTILINE | re.DOTALL)
    ]
    lines = [line for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def run_shown(command: str, folder: Path) -> None:
    """Fails the test unless the command exits with 0 in a clone."""
    script = f"source {CLONE}/.venv/bin/activate; {command}"
    environment = os.environ | {"PYTHONPATH": str(folder)}  # rrl of the clone, though another one is installed
    result = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, (command, (result.stdout + result.stderr)[-3000:])
