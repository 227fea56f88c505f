"""The fork server: a job that it forks is what `python -m` would have run, and ends with whatever would end that."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rrl.jobs import STAGES
from tests.helpers.clones import CLONE
from tests.helpers.processes import until
from workflow import fork_server
from workflow.resume import processes, start_fork_server

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}  # as Snakemake sets them
End = tuple[int, str, str]  # exit status, output, errors


class Run:
    """A server, and jobs that find it, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment, server = start_fork_server()
        if server is None:
            pytest.skip("no fork server on this machine: it has a GPU, or is no Linux")
        self.server = psutil.Process(server.pid)
        self.process = server
        self.environment = environment | ONE_THREAD | {"PYTHONPATH": str(CLONE)}
        self.write("parent", "import os; print(os.getppid(), end='')")
        assert self.end_of("parent") == (0, str(server.pid), "")  # forked; the server has this environment from now on

    def write(self, module: str, text: str) -> None:
        (self.folder / f"{module}.py").write_text(text)

    def start(self, module: str, *words: str, forked: bool = True, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, *(["-IS", fork_server.__file__] if forked else []), "-m", module, *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment | environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def end_of(self, module: str, *words: str, forked: bool = True, **environment: str) -> End:
        process = self.start(module, *words, forked=forked, **environment)
        output, errors = process.communicate()
        return process.returncode, output, errors

    def sleeping(self, before: str = "") -> tuple[subprocess.Popen[str], psutil.Process]:
        """A job that sleeps until it is ended, and its fork."""
        self.write("sleeps", f"import os, sys, time\n{before}\nprint(os.getpid(), flush=True)\ntime.sleep(1000)\n")
        process = self.start("sleeps")
        assert process.stdout is not None
        fork = psutil.Process(int(process.stdout.readline()))
        assert fork.ppid() == self.server.pid
        return process, fork

    def end(self) -> None:
        self.process.communicate()


def ended(process: psutil.Process) -> bool:
    """Though nobody may have asked how."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("run"))
    yield run
    run.end()


@pytest.fixture
def own_run(tmp_path: Path) -> Iterator[Run]:
    """For tests that end the server."""
    run = Run(tmp_path)
    yield run
    run.end()


def test_the_server_imports_what_stages_import() -> None:
    """What a stage imports of libraries beyond that, each of its jobs imports again. Left out: `import_network`, which
    waits for its download, and what does more than define things."""
    code = f"""
import importlib, sys
from workflow.fork_server import LIBRARIES
for name in LIBRARIES: importlib.import_module(name)
before = set(sys.modules)
for stage in {[stage for stage in STAGES if stage != "import_network"]}: importlib.import_module("rrl.stages." + stage)
own = "rrl", "matplotlib.pyplot", "matplotlib.style", "threadpoolctl", *sys.stdlib_module_names
print(sorted(name for name in set(sys.modules) - before if not name.startswith(own)))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("[]\n", 0), result.stderr


SEES = """
import os, random, signal, sys, tempfile, threading
import numpy, torch
import __main__
print(sys.argv, sys.path, sorted(os.environ.items()), os.getcwd(), oct(os.umask(0)))
print(__name__, __main__.__dict__ is globals(), __file__, __spec__.name, sorted(set(globals()) - {"__annotations__"}))
print([signal.getsignal(number) for number in sorted(signal.valid_signals())], signal.pthread_sigmask(signal.SIG_BLOCK, []))
print([name for name in sys.modules if name.startswith(("rrl", "workflow"))])
print(len(os.listdir("/proc/self/task")), [thread.name for thread in threading.enumerate()])
print([os.readlink(f"/proc/self/fd/{name}").partition(":")[0] for name in (0, 1, 2)], repr(sys.stdin.read()))
print([(out.line_buffering, out.write_through, out.encoding, out.errors) for out in (sys.stdout, sys.stderr)], sys.flags)
print(torch.get_num_threads(), torch.get_num_interop_threads())
print(torch.get_default_dtype(), torch.backends.mkldnn.matmul.fp32_precision, torch.__config__.parallel_info())
print(torch.randn(3, generator=torch.Generator().manual_seed(1)), torch.Generator().initial_seed())
with open("random", "a") as file:
    drawn = random.random(), numpy.random.random(), torch.rand(()).item(), next(tempfile._get_candidate_names())
    print(*drawn, torch.initial_seed(), sep="\\n", file=file)
"""


def test_a_job_sees_what_python_itself_would_show_it(run: Run) -> None:
    run.write("sees", SEES)
    words = "sees", "--flag", "", "two words", "ü\udcff"
    plain, forked, again = (run.end_of(*words, forked=forked) for forked in (False, True, True))
    assert plain[0] == 0 and plain[1].splitlines() == forked[1].splitlines()
    assert plain == forked == again
    drawn = (run.folder / "random").read_text().splitlines()
    assert len(drawn) == len(set(drawn)) == 15  # what should differ between two processes does


ENDS = {
    "status": "import sys; print('out'); sys.exit(7)",
    "text": "import sys; sys.exit('said')",
    "error": "import json\ndef f():\n    json.loads('{')\nf()",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError('x')",
    "syntax": "def",
    "name": "select",  # of the server's file, not of this one
    "killed": "import os; print('lost'); os.kill(os.getpid(), 9)",
    "segfault": "import os; os.kill(os.getpid(), 11)",
    "interrupted": "import os, time; os.kill(os.getpid(), 2); time.sleep(9)",
    "exec": "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'print(1 / 0)'])",
    "output": "print('no newline', end=''); import atexit; atexit.register(print, 'at the end')",
}


@pytest.mark.parametrize("module", [*ENDS, "missing"])
def test_a_job_ends_as_python_itself_would_end_it(run: Run, module: str) -> None:
    if module in ENDS:
        run.write(module, ENDS[module])
    assert run.end_of(module) == run.end_of(module, forked=False)


@pytest.mark.parametrize(
    "words", [["rrl.stages.probe"], ["rrl.stages.probe", "--help"], ["rrl.stages.collect", "--records", "none.json"]]
)
def test_a_stage_refuses_in_the_same_words(run: Run, words: list[str]) -> None:
    forked = run.end_of(*words)
    assert forked == run.end_of(*words, forked=False) and forked[0] == (0 if "--help" in words else 2)


def test_a_job_reads_the_code_of_this_moment(run: Run) -> None:
    for text in ("before", "after"):
        run.write("edited", f"TEXT = {text!r}")
        run.write("reads", "import edited; print(edited.TEXT)")
        os.utime(run.folder / "edited.py", (len(text), len(text)))  # else Python's cache may not see the change
        assert run.end_of("reads") == (0, f"{text}\n", "")


def test_another_environment_is_another_process(run: Run) -> None:
    """Libraries read variables when they are imported, and Python when it starts."""
    for name, value in [
        ("ATEN_CPU_CAPABILITY", "default"),
        ("OMP_NUM_THREADS", "2"),
        ("PYTHONHASHSEED", "0"),
        ("ANY", ""),
    ]:
        assert run.end_of("parent", **{name: value}) == (0, str(os.getpid()), "")
    assert run.end_of("parent") == (0, str(run.server.pid), "")


def test_without_a_server_the_same_command_works(run: Run) -> None:
    assert run.end_of("parent", RRL_FORK_SERVER="gone") == (0, str(os.getpid()), "")
    del (environment := dict(run.environment))[fork_server.VARIABLE]
    command = [sys.executable, "-IS", fork_server.__file__, "-m", "parent"]
    assert subprocess.check_output(command, cwd=run.folder, env=environment, text=True) == str(os.getpid())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_not_served(run: Run) -> None:
    code = f"""
import os, socket, sys
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect("\\0{run.environment[fork_server.VARIABLE]}")
try:
    socket.send_fds(connection, [b"."], [0, 1, 2, 0])
    print(connection.recv(1))
except ConnectionError:
    print(b"")
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "b''\n"
    assert run.end_of("parent") == (0, str(run.server.pid), "")


def test_a_fork_is_killed_with_the_process_that_stands_for_it(run: Run) -> None:
    process, fork = run.sleeping()
    _, stages = processes(run.folder.resolve())
    assert stages == []  # it is no stage of ours
    process.kill()
    until(lambda: ended(fork))
    process.communicate()


def test_sigterm_is_passed_on(run: Run) -> None:
    caught = "import signal\ndef end(*_): print('saved'); sys.exit(143)\nsignal.signal(signal.SIGTERM, end)"
    for before, status, said in ((caught, 143, "saved\n"), ("", -signal.SIGTERM, "")):
        process, _ = run.sleeping(before)
        process.terminate()
        assert (process.communicate()[0], process.returncode) == (said, status)


def test_ctrl_c_ends_jobs_and_not_the_server(run: Run) -> None:
    """A terminal tells all of the group at once."""
    process, fork = run.sleeping("try: time.sleep(0)\nfinally: pass")
    for member in (run.server, psutil.Process(process.pid), fork):
        member.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (
        process.returncode == -signal.SIGINT and errors.endswith("KeyboardInterrupt\n") and "fork_server" not in errors
    )
    assert run.end_of("parent") == (0, str(run.server.pid), "")


def test_a_job_outlives_a_server_that_is_killed(own_run: Run) -> None:
    """Its fork does not: two of it would write the same files."""
    process, fork = own_run.sleeping()
    other, _ = own_run.sleeping()
    own_run.server.kill()
    assert process.stdout is not None and other.stdout is not None
    again = psutil.Process(int(process.stdout.readline()))
    assert again.pid == process.pid and again.cmdline()[1:3] == ["-m", "sleeps"] and ended(fork)
    assert int(other.stdout.readline()) == other.pid
    for job in (process, other):
        job.kill()
        job.communicate()
    assert own_run.end_of("parent") == (0, str(os.getpid()), "")


def test_the_server_waits_for_its_last_job_and_takes_no_other(own_run: Run) -> None:
    process, fork = own_run.sleeping("import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))")
    assert own_run.process.stdin is not None
    own_run.process.stdin.close()
    until(lambda: own_run.end_of("parent")[1] == str(os.getpid()))
    assert fork.is_running() and own_run.process.poll() is None
    process.terminate()
    process.communicate()
    assert process.returncode == 5 and own_run.process.wait(60) == 0


def test_a_server_that_nobody_asked_ends_too(tmp_path: Path) -> None:
    _, server = start_fork_server()
    if server is not None:
        server.communicate()
        assert server.returncode == 0
