"""The published networks that can be downloaded, from checkpoints.yaml, and the checksums they were pinned with."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from filelock import FileLock
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from rrl.errors import UserError
from rrl.networks.architectures import parse_architecture
from rrl.networks.formats import DECLARED
from rrl.store.files import sha256_of_file, write_json

FOLDER = Path(__file__).parent
PINS = FOLDER / "checkpoint_pins.json"
DRIVE = "https://drive.google.com/uc?id="
FIRST_USE = "first use"  # in place of a sha256: whatever the file had when it was first used


def _architecture(name: str) -> str:
    parse_architecture(name)
    return name


class Checkpoint(BaseModel):
    """The files of one kind of network, one per seed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    arch: Annotated[str, AfterValidator(_architecture)]
    format: Literal[*DECLARED]  # type: ignore[valid-type]
    files: Annotated[list[str], Field(min_length=1)]
    sources: Annotated[list[str], Field(min_length=1)]
    archive: bool
    trained_on: Literal["imagenet", "imagenet-21k", "instagram"]
    licence: str


class Pin(BaseModel):
    """size in bytes; first_use: the sha256 that the file had when it was first used."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    sha256: str
    size: int
    first_use: str


@cache
def checkpoints() -> dict[str, Checkpoint]:
    """Name of each published network -> its files and sources."""
    content = yaml.safe_load((FOLDER / "checkpoints.yaml").read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, Checkpoint]).validate_python(content)


def pins() -> dict[str, Pin]:
    """File -> its pin, for the files that were used before."""
    return TypeAdapter(dict[str, Pin]).validate_python(json.loads(PINS.read_text(encoding="utf-8")))


def pin(file: str, sha256: str, size: int) -> None:
    """Write down what a file was when it was first used. A file that has a pin keeps it."""
    with locked(PINS):
        known = pins()
        if file not in known:
            known[file] = Pin(sha256=sha256, size=size, first_use=sha256)
            write_json(PINS, {name: entry.model_dump() for name, entry in known.items()})


def check(file: str, path: Path) -> None:
    """Raises UserError if a file is not what is pinned; pins it if nothing is."""
    if wrong := mistake(file, path):
        raise UserError(
            f"{path}: {wrong}; move the file away and run again, "
            "or correct rrl/networks/checkpoint_pins.json if you mean this file"
        )
    if file not in pins():
        size, sha256 = path.stat().st_size, sha256_of_file(path)
        pin(file, sha256, size)
        print(
            f"{file}: first use, pinned at {size} bytes, sha256 {sha256}; commit rrl/networks/checkpoint_pins.json",
            file=sys.stderr,
        )


def mistake(file: str, path: Path) -> str | None:
    """How the content of `path` differs from what `file` is pinned to be; without a pin, anything but HTML will do."""
    with open(path, "rb") as content:
        if re.match(rb"\s*<(!doctype html|html)", content.read(1000), re.IGNORECASE):
            return "an HTML page instead of a network"
    pinned = pins().get(file)
    if pinned is None:
        return None
    size, sha256 = path.stat().st_size, sha256_of_file(path)
    if (size, sha256) == (pinned.size, pinned.sha256):
        return None
    return f"found {size} bytes, sha256 {sha256}; pinned are {pinned.size} bytes, sha256 {pinned.sha256}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock of `path`, then hold it; its folder must exist."""
    lock = path.with_name(path.name + ".lock")
    with FileLock(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone and makes a new one


def planned_sha256(file: str) -> str:
    """The setting of a job: FIRST_USE before a file was ever used and after that too, as long as nobody changes its
    pin; so that pinning it changes no plan."""
    pinned = pins().get(file)
    return FIRST_USE if pinned is None or pinned.sha256 == pinned.first_use else pinned.sha256


def url(source: str) -> str:
    """Where a browser finds a source."""
    return source.replace("drive:", DRIVE, 1) if source.startswith("drive:") else source
