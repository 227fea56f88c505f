"""Kill `make tiny` with SIGKILL at random moments until it is done; after each kill, look at what is on the disk.

    python -m tests.helpers.kills --kills 500 --seed 1

Most kills are aimed: they wait until a stage writes (inotify tells), and strike some milliseconds later. Each stage is
hit so often; the others strike at any moment. A kill is of the whole group of processes, of one job, or of the fork
server, and with it of the forks of all jobs, which then start anew.
Prints how often each stage was hit while it was writing: something of its artifact was there, but not all.
"""

import argparse
import ctypes
import io
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import psutil

from tests.helpers.clones import copy_clone, snakemake
from workflow.fork_server import SERVE

ROOT = "results/tiny"
SECONDS = 600  # that a run may take
MADE, MOVED, ISDIR, EVENT = 0x100, 0x80, 0x40000000, struct.Struct("iIII")  # of inotify(7)


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything under a final name, but for logs; behind links, too."""
    root = folder / ROOT
    paths = [Path(place, name) for place, _, names in os.walk(root, followlinks=True) for name in names]
    names = [path.relative_to(root) for path in paths if path.suffix != ".partial"]
    return {str(name): (root / name).read_bytes() for name in names if name.parts[0] not in ("work", "logs")}


def values(content: bytes) -> dict[str, Any]:
    """What is in an HDF5 file, whatever lies between: killed between two writes of HDF5, it may differ there."""
    with h5py.File(io.BytesIO(content)) as file:
        return {name: file[name][:].tobytes() for name in ("features", "labels")} | dict(file.attrs)


class Watch:
    """Files that come to be below a folder, as the kernel tells of them. Folders made later are not watched."""

    def __init__(self, root: Path):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.number = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        self.folders = {
            self.libc.inotify_add_watch(self.number, os.fsencode(path), MADE | MOVED): path.relative_to(root)
            for path in folders
        }
        assert self.number >= 0 and -1 not in self.folders, os.strerror(ctypes.get_errno())

    def next(self, seconds: float) -> list[Path]:
        """Waits for them, so long at most."""
        if not select.select([self.number], [], [], seconds)[0]:
            return []
        content, at, found = os.read(self.number, 1 << 16), 0, []
        while at < len(content):
            watch, _, _, length = EVENT.unpack_from(content, at)
            name = content[at + EVENT.size : at + EVENT.size + length].rstrip(b"\0").decode()
            found.append(self.folders[watch] / name)
            at += EVENT.size + length
        return found

    def close(self) -> None:
        os.close(self.number)


@dataclass
class Harness:
    """folder : a clone. expected : what an undisturbed run has under final names. aimed : stages to hit; empty: all."""

    folder: Path
    expected: dict[str, bytes]
    seed: int
    aimed: tuple[str, ...] = ()
    hits: Counter[str] = field(default_factory=Counter)  # by stage, while it was writing
    kinds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        cards = [
            json.loads(content)
            for name, content in self.expected.items()
            if name.endswith(".json") and not name.endswith(".run.json")
        ]
        self.stages = {card["artifact"]: card["stage"] for card in cards}
        self.made_from = {card["artifact"]: {of["artifact"] for of in card["inputs"]} for card in cards}

    @property
    def root(self) -> Path:
        return self.folder / ROOT

    def clear(self) -> None:
        """As in a fresh clone, but for folders, which must be there to be watched."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.folder / ".snakemake", ignore_errors=True)
        for name in self.expected:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / "work").mkdir()

    def run(self, kills: int, each: int) -> None:
        """Until there were so many kills, and each stage was hit so often, and the workflow is done."""
        self.clear()
        while True:
            aims = {stage for stage in self.aimed or self.stages.values() if self.hits[stage] < each}
            over = sum(self.kinds.values()) >= kills and not aims
            finished = self.once(aims, over)
            self.check()
            print(self.report(), file=sys.stderr)
            if finished and over:
                return
            if finished:
                self.unmake(aims)

    def unmake(self, aims: set[str]) -> None:
        """So that something is left to be killed: of each of these stages, or of any, an artifact and all that was made
        from it are taken away, where that is the least."""
        for stage in sorted(aims) or self.random.sample(sorted(set(self.stages.values())), 3):
            of_stage = sorted(artifact for artifact in self.stages if self.stages[artifact] == stage)
            behind = min((self.behind(artifact) for artifact in of_stage), key=len)
            for name in self.expected:
                if self.artifact(Path(name)) in behind:
                    (self.root / name).unlink(missing_ok=True)

    def behind(self, artifact: str) -> set[str]:
        """It, and what was made from it, directly or not."""
        found = {artifact}
        while more := {name for name, inputs in self.made_from.items() if inputs & found} - found:
            found |= more
        return found

    def once(self, aims: set[str], over: bool) -> bool:
        """One run, killed unless it is `over`; whether it finished."""
        with open(self.folder / "output.txt", "w+") as output:
            process = subprocess.Popen(
                ["make", "-s", "tiny"], cwd=self.folder, stdout=output, stderr=output, start_new_session=True,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )  # fmt: skip
            if not over:
                self.kill(process, aims)
            process.wait(SECONDS)
            output.seek(0)
            text = output.read()
        assert "Traceback" not in text, text
        assert process.returncode == 0 or not over, text
        return process.returncode == 0

    def kill(self, process: subprocess.Popen[bytes], aims: set[str]) -> None:
        artifact = None
        if aims and self.random.random() < 0.9:
            artifact = self.stop_writing(process, aims)
        else:
            time.sleep(self.random.uniform(0, 10))
        if process.poll() is not None:
            return
        jobs = self.jobs(process)
        if artifact is not None:
            self.hits[self.stages[artifact]] += 1
            jobs = [job for job in jobs if f"{ROOT}/{artifact}.json" in job.cmdline()]
        servers = self.servers(process)
        kind = self.random.choice(["one job", "group", *(["server"] if servers else [])]) if jobs else "group"
        if kind == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            self.random.choice(jobs if kind == "one job" else servers).kill()
            os.killpg(process.pid, signal.SIGCONT)
        process.wait(SECONDS)
        self.kinds[kind] += 1

    def jobs(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The stages that run now. A fork has the command line of the server, and dies with the process that asked."""
        return [job for job, line in self.below(process) if " -m rrl." in " ".join(line[:5]) and "python" in line[0]]

    def servers(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The fork server, without its forks."""
        found = [server for server, line in self.below(process) if SERVE in line]
        return [server for server in found if server.parent() not in found]

    def below(self, process: subprocess.Popen[bytes]) -> list[tuple[psutil.Process, list[str]]]:
        """The processes of the run and their command lines."""
        below = psutil.Process(process.pid).children(recursive=True)
        return [(of, of.info["cmdline"] or []) for of in psutil.process_iter(["cmdline"]) if of in below]

    def stop_writing(self, process: subprocess.Popen[bytes], aims: set[str]) -> str | None:
        """Stops all processes while an artifact of one of these stages is being written, some milliseconds after a
        file of it came to be. Which one it is; or None, where the run ended before."""
        watch = Watch(self.root)
        try:
            while process.poll() is None:
                for path in watch.next(0.1):
                    artifact = self.artifact(path)
                    if artifact is None or self.stages[artifact] not in aims or self.random.random() < 0.3:
                        continue  # sometimes: it may be the next of its files, too
                    longest = 0.5 if path.parts[0] == "work" else 0.003
                    time.sleep(self.random.choice([0.0, self.random.uniform(0, longest)]))
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGSTOP)
                        if self.unfinished(artifact):
                            return artifact
                        os.killpg(process.pid, signal.SIGCONT)
            return None
        finally:
            watch.close()

    def artifact(self, path: Path) -> str | None:
        """What a file below the results root is a part of."""
        if path.parts[0] == "work":
            return next((name for name in self.stages if path.name.startswith(f"{name.replace('/', '.')}.")), None)
        if path.parts[0] == "logs":
            return None
        name = "/".join(path.parts).replace("logits/", "records/", 1)
        parts = [name[: at + 1] for at in range(len(name))]
        return max((part for part in parts if part in self.stages), key=len, default=None)

    def unfinished(self, artifact: str) -> bool:
        """Something of it is there, but not all."""
        own = [name for name in self.expected if self.artifact(Path(name)) == artifact]
        there = [name for name in own if (self.root / name).exists()]
        partial = [name for name in own if (self.root / f"{name}.partial").exists()]
        work = list((self.root / "work").glob(f"{artifact.replace('/', '.')}.*/*"))
        return bool(partial or work or 0 < len(there) < len(own))

    def check(self) -> None:
        """No file under a final name is incomplete or other than that of the undisturbed run."""
        for name, content in files_of(self.folder).items():
            assert name in self.expected, f"{name}: not made by an undisturbed run"
            if name.endswith(".run.json"):
                json.loads(content)  # times
            elif content != self.expected[name]:
                assert name.startswith("features/") and name.endswith(".h5"), f"{name}: not that of an undisturbed run"
                assert values(content) == values(self.expected[name]), f"{name}: other values than undisturbed"

    def report(self) -> str:
        counts = ", ".join(f"{stage} {self.hits[stage]}" for stage in sorted(set(self.stages.values())))
        kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.kinds.items()))
        return f"{sum(self.kinds.values())} kills ({kinds}), seed {self.seed}; hit while writing: {counts}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        undisturbed, killed = Path(place, "undisturbed"), Path(place, "killed")
        for folder in (undisturbed, killed):
            folder.mkdir()
            copy_clone(folder)
        snakemake(undisturbed)
        harness = Harness(killed, files_of(undisturbed), arguments.seed)
        try:
            harness.run(arguments.kills, arguments.kills * 3 // 50)
        finally:
            print(harness.report())
    print("The results are those of an undisturbed run.")


if __name__ == "__main__":
    sys.exit(main())
