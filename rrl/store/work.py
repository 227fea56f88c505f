"""Work in progress: a folder per job under `work/`, resumed only by the very same job."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path

from filelock import FileLock, Timeout

from rrl.errors import UserError
from rrl.store.files import space_for


def folder_of(root: Path, artifact: str, key: str) -> Path:
    return root / "work" / f"{artifact.replace('/', '.')}.{key}"


@contextmanager
def claim(root: Path, artifact: str, key: str) -> Iterator[Path]:
    """The folder of this job's unfinished files below the results root; removed when the block ends well.

    key : digest of everything that decides the content. Another key never sees these files.
    Raises UserError if another process holds the folder, or where there is no space for what is written in the block.
    """
    folder = folder_of(root, artifact, key)
    owner = folder / "owner"
    lock = FileLock(folder.with_name(folder.name + ".lock"), timeout=0)
    try:
        with space_for(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with lock:
                owner.write_text(f"process {getpid()} on {socket.gethostname()}\n")
                yield folder
                shutil.rmtree(folder)
                Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout:
        raise UserError(
            f"{folder}: in use by {owner.read_text().strip()}; wait for it or end it, then run again"
        ) from None
