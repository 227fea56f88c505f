"""What a command writes to a terminal, and what is left of it to see."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

from tests.helpers.clones import clean_environment

OF_A_TERMINAL = re.compile(r"[\r\x1b\b]|\d%\|")  # bars and colours


def on_a_terminal(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit status, and what was written to a terminal of 120 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = clean_environment() | {"TERM": "xterm"}
    with subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                written += (piece := os.read(ours, 1 << 16))
            except OSError:  # once no process has the terminal any more
                break
            if not piece:
                break
    os.close(ours)
    return process.returncode, written.decode()


def left_to_see(written: str) -> str:
    """Lines without colours, each as it was last drawn."""
    plain = re.sub(r"\x1b\[\d*m", "", written.replace("\r\n", "\n"))
    return "\n".join(line.rpartition("\r")[2] for line in plain.split("\n"))
