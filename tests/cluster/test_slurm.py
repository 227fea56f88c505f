"""The workflow on a real Slurm: what one gets is what a local run makes, whatever goes wrong between.

Faults are injected into a chain of three cluster jobs (a network, its features, a probe), each in a clone of its own,
several at once, as they mostly wait. What happens in each is a function; what must be seen then is a test.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from rrl.job import read_card
from tests.cluster import daemons
from tests.cluster.clones import RECORD, Clone, artifacts, clone, locally
from tests.cluster.daemons import GPUS, Cluster, absent, run, running
from tests.helpers.clones import CLONE, duplicate
from tests.helpers.jobs import HOSTILE


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


# The undisturbed workflow


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, float]:
    """The literal command of the README, but for the config and the threads; and the seconds that it took."""
    made = clone(tmp_path_factory.mktemp("undisturbed") / "clone")
    before = time.monotonic()
    status = made.run()
    seconds = time.monotonic() - before
    assert status == 0, made.output[-3000:]
    return made, seconds


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return locally(clone(tmp_path_factory.mktemp("local") / "clone"))


def test_the_cluster_makes_the_bytes_of_a_local_run(undisturbed: tuple[Clone, float], local: Clone) -> None:
    found, expected = artifacts(undisturbed[0].folder, "tiny"), artifacts(local.folder, "tiny")
    assert len(expected) > 60 and any(name.startswith("records/") for name in expected)
    assert found == expected


def test_never_more_jobs_than_gpus(cluster: Cluster, undisturbed: tuple[Clone, float]) -> None:
    assert cluster.most_at_once("gpu") == GPUS
    logs = list((undisturbed[0].folder / "results/tiny/logs").rglob("*.log"))
    told = [line for log in logs for line in re.findall(r"^Slurm job \d+ on \S+, GPUs (\S+)$", log.read_text(), re.M)]
    on_gpu = [log for log in logs if log.relative_to(undisturbed[0].folder / "results/tiny/logs").parts[0] in
              ("pretrain", "random_network", "extract", "probe", "finetune", "two_stage")]  # fmt: skip
    assert len(on_gpu) > 30 and told.count("0") + told.count("1") == len(on_gpu)


def test_small_stages_are_not_sent_to_the_cluster(cluster: Cluster, undisturbed: tuple[Clone, float]) -> None:
    jobs = [job for job in cluster.record() if job["WorkDir"] == str(undisturbed[0].folder)]
    assert len(jobs) == 53  # of 78
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}


def test_settings_reach_a_job_of_the_cluster_byte_for_byte(
    cluster: Cluster, undisturbed: tuple[Clone, float], tmp_path: Path
) -> None:
    """In the command line, and in a file where they are too long for one; of a table, which otherwise is made here."""
    made = Clone(duplicate(undisturbed[0].folder, tmp_path / "clone"), undisturbed[0].config)
    rules, config = made.folder / "workflow/rules/tables.smk", made.folder / made.config
    assert "    table,\n" in rules.read_text()
    rules.write_text(rules.read_text().replace("    table,\n", ""))
    content, said = yaml.safe_load(config.read_text()), " ".join(HOSTILE.split())
    table = content["tables"]["table2"]
    rows = [{"method": f"{number} {HOSTILE}", "group": "random", "ensemble": False} for number in range(200)]
    for change in ({"caption": HOSTILE}, {"rows": table["rows"] + rows}):
        table.update(change)
        config.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
        assert made.run("results/tiny/table2.csv") == 0, made.output[-3000:]
        layout = read_card(made.folder / "results/tiny/table2.json").settings["layout"]
        assert layout["caption"] == said
    assert [row["method"] for row in layout["rows"][-200:]] == [f"{number} {said}" for number in range(200)]
    jobs = [job for job in cluster.record() if job["WorkDir"] == str(made.folder)]
    assert len(jobs) == 2 and not list(made.folder.rglob("pwned*"))


def test_what_a_level_costs(cluster: Cluster, undisturbed: tuple[Clone, float]) -> None:
    """Printed, not limited: times here depend on what else runs."""
    jobs = [job for job in cluster.record() if job["WorkDir"] == str(undisturbed[0].folder)]
    idle, levels = cluster.idle(jobs), 7
    print(
        f"tiny: {undisturbed[1]:.0f} s, {len(jobs)} jobs; nothing ran for {idle:.0f} s: {idle / levels:.1f} s a level"
    )


# Faults

Outcome = Clone
FAULTS: dict[str, Callable[[Clone, Cluster], None]] = {}
ALONE: list[str] = []  # those that all jobs of the cluster would feel


def fault(name: str, alone: bool = False) -> Callable[[Callable[[Clone, Cluster], None]], None]:
    def add(function: Callable[[Clone, Cluster], None]) -> None:
        FAULTS[name] = function
        if alone:
            ALONE.append(name)

    return add


@fault("exit status 1")
def _(of: Clone, cluster: Cluster) -> None:
    data = of.folder / "data"
    there = os.readlink(data)
    process = of.start(RECORD, options=("--retries", "1"))
    of.wait(lambda: (of.folder / "results/chain/targets/mnist.json").exists())
    of.wait(lambda: (of.folder / "results/chain/targets/fashion-source.json").exists())
    data.unlink()
    assert of.end(process) == 1
    of.notes["failed"] = of.output
    data.symlink_to(there)
    of.notes["jobs"] = str(len([job for job in cluster.record() if job["WorkDir"] == str(of.folder)]))


@fault("out of memory")
def _(of: Clone, cluster: Cluster) -> None:
    more = ("--set-resources", "pretrain:mem_mb=450 * attempt ** 3", "pretrain:slurm_partition=gpu")
    of.notes["status"] = str(of.run(RECORD, options=more))
    of.notes["failed"] = of.output
    jobs = [job for job in cluster.record() if job["WorkDir"] == str(of.folder)]
    of.notes["memory"] = " ".join(re.findall(r"mem=(\w+)", " ".join(job["Tres"] for job in jobs)))


def is_stopped(pid: int) -> bool:
    """Whether a process is held up by SIGSTOP."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False


@fault("time limit")
def _(of: Clone, cluster: Cluster) -> None:
    """Slurm looks for jobs to warn every half a minute, or later: until then the training is held up. Slurm itself lets
    go of the processes that it warns."""
    less = ("--set-resources", "pretrain:runtime=1", "pretrain:slurm_partition=gpu")
    process = of.start(RECORD, options=less)
    of.training()
    ids = [int(pid) for pid in run("pgrep", "-f", "rrl.stages.pretrain").split()]
    here = [pid for pid in ids if os.path.realpath(f"/proc/{pid}/cwd") == os.path.realpath(of.folder)]
    for pid in here:
        os.kill(pid, signal.SIGSTOP)
    of.wait(lambda: not any(map(is_stopped, here)))
    of.notes["status"] = str(of.end(process))
    of.notes["failed"] = of.output


@fault("scancel")
def _(of: Clone, cluster: Cluster) -> None:
    process = of.start(RECORD, options=("--retries", "0"))
    run("scancel", of.training())
    of.notes["status"] = str(of.end(process))
    of.notes["failed"] = of.output


@fault("requeued")
def _(of: Clone, cluster: Cluster) -> None:
    process = of.start(RECORD, options=("--retries", "0"))
    job = of.training()
    run("scontrol", "requeue", job)
    of.wait(lambda: job in cluster.jobs("PENDING"))
    run("scontrol", "update", f"jobid={job}", "starttime=now")  # else it waits for two minutes
    of.notes["status"] = str(of.end(process))
    of.notes["again"] = str(of.job() == job)


@fault("SIGTERM of snakemake")
def _(of: Clone, cluster: Cluster) -> None:
    process = of.start(RECORD)
    of.training()
    process.send_signal(signal.SIGTERM)
    of.notes["status"] = str(of.end(process))
    of.notes["network"] = str((of.folder / "results/chain/networks/erm-s0.json").exists())
    of.notes["locked"] = str(any((of.folder / ".snakemake/locks").glob("*")))


@fault("Ctrl-C")
def _(of: Clone, cluster: Cluster) -> None:
    process = of.start(RECORD)
    job = of.training()
    os.killpg(process.pid, signal.SIGINT)
    of.notes["status"] = str(of.end(process))
    of.wait(lambda: job not in cluster.jobs())
    of.notes["locked"] = str(any((of.folder / ".snakemake/locks").glob("*")))


@fault("SIGKILL of snakemake")
def _(of: Clone, cluster: Cluster) -> None:
    process = of.start(RECORD)
    job = of.training()
    run("scontrol", "suspend", job)  # so that it is still there when all is looked at
    process.kill()
    process.wait()
    of.notes["job"] = job
    of.run(RECORD)
    of.notes["locked"] = of.output
    assert of.run("--unlock") == 0
    of.notes["status"] = str(of.run(RECORD))
    of.notes["refused"] = of.output
    of.notes["dry run"] = str(of.run(RECORD, options=("--dry-run",)))
    run("scontrol", "resume", job)
    run("scancel", job)
    of.wait(lambda: job not in cluster.jobs())


@fault("slurmctld away, then a drained node", alone=True)
def _(of: Clone, cluster: Cluster) -> None:
    process = of.start(RECORD, options=("--retries", "0"))
    of.training()
    cluster.stop_daemon("slurmctld")
    time.sleep(5)
    cluster.start_slurmctld()
    run("scontrol", "update", f"nodename={cluster.host}", "state=drain", "reason=test")
    of.wait(lambda: cluster.jobs("PENDING"))
    of.notes["reason"] = run("squeue", "--noheader", "--format=%r", "--states=PENDING")
    run("scontrol", "update", f"nodename={cluster.host}", "state=resume")
    of.notes["status"] = str(of.end(process))


@fault("slurmctld without its memory", alone=True)
def _(of: Clone, cluster: Cluster) -> None:
    process = of.start(RECORD, options=("--retries", "1"))
    of.training()
    cluster.stop_daemon("slurmctld")
    for path in (cluster.folder / "state").glob("job_state*"):
        path.unlink()
    cluster.start_slurmctld()
    of.notes["status"] = str(of.end(process))
    of.notes["failed"] = of.output


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Clone]]]:
    """What came of each fault, after a rerun of the same command."""
    root = tmp_path_factory.mktemp("faults")

    def disturbed(name: str) -> Clone:
        made = clone(root / name.replace(" ", "-"), "chain.yaml")
        start = time.monotonic()
        FAULTS[name](made, cluster)
        between = time.monotonic()
        status = made.run(RECORD)
        print(f"{name}: {between - start:.0f} s, rerun {time.monotonic() - between:.0f} s")
        assert status == 0, made.output[-3000:]
        return made

    with ThreadPoolExecutor(4) as pool:
        found = {name: pool.submit(disturbed, name) for name in FAULTS if name not in ALONE}
        for future in found.values():
            future.exception()
        for name in ALONE:
            found[name] = Future()
            try:
                found[name].set_result(disturbed(name))
            except Exception as error:
                found[name].set_exception(error)
        yield found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    made = locally(clone(tmp_path_factory.mktemp("expected") / "clone", "chain.yaml"), RECORD)
    return artifacts(made.folder, "chain")


@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_a_rerun_makes_the_undisturbed_bytes(
    outcomes: dict[str, Future[Clone]], expected: dict[str, bytes], name: str
) -> None:
    made = outcomes[name].result()
    assert artifacts(made.folder, "chain") == expected
    assert not [path for path in (made.folder / "results/chain/work").rglob("*") if path.is_file()]
    assert made.run(RECORD) == 0 and "Nothing to be done" in made.output


def failed(made: Clone, said: str) -> re.Match[str] | None:
    """Whether a line told of the failed training, with its log, and in these words."""
    log = "results/chain/logs/pretrain/erm-s0.log"
    return re.search(rf"^{log}: Slurm job \d+ on \w+ {said}", made.notes["failed"], re.M)


def test_exit_status_1(outcomes: dict[str, Future[Clone]]) -> None:
    made = outcomes["exit status 1"].result()
    assert failed(made, r"failed with exit status 1: Error: data/fashion-mnist/\S+: missing, or not the \d+ bytes")
    assert made.notes["jobs"] == "2"  # the second because of --retries 1, and no third


def test_out_of_memory(outcomes: dict[str, Future[Clone]]) -> None:
    made = outcomes["out of memory"].result()
    assert made.notes["status"] == "0" and failed(made, "ran out of memory: it had 450M")
    assert made.notes["memory"].split()[:2] == ["450M", "3600M"]


def test_time_limit(outcomes: dict[str, Future[Clone]]) -> None:
    made = outcomes["time limit"].result()
    assert made.notes["status"] == "0"
    assert failed(made, "reached its time limit of 00:01:00: SIGTERM: saved at epoch")
    log = made.log("pretrain", "erm-s0")
    assert "goes on at epoch" in log and log.count("\nepoch 1/100 ") == 1


def test_scancel(outcomes: dict[str, Future[Clone]]) -> None:
    made = outcomes["scancel"].result()
    assert made.notes["status"] == "1" and failed(made, r"was cancelled \(scancel\): SIGTERM: saved at epoch")
    assert "goes on at epoch" in made.log("pretrain", "erm-s0")


def test_requeued(outcomes: dict[str, Future[Clone]]) -> None:
    made = outcomes["requeued"].result()
    assert made.notes == {"status": "0", "again": "True"}
    log = made.log("pretrain", "erm-s0")
    assert "goes on at epoch" in log and log.count("\nepoch 1/100 ") == log.count("\nepoch 100/100 ") == 1


def test_sigterm_of_snakemake(outcomes: dict[str, Future[Clone]]) -> None:
    """It waits for its jobs, and says that it did not finish."""
    notes = outcomes["SIGTERM of snakemake"].result().notes
    assert notes == {"status": "1", "network": "True", "locked": "False"}


def test_ctrl_c(outcomes: dict[str, Future[Clone]]) -> None:
    made = outcomes["Ctrl-C"].result()
    assert made.notes == {"status": "1", "locked": "False"}
    assert "goes on at epoch" in made.log("pretrain", "erm-s0")


def test_jobs_of_a_killed_snakemake_are_not_run_twice(outcomes: dict[str, Future[Clone]]) -> None:
    notes = outcomes["SIGKILL of snakemake"].result().notes
    assert "snakemake --unlock" in notes["locked"] or "--unlock" in notes["locked"]
    job = notes["job"]
    assert notes["status"] == "1" and "Traceback" not in notes["refused"]
    assert re.search(
        rf"^Error: Slurm jobs of an earlier run in this folder still run or wait, and write the same files: {job}. "
        rf"Wait until they have ended, or end them: scancel {job}. Then run the same command again$",
        notes["refused"], re.M,
    )  # fmt: skip
    assert notes["dry run"] == "0"


def test_slurmctld_away_then_a_drained_node(outcomes: dict[str, Future[Clone]]) -> None:
    notes = outcomes["slurmctld away, then a drained node"].result().notes
    assert notes["status"] == "0" and "ReqNodeNotAvail" in notes["reason"]


def test_slurmctld_without_its_memory(outcomes: dict[str, Future[Clone]]) -> None:
    notes = outcomes["slurmctld without its memory"].result().notes
    assert notes["status"] == "0" and re.search(r"Slurm does not know job \d+ any more", notes["failed"])


def general(text: str) -> str:
    """Without numbers and names of hosts."""
    return re.sub(r"N( N)+", "N", re.sub(r"\d+", "N", re.sub(r" on \w+", " on HOST", text)))


def test_the_page_shows_what_is_seen(outcomes: dict[str, Future[Clone]]) -> None:
    page = (CLONE / "docs/cluster.md").read_text()
    shown = re.findall(r"`(Slurm (?:job|does) [^`]*)`", page) + re.findall("^Error: .*$", page, re.M)
    assert len(shown) == 6
    notes = [note for future in outcomes.values() for note in future.result().notes.values()]
    seen = general("\n".join(notes))
    for text in shown:
        assert general(text.removesuffix("...")) in seen, text


# More than one GPU, and what is refused


def test_two_gpus(cluster: Cluster, tmp_path: Path) -> None:
    made = clone(tmp_path / "clone", "chain.yaml")
    path = made.folder / "chain.yaml"
    text = (
        path.read_text()
        .replace("epochs: 100\n", "epochs: 1\n")
        .replace("learning_rate: 0.1", "learning_rate: 0.001", 1)
        .replace("arithmetic: portable", "arithmetic: native")  # the former has one process
    )
    path.write_text(text.replace("epochs: 1\n", "epochs: 1\n    gpus: 2\n", 1))
    network = "results/chain/networks/erm-s0.json"
    assert made.run(network) == 0, made.output
    assert re.search("^Slurm job .*, GPUs 0,1$", made.log("pretrain", "erm-s0"), re.M)
    two = load_file((made.folder / network).with_suffix(".safetensors"))
    path.write_text(text)
    assert made.run(network) == 0 and "Nothing to be done" in made.output  # `gpus` reruns nothing
    (made.folder / network).unlink()
    one = load_file((locally(made, network).folder / network).with_suffix(".safetensors"))
    assert two.keys() == one.keys() and any((two[name] != one[name]).any() for name in one)
    assert max(np.abs(two[name] - one[name]).max() for name in one) < 1e-3


def test_a_machine_with_its_own_slurm_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "CONFIGURATION", tmp_path)
    assert absent() is None
    (tmp_path / "slurm.conf").write_text("ClusterName=production\n")
    assert absent() == f"{tmp_path}/slurm.conf is this machine's own: the tests' cluster would need its place"


def test_partitions_that_are_not_there_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    made = clone(tmp_path / "clone", "chain.yaml")
    profile = made.folder / "slurm/config.yaml"
    profile.write_text(profile.read_text().replace("slurm_partition: gpu", "slurm_partition: a100,gpu"))
    assert made.run(RECORD) == 1
    said = (
        "slurm_partition in slurm/config.yaml: found a100; this cluster has cpu, gpu: edit the top of slurm/config.yaml"
    )
    assert f"\nError: {said}\n" in made.output and "Traceback" not in made.output


def test_sacct_without_accounts_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    made = clone(tmp_path / "clone", "chain.yaml")
    assert made.run(RECORD, options=("--slurm-status-command", "sacct")) == 1
    said = "slurm-status-command in slurm/config.yaml: found sacct, but this cluster keeps no accounts; use squeue"
    assert f"\nError: {said}\n" in made.output and "Traceback" not in made.output
