"""A real Slurm of one node and two GPUs on loopback: Debian's daemons, a private folder, the configuration in /etc/slurm.

The GPUs are device files without a driver: Slurm counts them and sets CUDA_VISIBLE_DEVICES; jobs compute on the CPU.
The configuration must lie in /etc/slurm, as the jobs of Snakemake's executor drop SLURM_CONF. A file there that is
not this module's own is never touched.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
OURS = "# rrl: the tests' own cluster"
PROGRAMS = ["munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd"]
FILES = ["slurm.conf", "gres.conf", "slurmdbd.conf"]
GPUS = 2
LIMIT = 60  # seconds that the cluster, or a daemon of it, may take to answer

SLURM = """{ours}
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SrunPortRange=27000-27100
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
ReturnToService=2
KillWait=15
MinJobAge=600
{accounting}
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 Boards=1 SocketsPerBoard=1 CoresPerSocket=16 ThreadsPerCore=1 \
RealMemory=500000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP
PartitionName=gpu Nodes=ALL MaxTime=UNLIMITED State=UP
"""

NO_ACCOUNTS = "AccountingStorageType=accounting_storage/none"
ACCOUNTS = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=26819
AccountingStoragePass={folder}/munge.socket"""
SLURMDBD = """{ours}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort=26819
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=26820
StorageUser=root
StorageLoc=slurm
"""


def absent() -> str | None:
    """Why no cluster can be started here, or None."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return (
            f"{', '.join(missing)} not found; to install them: apt-get install slurm-wlm munge slurmdbd mariadb-server"
        )
    if os.geteuid() != 0:
        return "the daemons need root"
    for path in (CONFIGURATION / name for name in FILES):
        if path.exists() and not path.read_text().startswith(OURS):
            return f"{path} is this machine's own: the tests' cluster would need its place"
    return None


def run(*command: str, check: bool = True) -> str:
    """What a command of Slurm prints."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert not check or result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


@contextmanager
def running(folder: Path, accounts: bool = False) -> Iterator["Cluster"]:
    """A cluster, stopped behind the block. Fails where none can be started."""
    why_not = absent()
    assert why_not is None, f"no cluster can be started: {why_not}"
    cluster = Cluster(folder, accounts)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Cluster:
    """The daemons, and what the cluster says of its jobs.

    accounts : whether it keeps accounts, in a MariaDB of its own, so that sacct answers.
    """

    def __init__(self, folder: Path, accounts: bool = False):
        self.folder, self.accounts = folder, accounts
        self.host = socket.gethostname().partition(".")[0]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Returns when a job has run."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        facts = {"ours": OURS, "host": self.host, "folder": self.folder, "gpus": GPUS}
        accounting = ACCOUNTS.format(**facts) if self.accounts else NO_ACCOUNTS
        (CONFIGURATION / "slurm.conf").write_text(SLURM.format(**facts, accounting=accounting))
        devices = [self.folder / f"gpu{number}" for number in range(GPUS)]
        for number, device in enumerate(devices):
            os.mknod(device, 0o666 | 0o020000, os.makedev(195, number))
        lines = [f"Name=gpu File={device}" for device in devices]
        (CONFIGURATION / "gres.conf").write_text("\n".join([OURS, *lines, ""]))
        (self.folder / "key").write_bytes(os.urandom(128))
        (self.folder / "key").chmod(0o400)
        self.start_daemon(
            "munged", "--foreground", "--force", f"--key-file={self.folder}/key", f"--socket={self.folder}/munge.socket",
            f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/seed",
        )  # fmt: skip
        if self.accounts:
            self.start_accounts(SLURMDBD.format(**facts))
        self.start_slurmctld()
        self.start_daemon("slurmd", "-D")
        self.wait("srun", "-Q", "-N1", "-n1", "--mem=10", "--immediate=2", "true")

    def start_accounts(self, configuration: str) -> None:
        database = self.folder / "database"
        run("mariadb-install-db", "--no-defaults", f"--datadir={database}", "--user=root", "--skip-test-db",
            "--auth-root-authentication-method=normal")  # fmt: skip
        socket_ = f"--socket={self.folder}/mariadb.socket"
        self.start_daemon(
            "mariadbd", "--no-defaults", f"--datadir={database}", "--user=root", "--bind-address=127.0.0.1",
            "--port=26820", socket_,
        )  # fmt: skip
        self.wait("mariadb-admin", "--no-defaults", socket_, "ping")
        path = CONFIGURATION / "slurmdbd.conf"
        path.write_text(configuration)
        path.chmod(0o600)
        self.start_daemon("slurmdbd", "-D")
        self.wait("sacctmgr", "--immediate", "add", "cluster", "local")

    def start_slurmctld(self) -> None:
        self.start_daemon("slurmctld", "-D")
        self.wait("scontrol", "ping")

    def start_daemon(self, name: str, *options: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as log:
            self.daemons[name] = subprocess.Popen([name, *options], stdout=log, stderr=log, start_new_session=True)

    def stop_daemon(self, name: str) -> None:
        daemon = self.daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(LIMIT)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def wait(self, *command: str) -> None:
        """Until the command succeeds."""
        end = time.monotonic() + LIMIT
        while subprocess.run(command, capture_output=True, timeout=LIMIT).returncode != 0:
            logs = "".join(path.read_text()[-2000:] for path in self.folder.glob("*.out"))
            dead = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            assert time.monotonic() < end and not dead, f"{command}: no success; ended: {dead}\n{logs}"
            time.sleep(0.1)

    def stop(self) -> None:
        """Jobs that still run are killed; the configuration is taken away."""
        if "slurmctld" in self.daemons:
            run("scancel", "--signal=KILL", "--full", "--user=root", check=False)
            run("scancel", "--user=root", check=False)
        for name in list(self.daemons)[::-1]:
            self.stop_daemon(name)
        for step in self.folder.glob("spool/*stepd*"):  # what a job that hangs leaves behind
            if match := re.search(r"_(\d+)\.", step.name):
                subprocess.run(["pkill", "-KILL", "-f", f"slurmstepd.*{match[1]}"])
        for name in FILES:
            (CONFIGURATION / name).unlink(missing_ok=True)

    def jobs(self, state: str = "RUNNING,PENDING,COMPLETING") -> list[str]:
        """Ids of the jobs in these states."""
        return run("squeue", "--noheader", "--format=%i", f"--states={state}").split()

    def record(self) -> list[dict[str, str]]:
        """A line per job that ran and ended, as the controller wrote it."""
        path = self.folder / "jobs.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines if "StartTime=Unknown" not in line]

    def idle(self, jobs: list[dict[str, str]]) -> float:
        """Seconds between the start of the first and the end of the last of these jobs in which none of them ran."""
        times = sorted(tuple(datetime.fromisoformat(job[name]) for name in ("StartTime", "EndTime")) for job in jobs)
        idle, until = 0.0, times[0][0]
        for start, end in times:
            idle += max(0.0, (start - until).total_seconds())
            until = max(until, end)
        return idle

    def most_at_once(self, partition: str) -> int:
        """Of a partition's jobs that ended, the largest number that ran at the same time."""
        moments = []
        for job in self.record():
            if job["Partition"] == partition:
                start, end = (datetime.fromisoformat(job[name]) for name in ("StartTime", "EndTime"))
                moments += [(start, 1), (end, -1)] if end > start else []
        at_once = most = 0
        for _, change in sorted(moments):  # of the same second, ends come first
            at_once += change
            most = max(most, at_once)
        return most
