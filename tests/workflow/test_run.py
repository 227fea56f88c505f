"""What a run of the workflow shows: its bar on a terminal, and the summary at its end, against what ran."""

import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.clones import duplicate, edited, planned_jobs, run_snakemake, snakemake
from tests.helpers.terminal import OF_A_TERMINAL, left_to_see, on_a_terminal


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


CONFIG = "workflow/config/tiny.yaml"


def counts(output: str, heading: str) -> Counter[str]:
    """Jobs by rule in a line of the summary such as `Failed: 3 jobs (1 probe, 2 extract).`"""
    (line,) = re.findall(rf"^{heading}: (.*)\.$", output, re.M)
    jobs = Counter({rule: int(count) for count, rule in re.findall(r"(\d+) (\w+)(?=[,)])", line)})
    assert int(line.split()[0]) == jobs.total()
    return jobs


def ran(output: str) -> Counter[str]:
    """Jobs by rule in the first part of the summary."""
    jobs = Counter({rule: int(count) for count, rule in re.findall(r"^ +(\d+) (\w+) +[\d.]+ \w+", output, re.M)})
    (total,) = re.findall(r"^Ran (\d+) jobs? in ", output, re.M)
    assert int(total) == jobs.total()
    return +jobs


def finished(output: str) -> Counter[str]:
    """Jobs by rule that Snakemake itself says have finished."""
    jobs = Counter(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)$", output, re.M))
    del jobs["all"]
    return jobs


PLACES = """\
Tables: results/tiny/table1.csv, results/tiny/table2.csv (.md, .tex)
Figures: results/tiny/figures/accuracy.svg, results/tiny/figures/gains.svg, results/tiny/figures/networks.svg, \
results/tiny/figures/similarity.svg (.png)
Records: results/tiny/records.csv, and each by itself in results/tiny/records/
"""


def test_summary_of_a_first_run(tiny: Path) -> None:
    first = min((tiny / ".snakemake/log").glob("*.log")).read_text()
    assert ran(first) == finished(first) and len(finished(first)) == 16
    assert counts(first, "Already there") == Counter() and PLACES in first
    assert "Failed" not in first and "Not run" not in first


def test_summary_of_a_run_with_nothing_to_do(tiny: Path) -> None:
    first = min((tiny / ".snakemake/log").glob("*.log")).read_text()
    output = snakemake(tiny)
    assert re.search(r"^Nothing to be done.*\nRan nothing, in [\d.]+ s\.$", output, re.M), output
    assert counts(output, "Already there") == finished(first) and output.endswith(PLACES)
    assert not OF_A_TERMINAL.search(output)
    assert "Ran " not in snakemake(tiny, options=("--dry-run",))


FEATURES = "results/tiny/features/mnist/erm-s{}.json"


@pytest.fixture(scope="module")
def copy(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(tiny, tmp_path_factory.mktemp("progress") / "clone", symlinks=True)


def test_a_seed_more_on_a_terminal(copy: Path) -> None:
    command = [sys.executable, "-m", "snakemake", FEATURES.format(2), "--cores", "1", "--configfile", CONFIG]
    with edited(copy / CONFIG, "seeds: [0, 1]}", "seeds: [0, 1, 2]}"):
        planned = planned_jobs(copy, FEATURES.format(2))
        status, written = on_a_terminal(command, copy)
    assert status == 0, written
    for done, running in (("0/2", "pretrain erm-s2"), ("1/2", "extract mnist/erm-s2")):
        assert re.search(rf"\r *\d+%\|[^|]{{24}}\| {done} \[[^\]]*(job/s|s/job), {running}\]", written), written
    plain = left_to_see(written)
    assert ran(plain) == Counter(planned) == Counter({"pretrain": 1, "extract": 1})
    assert counts(plain, "Already there") == Counter({"target": 2})
    assert "Finished jobid" not in plain and "Job stats" in plain


def test_summary_of_a_run_with_a_job_that_fails(copy: Path) -> None:
    with edited(copy / CONFIG, "learning_rate: 0.1\n", "learning_rate: 1.0e+20\n"):
        result = run_snakemake(copy, FEATURES.format(0))
    output = result.stdout + result.stderr
    assert result.returncode == 1
    assert re.search(r"^No job ended well, in [\d.]+ s\.$", output, re.M)
    assert counts(output, "Failed") == Counter({"pretrain": 1})
    assert counts(output, "Not run, or not to the end") == Counter({"extract": 1})
    assert counts(output, "Already there") == Counter({"target": 2})
    assert re.search(r"^results/tiny/logs/pretrain/erm-s0\.log: Error: epoch 1, step \d+: the loss is ", output, re.M)
    assert "Tables: " not in output
