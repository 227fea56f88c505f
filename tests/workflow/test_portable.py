"""Portable arithmetic in a run of the workflow."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rrl.arithmetic import VARIABLES, has_avx2
from tests.helpers.clones import clean_environment, copy_clone, edited, snakemake

RECORD = "results/tiny/records/mnist/cat2/linear_probe.json"
CONFIG = "workflow/config/tiny.yaml"


def command(clone: Path) -> str:
    """The command that makes a record, as Snakemake prints it."""
    output = snakemake(clone, RECORD, options=("--dry-run", "--printshellcmds", "--forcerun", "probe"), quiet=False)
    return re.findall(r"^Shell command: (.* -m rrl\.stages\.probe .*) 2> \S+$", output, re.MULTILINE)[-1]


@pytest.mark.skipif(not has_avx2(), reason="no Linux on x86-64 with AVX2")
def test_a_printed_command_sets_the_variables_itself(tiny_copy: Path) -> None:
    record, logits = tiny_copy / RECORD, tiny_copy / RECORD.replace("records", "logits").replace(".json", ".h5")
    before = record.read_bytes(), logits.read_bytes()
    printed = command(tiny_copy)
    words = " ".join(f"{name}={value}" for name, value in VARIABLES.items())
    assert printed.startswith(f"env {words} ")

    def run(text: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment() | {"OPENBLAS_CORETYPE": "Zen", "OMP_NUM_THREADS": "1"}
        return subprocess.run(["bash", "-c", text], cwd=tiny_copy, env=environment, capture_output=True, text=True)

    record.unlink()
    logits.unlink()
    result = run(printed)
    assert result.returncode == 0, result.stderr
    assert (record.read_bytes(), logits.read_bytes()) == before
    result = run(printed.removeprefix(f"env {words} "))
    assert result.returncode == 1 and result.stderr.startswith(
        "Error: rrl.stages.probe: found ATEN_CPU_CAPABILITY not set, "
    )
    assert result.stderr.count("\n") == 1 and "OPENBLAS_CORETYPE Zen" in result.stderr
    result = run(printed.replace("--threads 1", "--threads 2"))
    assert result.returncode == 1 and result.stderr.startswith("Error: rrl.stages.probe: found --threads 2; ")


def test_native_arithmetic_sets_no_variable(tmp_path: Path) -> None:
    clone = copy_clone(tmp_path / "clone")
    with edited(clone / CONFIG, "arithmetic: portable", "arithmetic: native"):
        assert command(clone).startswith(f"{sys.executable} -m rrl.stages.probe ")


def test_a_profile_gives_portable_jobs_no_more_threads(tmp_path: Path) -> None:
    clone = copy_clone(tmp_path / "clone")
    more = ("--dry-run", "--printshellcmds", "--set-threads", "probe=2", "pretrain=2")
    assert " --threads 2 " not in snakemake(clone, RECORD, options=more, quiet=False)
    with edited(clone / CONFIG, "arithmetic: portable", "arithmetic: native"):
        assert " --threads 2 " in snakemake(clone, RECORD, options=more, quiet=False)


AS_ARM = """
import platform, sys
platform.machine = lambda: "aarch64"
from snakemake.cli import main
main(sys.argv[1:])
"""


def test_a_machine_without_avx2_is_told_once_and_runs(tmp_path: Path) -> None:
    clone = copy_clone(tmp_path / "clone")
    words = ["results/tiny/targets/mnist.json", "--cores", "1", "--scheduler", "greedy", "--printshellcmds"]
    words += ["--configfile", CONFIG]
    result = subprocess.run(
        [sys.executable, "-c", AS_ARM, *words], cwd=clone, env=clean_environment(), capture_output=True, text=True
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert output.count("arithmetic: portable: this machine is not Linux on x86-64 with AVX2") == 1
    assert output.index("this machine is not") < output.index("Shell command") and "env ATEN" not in output
