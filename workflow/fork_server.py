"""Start jobs as forks of one Python that has already imported torch: more than a second of a core less for each.

    python -IS workflow/fork_server.py -m rrl.stages.probe ...

does what `python -m rrl.stages.probe ...` does: the same bytes, log and exit status, by a process with memory, threads
and working directory of its own. Where workflow.resume has started a server, this process asks it for a fork, hands
over its standard files, and ends as the fork ends. Where not, or if the server is killed, it becomes
`python -m rrl.stages.probe`.

The server imports libraries and none of our modules: a job reads today's code, like any new process. It has the
environment of the first job, since libraries read variables as they are imported; a job with another environment starts
by itself. It serves one run, on a socket that is not a file, and ends with workflow.resume; if that is killed, with the
last job that is running.
"""

import os
import select
import signal
import socket
import sys
from contextlib import suppress
from types import ModuleType, TracebackType

VARIABLE = "RRL_FORK_SERVER"  # its value names the socket
SERVE = "--serve"
# What stages import, so that their forks need not. Not pyplot, which may pick a backend, nor threadpoolctl, which sets
# a variable of the environment.
LIBRARIES = (
    "torch", "torch.distributed", "torch.fx.experimental.optimization", "torch.nn.parallel", "numpy.ma", "h5py",
    "safetensors.numpy", "safetensors.torch", "PIL.Image", "tqdm", "yaml", "filelock", "pandas", "tabulate",
    "pydantic.dataclasses", "pydantic.type_adapter", "pydantic.types",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
)  # fmt: skip
# The server blocks these: sent to the whole process group, they are meant for its jobs.
BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def python() -> list[str]:
    """The words that start Python in a job of this run."""
    return [sys.executable, "-IS", os.path.abspath(__file__)] if VARIABLE in os.environ else [sys.executable]


def peer(connection: socket.socket) -> int:
    """The process at the other end of a connection. Raises PermissionError if it is another user's."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    process, user = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    if user != os.getuid():
        raise PermissionError
    return process


def proc(process: int, name: str) -> list[bytes]:
    """The entries of /proc/{process}/cmdline or environ."""
    with open(f"/proc/{process}/{name}", "rb") as file:
        return file.read().split(b"\0")[:-1]


# In the process that a rule starts


def run(words: list[str]) -> None:
    """Do as `python WORDS` does, and end as it ends."""
    status = run_forked() if VARIABLE in os.environ else None
    if status is None:
        os.execv(sys.executable, [sys.executable, *words])
    if os.WIFSIGNALED(status):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file that is there is the fork's
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def run_forked() -> int | None:
    """The fork's wait status; None if the server did not fork, or was killed before it reported one.

    A fork is killed when this process ends, see `become`. SIGTERM is passed on; SIGINT is not, as Ctrl-C reaches the
    fork, which is of the same process group.
    """
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of this file
    connection = socket.socket(socket.AF_UNIX)
    _life, other = socket.socketpair()  # held open until this process ends
    try:
        connection.connect(f"\0{os.environ[VARIABLE]}")
        peer(connection)
        socket.send_fds(connection, [b"."], [0, 1, 2, other.fileno()])
        other.close()
        _, (fork,), _, _ = socket.recv_fds(connection, 1, 1)
    except (OSError, ValueError):
        return None

    sent: list[int] = []

    def send(number: int, _: object = None) -> None:
        sent.append(number)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fork, number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, send)
    try:
        status = connection.recv(4)
    except ConnectionResetError:
        status = b""
    if status:
        return int.from_bytes(status, sys.byteorder)
    for number, handler in before.items():
        signal.signal(number, handler)
    send(signal.SIGKILL)
    select.select([fork], [], [])  # until it is dead: it writes the files that the next process will write
    return sent[0] if len(sent) > 1 else None


# In the server


def wait_for_first(listener: socket.socket) -> None:
    """Become the server when the first job asks, in the environment of that job; return if there is none."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    ends: list[int | socket.socket] = [0, listener]  # 0: a pipe from workflow.resume, which never writes
    while 0 not in select.select(ends, [], [])[0]:
        connection, _ = listener.accept()
        try:
            entries = [entry for entry in proc(peer(connection), "environ") if b"=" in entry]
        except OSError:
            connection.close()
            continue
        files = listener.detach(), connection.detach()
        for file in files:
            os.set_inheritable(file, True)
        os.execve(
            sys.executable,
            [sys.executable, __file__, SERVE, *map(str, files)],
            dict(entry.split(b"=", 1) for entry in entries),
        )


def serve(listener: socket.socket, connection: socket.socket) -> str | None:
    """Fork for each job that asks, `connection` being the first. In a fork, the module to run; at the end, None."""
    import gc
    from importlib import import_module

    for file in (listener, connection):
        file.set_inheritable(False)
    environment = set(proc(os.getpid(), "environ"))
    path_of_a_module()
    for name in LIBRARIES:
        with suppress(Exception):  # the job that imports it will say what is wrong
            import_module(name)
    gc.collect()
    gc.freeze()
    forks: dict[int, tuple[int, socket.socket]] = {}  # by a file that is readable once the fork has ended
    open_ends: list[int | socket.socket] = [0, listener]  # 0: a pipe from workflow.resume, which never writes
    connections = [connection]
    while open_ends or forks:
        for connection in connections:
            forked = fork(connection, environment)
            if forked is None:
                connection.close()
                continue
            number, process, files = forked
            if number == 0:
                for file in (listener, connection, *(other for _, other in forks.values())):
                    file.close()
                for descriptor in forks:
                    os.close(descriptor)
                return become(process, files)
            for descriptor in files:
                os.close(descriptor)
            descriptor = os.pidfd_open(number)
            forks[descriptor] = number, connection
            with suppress(OSError):  # where the process has ended; its fork then, too
                socket.send_fds(connection, [b"."], [descriptor])
        ready = select.select([*open_ends, *forks], [], [])[0]
        for descriptor in [descriptor for descriptor in forks if descriptor in ready]:
            number, connection = forks.pop(descriptor)
            with suppress(OSError):
                connection.sendall(os.waitpid(number, 0)[1].to_bytes(4, sys.byteorder))
            connection.close()
            os.close(descriptor)
        if 0 in ready:
            listener.close()
            open_ends = []
        connections = [listener.accept()[0]] if open_ends and listener in ready else []
    return None


def fork(connection: socket.socket, environment: set[bytes]) -> tuple[int, int, list[int]] | None:
    """Number of the new process, 0 in itself; the process that asks; its files. None if a fork would differ from what
    that process becomes by itself, or if it has ended."""
    try:
        process = peer(connection)
        alone = len(os.listdir("/proc/self/task")) == 1  # other threads would be missing in a fork
        module = proc(process, "cmdline")[3:4] == [b"-m"]
        if not alone or not module or set(proc(process, "environ")) != environment:
            return None
        _, files, _, _ = socket.recv_fds(connection, 1, 4, socket.MSG_CMSG_CLOEXEC)
        return os.fork(), process, files
    except OSError:
        return None


def become(process: int, files: list[int]) -> str:
    """In a fork: be as `process`, and end with it. The module to run.

    files : its standard files, and one that the kernel watches: when its other end, in `process`, is closed, which is
    when `process` ends, this process gets SIGKILL.
    """
    import fcntl
    import importlib

    import numpy
    import torch

    *standard, life = files
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # closed before
        os.kill(os.getpid(), signal.SIGKILL)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    with open(f"/proc/{process}/status") as status:
        os.umask(next(int(line.split()[1], 8) for line in status if line.startswith("Umask:")))
    os.chdir(f"/proc/{process}/cwd")
    path_of_a_module()
    importlib.invalidate_caches()
    numpy.random.seed()  # anew, as at import; Python's own generator has done so
    torch.default_generator.seed()
    module, *arguments = map(os.fsdecode, proc(process, "cmdline")[4:])
    sys.argv = ["-m", *arguments]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
    return module


def path_of_a_module() -> None:
    """Where `python -m` looks for modules first."""
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error in a job, without this file's frames."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


def main(words: list[str]) -> None:
    if words[:1] != [SERVE]:
        run(words)
    listener, *connections = (socket.socket(fileno=int(word)) for word in words[1:])
    if not connections:
        wait_for_first(listener)
    elif module := serve(listener, *connections):
        import runpy

        sys.excepthook = report
        sys.modules["__main__"] = ModuleType("__main__")
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]
    else:
        os._exit(0)  # nothing is left to be done, and to take torch down takes a third of a second


if __name__ == "__main__":
    main(sys.argv[1:])
