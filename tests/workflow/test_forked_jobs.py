"""Runs with the fork server and without it: the same artifacts, and neither makes anything of the other again."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from tests.helpers.clones import clean_environment, planned_jobs
from tests.helpers.kills import files_of
from workflow.fork_server import SERVE, VARIABLE

OPTIONS = ["--cores", "2", "--scheduler", "greedy", "--configfile", "workflow/config/tiny.yaml"]


def with_server(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "workflow.resume", *OPTIONS, *options]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean_environment())
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_with_and_without_it_the_results_are_the_same(tiny: Path, tiny_copy: Path) -> None:
    """What is there was made without one, and under another hash seed."""
    assert "Nothing to be done" in with_server(tiny_copy)
    for path in [*(tiny_copy / "results/tiny").rglob("*random-s0*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    output = with_server(tiny_copy, "--printshellcmds")
    assert planned_jobs(tiny_copy) == {}  # without one
    expected, found = files_of(tiny), files_of(tiny_copy)
    assert {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)} == {
        name for name in expected if name.endswith(".run.json") and expected[name] != found[name]
    }
    log = "results/tiny/logs/probe/mnist/random-s0/linear_probe.log"
    assert (tiny_copy / log).read_bytes() == (tiny / log).read_bytes()
    running = [
        process.info["cmdline"] or []
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(tiny_copy)
    ]
    assert not [words for words in running if SERVE in words]
    # Each command works where it is pasted.
    assert VARIABLE not in os.environ
    (command,) = re.findall(r"^Shell command: (.* -m rrl\.stages\.collect .*) 2> \S+$", output, re.MULTILINE)
    assert " -IS " in command and "workflow/fork_server.py" in command
    (tiny_copy / "results/tiny/records.csv").unlink()
    subprocess.run(command, shell=True, cwd=tiny_copy, check=True, env=clean_environment())
    assert files_of(tiny_copy)["records.csv"] == expected["records.csv"]
