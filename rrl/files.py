"""Files that exist under their final name only when they are complete."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rrl.errors import UserError


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; renamed to `path` when the block ends without an error.

    The temporary name is fixed, so what a killed run left is overwritten by the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    yield partial
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    with complete(path) as partial:
        partial.write_text(text, encoding="utf-8")


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
