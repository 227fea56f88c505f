"""Run Snakemake in this folder, also after a run that was killed.

    python -m workflow.resume [options of snakemake]

Where nothing runs in the folder, a lock that a killed Snakemake left is taken away, and files that it left unfinished
are made again. Where something does, nothing is touched.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from glob import glob
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from rrl.config.load import read_config
from rrl.errors import UserError
from rrl.store.files import space_for
from workflow import fork_server
from workflow.folders import check_writable


def processes(folder: Path) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Of those that work in a folder, as far as they can be seen: Snakemakes, and stages that one started. Not those
    that this process was started by."""
    snakemakes, stages = [], []
    above = psutil.Process().parents()
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if (
            process not in above
            and process.info["cwd"] == str(folder)
            and "python" in Path(words[0] if words else "").name
        ):
            words = words[2:] if words[1:2] == ["-IS"] else words  # as workflow.fork_server has it
            program = words[2:3] if words[1:2] == ["-m"] else [Path(word).name for word in words[1:2]]
            if program == ["snakemake"]:
                snakemakes.append(process)
            elif program and program[0].startswith("rrl."):
                stages.append(process)
    return snakemakes, stages


def start_fork_server() -> tuple[dict[str, str], subprocess.Popen[bytes] | None]:
    """The environment for Snakemake, and a server that ends when its standard input is closed: at the latest when this
    process ends, however it does.

    On a system that is not Linux, and on machines with GPUs, which a fork may be unable to use, there is no server and
    the environment names none.
    """
    environment = {name: value for name, value in os.environ.items() if name != fork_server.VARIABLE}
    if sys.platform != "linux" or glob("/dev/nvidia[0-9]*") or Path("/dev/kfd").exists():
        return environment, None
    name = f"rrl-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        command = [sys.executable, "-IS", fork_server.__file__, fork_server.SERVE, str(listener.fileno())]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    return environment | {fork_server.VARIABLE: name}, server


def main(options: list[str]) -> int:
    """Exit status."""
    folder = Path.cwd().resolve()
    snakemake = [sys.executable, "-m", "snakemake", *options]
    lock = folder / ".snakemake/resume.lock"
    try:
        _config(options)
        check_writable([lock])
        with space_for(lock):
            lock.parent.mkdir(exist_ok=True)
        with FileLock(lock, timeout=0):
            snakemakes, stages = processes(folder)
            if snakemakes:
                return _busy(folder, snakemakes)
            if stages:
                print(f"Waits for {len(stages)} jobs of a run that was killed.", file=sys.stderr)
                psutil.wait_procs(stages)
            shutil.rmtree(folder / ".snakemake/locks", ignore_errors=True)  # as --unlock does, in two seconds less
            environment, server = start_fork_server()
            status = _wait(subprocess.Popen([*snakemake, "--rerun-incomplete"], env=environment))
            if server is not None and status >= 0:  # else Snakemake was killed, and jobs may still run
                server.communicate()
            return status
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Timeout:
        return _busy(folder, processes(folder)[0])


def _busy(folder: Path, snakemakes: list[psutil.Process]) -> int:
    if snakemakes:
        number = snakemakes[0].pid
        text = f"snakemake already runs in {folder} (process {number}); wait for it, or end it: kill {number}"
    else:
        text = f"another run in {folder} has just begun; wait for it"
    print(f"Error: {text}", file=sys.stderr)
    return 1


def _config(options: list[str]) -> None:
    """Raises UserError where Snakemake would only say that it cannot read the config."""
    if "--configfile" in options[:-1]:
        read_config(Path(options[options.index("--configfile") + 1]))


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches Snakemake, too, which ends in its own time."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))
