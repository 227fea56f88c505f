"""The workflow on a Slurm that keeps accounts: states of jobs from sacct."""

from collections.abc import Iterator

import pytest

from tests.cluster.clones import Clone, clone
from tests.cluster.daemons import CONFIGURATION, Cluster, run, running

TINY_RECORD = "results/tiny/records/mnist/erm-s0/linear_probe.json"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster"), accounts=True) as started:
        yield started


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return clone(tmp_path_factory.mktemp("accounts") / "clone")


def test_squeue_that_forgets_too_early_is_refused(cluster: Cluster, made: Clone) -> None:
    path = CONFIGURATION / "slurm.conf"
    text = path.read_text()
    path.write_text(text.replace("MinJobAge=600", "MinJobAge=60"))
    run("scontrol", "reconfigure")
    try:
        assert made.run(TINY_RECORD) == 1
    finally:
        path.write_text(text)
        run("scontrol", "reconfigure")
    said = "found squeue, but this cluster forgets a job 60 s after its end; use sacct"
    assert f"\nError: slurm-status-command in slurm/config.yaml: {said}\n" in made.output
    assert run("sacct", "--noheader", "--format=jobid", "--name", "snakemake") == "" and cluster.jobs() == []


def test_with_sacct(cluster: Cluster, made: Clone) -> None:
    assert made.run(TINY_RECORD, options=("--slurm-status-command", "sacct")) == 0, made.output[-3000:]
    states = run("sacct", "--noheader", "-X", "--parsable2", "--format=state,partition,workdir").splitlines()
    assert [line for line in states if line.endswith(str(made.folder))] == [f"COMPLETED|gpu|{made.folder}"] * 3
