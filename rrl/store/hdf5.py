"""HDF5 files: read with the mistakes of files named, written so that HDF5 survives a full disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py

from rrl.errors import UserError
from rrl.job import remake

UNREADABLE = (OSError, KeyError, RuntimeError, ValueError, AttributeError)  # what HDF5 raises for a damaged file


@contextmanager
def readable(path: Path) -> Iterator[h5py.File]:
    """Open for reading whole chunks, which HDF5's own cache would copy once more. Raises UserError if that fails."""
    try:
        with h5py.File(path, "r", rdcc_nbytes=0) as file:
            yield file
    except UNREADABLE as error:
        raise UserError(f"{path}: missing or unreadable ({error}); {remake(path)}") from None


class _Quiet:
    """A file in which, as HDF5 sees it, no write fails. The first error is kept, and nothing is written after it."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, content: Any) -> int:
        left = memoryview(content)
        try:
            while len(left) and self.error is None:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.error = error
        return len(content)


@contextmanager
def writing(path: Path, mode: str) -> Iterator[h5py.File]:
    """Open for writing; where a write fails, as on a full disk, HDF5 itself may crash, so it never sees one fail.

    mode : w for a new file, r+ to change one. Raises OSError once it is closed if something could not be written.
    """
    with open(path, {"w": "w+b", "r+": "r+b"}[mode], buffering=0) as file:
        quiet = _Quiet(file)
        try:
            with h5py.File(quiet, mode) as opened:
                yield opened
        finally:
            if quiet.error is not None:
                raise quiet.error  # whatever HDF5 made of what it could not read back
