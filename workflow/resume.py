"""Run Snakemake in this folder, also after a run that was killed.

    python -m workflow.resume [options of snakemake]

Mistakes of the config are listed before Snakemake starts. Where nothing runs in the folder, the lock of a Snakemake
that was killed is removed, and files that it left unfinished are made again. Where something does, nothing is touched.
"""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from glob import glob
from itertools import takewhile
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from rrl.config.load import load_config, read_config
from rrl.errors import UserError
from rrl.store.files import space_for
from workflow import fork_server
from workflow.checks import check_writable
from workflow.internals import remove_locks


def main(options: Sequence[str]) -> int:
    """Exit status."""
    folder = Path.cwd().resolve()
    try:
        _check_config(options)
        return _run(options, folder)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
    except Timeout:
        print(f"Error: {_busy(folder, processes(folder)[0])}", file=sys.stderr)
    return 1


def _run(options: Sequence[str], folder: Path) -> int:
    lock = folder / ".snakemake/resume.lock"
    check_writable([lock])
    with space_for(lock):
        lock.parent.mkdir(exist_ok=True)
    with FileLock(lock, timeout=0):
        snakemakes, stages = processes(folder)
        if snakemakes:
            raise _busy(folder, snakemakes)
        if stages:
            print(f"Waits for {len(stages)} jobs of a run that was killed.", file=sys.stderr)
            psutil.wait_procs(stages)
        remove_locks(folder)
        environment, server = start_fork_server(jobs_run_here="--profile" not in options)
        command = [sys.executable, "-m", "snakemake", *options, "--rerun-incomplete"]
        status = _wait(subprocess.Popen(command, env=environment))
        if server is not None and status >= 0:  # else Snakemake was killed, and jobs may still run
            server.communicate()
        return status


def _check_config(options: Sequence[str]) -> None:
    """Raises UserError, with a line for each mistake; Snakemake would not even say where a file is no YAML.

    What --config changes, and what several files make together, is left to the Snakefile.
    """
    words = [word for option in options for word in (option.split("=", 1) if option[:8] == "--config" else [option])]
    start = next((number for number, word in enumerate(words, 1) if word in ("--configfile", "--configfiles")), None)
    files = [Path(word) for word in takewhile(lambda word: word[:1] != "-", words[start:])] if start else []
    if start is None and (default := Path("config.yaml")).exists():
        files = [default]
    contents = [read_config(file) for file in files]
    if len(files) == 1 and not {"--config", "-C"} & set(words):
        load_config(contents[0], files)


def processes(folder: Path) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Snakemakes, and stages that one started, that work in a folder; not those that started this process."""
    snakemakes, stages = [], []
    ancestors = psutil.Process().parents()
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or [""]
        if process in ancestors or process.info["cwd"] != str(folder) or "python" not in Path(words[0]).name:
            continue
        words = words[2:] if words[1:2] == ["-IS"] else words  # as workflow.fork_server has it
        program = words[2:3] if words[1:2] == ["-m"] else [Path(word).name for word in words[1:2]]
        if program == ["snakemake"]:
            snakemakes.append(process)
        elif program and program[0].startswith("rrl.stages."):
            stages.append(process)
    return snakemakes, stages


def start_fork_server(jobs_run_here: bool = True) -> tuple[dict[str, str], subprocess.Popen[bytes] | None]:
    """The environment for Snakemake, and a server that ends when its standard input is closed: at the latest when this
    process ends, however it does.

    On a system that is not Linux, and on machines with GPUs, which a fork may be unable to use, there is no server and
    the environment names none. Nor for jobs that a profile may start elsewhere: they must not leave their Slurm job.
    """
    environment = {name: value for name, value in os.environ.items() if name != fork_server.VARIABLE}
    if not jobs_run_here or sys.platform != "linux" or glob("/dev/nvidia[0-9]*") or Path("/dev/kfd").exists():
        return environment, None
    name = f"rrl-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        command = [sys.executable, "-IS", fork_server.__file__, fork_server.SERVE, str(listener.fileno())]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    return environment | {fork_server.VARIABLE: name}, server


def _busy(folder: Path, snakemakes: list[psutil.Process]) -> UserError:
    if not snakemakes:
        return UserError(f"another run in {folder} has just begun; wait for it")
    number = snakemakes[0].pid
    return UserError(f"snakemake already runs in {folder} (process {number}); wait for it, or end it: kill {number}")


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Exit status. Ctrl-C reaches Snakemake, too, which ends in its own time."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))
