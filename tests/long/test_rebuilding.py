"""What is refused, and rebuilt by the command that the message gives, through Snakemake."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.clones import duplicate, edited, planned_jobs, run_snakemake, snakemake
from tests.helpers.reruns import PROBES, ROOT, fitting, planned
from tests.helpers.spoilt import CASES, PROBE, Case, cut

# One of each way from a file to its reader: over a job in between, directly, behind a virtual file, as a card. All of
# them, by the jobs alone, are in tests/workflow/test_refusals.py.
CHOSEN = ["a bit of a network", "half of features", "half of a virtual file", "a bit of logits", "a better number of a run", "another record"]  # fmt: skip


@pytest.fixture
def copy(tiny_copy: Path) -> Path:
    return tiny_copy


def check(case: Case, copy: Path) -> None:
    root = copy / ROOT
    before, content = (root / case.record).read_bytes(), (root / case.file).read_bytes()
    for name in filter(None, {case.record, case.deleted} - {case.file}):
        (root / name).unlink()
    case.spoil(root / case.file)
    result = run_snakemake(copy, f"{ROOT}/{case.record}")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output, output
    (line,) = {line for line in output.splitlines() if "Error:" in line and f"{ROOT}/{case.file}" in line}
    assert re.search(f"Error: {ROOT}/{case.file}: .*({case.message})", line), line
    (command,) = re.findall(r"to rebuild it: (rm -f \S+), then run the same snakemake command again", line)
    subprocess.run(["bash", "-c", command], cwd=copy, check=True)
    snakemake(copy, f"{ROOT}/{case.record}")
    assert (root / case.record).read_bytes() == before
    if not case.file.startswith("features"):  # whose space between datasets has no meaning
        assert (root / case.file).read_bytes() == content


@pytest.fixture(scope="module")
def outcomes(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exception | None]:
    """Of the cases, two at a time, each in a copy of its own."""

    def outcome(name: str) -> Exception | None:
        folder = duplicate(tiny, tmp_path_factory.mktemp("spoilt") / "clone")
        try:
            check(CASES[name], folder)
        except Exception as error:
            return error
        shutil.rmtree(folder)
        return None

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CHOSEN, pool.map(outcome, CHOSEN), strict=True))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_spoilt_artifact_is_refused_and_the_command_given_rebuilds_it(
    outcomes: dict[str, Exception | None], name: str
) -> None:
    if error := outcomes[name]:
        raise error


def test_a_missing_member_is_made_again(copy: Path) -> None:
    """By the workflow; a stage that is run by hand refuses (test_features.py)."""
    root = copy / ROOT
    before = (root / PROBE).read_bytes()
    (root / PROBE).unlink()
    (root / "features/mnist/erm-s0/test.h5").unlink()
    snakemake(copy, f"{ROOT}/{PROBE}")
    assert (root / PROBE).read_bytes() == before


WEIGHT_DECAYS = ("weight_decays: [0.0, 1.0e-2]", "weight_decays: [0.0, 1.0e-3]")


@pytest.mark.parametrize(
    ("path", "texts", "why", "jobs"),
    [
        ("workflow/config/tiny.yaml", WEIGHT_DECAYS, r"probe.weight_decays: \[0.0, 0.01\] -> \[0.0, 0.001\]", PROBES),
        ("rrl/stages/table.py", ("Windows share", "Windows have"), "code of rrl.stages.table: ", {"table?": 2}),
    ],
)  # fmt: skip
def test_results_alone_of_another_plan_are_refused_and_the_command_given_rebuilds_them(
    copy: Path, path: str, texts: tuple[str, str], why: str, jobs: dict[str, int]
) -> None:
    """All tables are there: Snakemake, without its records, would say that there is nothing to do."""
    shutil.rmtree(copy / ".snakemake")
    with edited(copy / path, *texts):
        result = run_snakemake(copy)
        output = result.stdout + result.stderr
        assert result.returncode == 1 and "Traceback" not in output
        assert re.search(rf"Error: {ROOT}/\S+\.json and \d+ more: {why}.*Snakemake has no record of", output)
        (command,) = re.findall(r"to rebuild them: (.*), then run the same snakemake command again", output)
        subprocess.run(
            ["bash", "-c", f"set -eo pipefail; source {copy}/.venv/bin/activate; {command}"], cwd=copy, check=True
        )
        assert fitting(planned(copy), jobs) == jobs
        snakemake(copy)
        assert planned(copy) == set()


def test_the_commands_given_work_whatever_the_folders_and_the_config_are_called(tiny: Path, tmp_path: Path) -> None:
    copy, root, name = tmp_path / "a clone's $(copy)", "results/it's mine", "it's mine"
    duplicate(tiny, copy)
    (copy / ROOT).rename(copy / root)
    config = copy / f"workflow/config/{name}.yaml"
    config.write_text(
        (copy / "workflow/config/tiny.yaml").read_text().replace(f"results: {ROOT}\n", f'results: "{root}"\n')
    )
    shutil.rmtree(copy / ".snakemake")
    before = (copy / root / PROBE).read_bytes()

    def refused(*targets: str) -> str:
        result = run_snakemake(copy, *targets, config=name)
        output = result.stdout + result.stderr
        assert result.returncode == 1 and "Traceback" not in output, output
        (command,) = set(re.findall(r"to rebuild (?:it|them): (.*), then run the same snakemake command again", output))
        return f"source .venv/bin/activate; {command}"

    cut(copy / root / "representations/mnist/cat2/val.h5")
    (copy / root / PROBE).unlink()
    subprocess.run(["bash", "-ec", refused(f"{root}/{PROBE}")], cwd=copy, check=True)
    snakemake(copy, f"{root}/{PROBE}", config=name)
    assert (copy / root / PROBE).read_bytes() == before

    shutil.rmtree(copy / ".snakemake")
    with edited(config, *WEIGHT_DECAYS):
        subprocess.run(["bash", "-eo", "pipefail", "-c", refused()], cwd=copy, check=True)
        assert planned_jobs(copy, config=name).items() >= {"probe": 14, "ensemble": 4}.items()


def test_results_alone_of_the_same_plan_are_taken(copy: Path) -> None:
    shutil.rmtree(copy / ".snakemake")
    assert planned(copy) == set()
