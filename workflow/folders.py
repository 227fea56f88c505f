"""Folders that a run will write in and files that it will read, looked at before the first job."""

import os
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from rrl.errors import UserError


def check_writable(files: Iterable[Path]) -> None:
    """Raises UserError unless all these files could be made or replaced."""
    folders = {_existing(folder) for folder in {file.absolute().parent for file in files}}
    if refused := sorted(str(folder) for folder in folders if not os.access(folder, os.W_OK | os.X_OK)):
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        first = shlex.quote(refused[0])
        raise UserError(
            f"{refused[0]}{more}: cannot be written in; make it writable (chmod u+w {first}), or use a folder that is"
        )


def bring_to_present(files: Iterable[Path]) -> int:
    """How many of these files were last changed later than now: the clock was set back. Their time is now, then.

    Snakemake fails a job whose output is older than its input. A file with another time and the same bytes reruns
    nothing.
    """
    future = [file for file in set(files) if file.exists() and file.stat().st_mtime > time.time()]
    for file in future:
        os.utime(file)
    return len(future)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)
