"""Fresh clones in which workflows are run, on the cluster or here."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.helpers.clones import CLONE, copy_clone

SECONDS = 600  # that anything here may take
ONE_THREAD = ("--set-threads", "pretrain=1")  # in place of eight for each job: this machine may have two cores
RECORD = "results/chain/records/mnist/erm-s0/linear_probe.json"


def artifacts(folder: Path, results: str) -> dict[str, bytes]:
    """Cards, records, logits' cards and tables, but for the times in {name}.run.json."""
    root = folder / "results" / results
    paths = [*root.rglob("*.json"), *root.rglob("*.csv"), *root.rglob("*.md"), *root.rglob("*.tex")]
    names = (path.relative_to(root) for path in paths if not path.name.endswith(".run.json"))
    found = {str(name): (root / name).read_bytes() for name in names if name.parts[0] != "work"}
    assert found, f"no artifact in {root}"
    return found


@dataclass
class Clone:
    """A fresh clone in which workflows are run on the cluster."""

    folder: Path
    config: str
    output: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def start(self, *targets: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        command = [f"{CLONE}/.venv/bin/snakemake", "--profile", "slurm", *targets, *ONE_THREAD, *options]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.Popen(
            [*command, "--configfile", self.config], cwd=self.folder, env=clean, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where tests run in the background
        )  # fmt: skip

    def end(self, process: subprocess.Popen[str]) -> int:
        self.output = process.communicate(timeout=SECONDS)[0]
        return process.returncode

    def run(self, *targets: str, options: tuple[str, ...] = ()) -> int:
        """Its exit status; what was printed is in `output`."""
        return self.end(self.start(*targets, options=options))

    def log(self, stage: str, name: str) -> str:
        path = self.folder / f"results/chain/logs/{stage}/{name}.log"
        return path.read_text() if path.exists() else ""

    def wait(self, what: Callable[[], object]) -> None:
        end = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < end, self.output
            time.sleep(0.1)

    def job(self) -> str:
        """The cluster's id of the job that trains, or trained last."""
        ids = re.findall(r"^Slurm job (\d+) on", self.log("pretrain", "erm-s0"), re.M)
        return ids[-1] if ids else ""

    def training(self) -> str:
        """Wait until the network has been trained for some epochs; the job's id."""
        self.wait(lambda: "epoch 5/" in self.log("pretrain", "erm-s0"))
        return self.job()


def clone(root: Path, config: str = "workflow/config/tiny.yaml") -> Clone:
    root.mkdir()
    folder = copy_clone(root)
    # A network that takes some seconds to train, and what is needed to probe it on one target.
    tiny = (folder / "workflow/config/tiny.yaml").read_text()
    chain = tiny.replace("results/tiny", "results/chain").replace("epochs: 1\n", "epochs: 100\n", 1)
    (folder / "chain.yaml").write_text(chain)
    assert yaml.safe_load(chain)["recipes"]["erm"]["epochs"] == 100
    return Clone(folder, config)


def locally(made: Clone, *targets: str) -> Clone:
    command = [sys.executable, "-m", "snakemake", *targets, "--cores", "2", "--scheduler", "greedy"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [*command, "--configfile", made.config], cwd=made.folder, env=clean, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return made
