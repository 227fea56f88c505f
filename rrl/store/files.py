"""Files that exist under their final name only when they are complete."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rrl.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
# By Rust, HDF5, Python, and programs that say no number.
FULL_IN_TEXT = re.compile(rf"\b(?:os error|errno =|Errno) ({'|'.join(map(str, FULL))})\b|No space left on device")


@contextmanager
def complete(path: Path, size: int | None = None) -> Iterator[Path]:
    """A temporary name beside `path`; renamed to `path` when the block ends without an error.

    The temporary name is fixed, so what a killed run left is overwritten by the next one.
    size : bytes of the file, as far as they are known before. Raises UserError if the disk has no space for it.
    """
    partial = path.with_name(path.name + ".partial")
    with space_for(path, size):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except Exception:
            partial.unlink(missing_ok=True)  # a full disk has room again, if only for the message in the log
            raise


@contextmanager
def space_for(path: Path, size: int | None = None) -> Iterator[None]:
    """Raises UserError where a file of `size` bytes has no room: before the block, if that is known; or in it."""
    if size is not None:
        check_space(path, size)
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_full(error):
            raise _full(path, size) from None
        raise


def check_space(path: Path, size: int) -> None:
    """Raises UserError unless a file of `size` bytes, or so many more of one, has room."""
    if size > _free(path):
        raise _full(path, size)


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a disk with no space left: libraries raise other kinds than OSError, some behind one,
    some with the number in the text only."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in FULL) or FULL_IN_TEXT.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _free(path: Path) -> int:
    """Bytes, on the disk that the file lies on or will lie on."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    return shutil.disk_usage(there).free


def _full(path: Path, size: int | None) -> UserError:
    free = _free(path)
    needed = f"{size:,} bytes" if size is not None and size > free else "more than there is"
    return UserError(
        f"{path}: no space left on the disk: it needs {needed}, {free:,} are free; make room, then run the same "
        "command again"
    )


def write_text(path: Path, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    with complete(path, len(content)) as partial:
        partial.write_bytes(content)


def canonical_json(value: Any) -> str:
    """JSON that is the same text for the same value: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Sorted keys and one indented entry per line, for people and for `diff`; NaN refused."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises UserError if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error})") from None


def sha256_of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
