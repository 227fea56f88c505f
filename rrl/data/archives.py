"""Archives from outside: the wanted files are taken out, and nothing else ever leaves its folder."""

import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from rrl.store.files import check_space

PIECE = 1 << 16  # bytes
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)


class Refused(Exception):
    """Why a source did not give the file, for good."""


def reason(error: Exception) -> str:
    """What an error says, in one line, without the layers around it."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, Exception):
        inner = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
    return " ".join(str(inner or type(error).__name__).split())


def place(partial: Path, path: Path) -> None:
    """Give a complete file its name, unless somebody put a file there meanwhile."""
    if not path.exists():
        with open(partial, "rb") as content:
            os.fsync(content.fileno())
        os.replace(partial, path)


@dataclass(frozen=True)
class Member:
    """A member of an archive. unsafe: what it is, if it is not allowed. size in bytes."""

    name: str
    size: int
    is_file: bool
    unsafe: str | None
    open: Callable[[], IO[bytes] | None]

    @property
    def base_name(self) -> str:
        return PurePosixPath(self.name).name


def unpack(archive: Path, missing: dict[str, Path], mistake: Callable[[str, Path], str | None]) -> None:
    """Put the files that are named `missing` in their places, all or none. Raises Refused.

    mistake : what is wrong with the content of a file, if anything.
    """
    try:
        with _members(archive) as members:
            chosen = _choose(members, missing)
            check_space(archive, sum(member.size for member in chosen.values()))
            _unpack_chosen(chosen, missing, mistake)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system, not of the archive
        raise Refused(f"no tar, tar.gz or zip file, or a damaged one ({reason(error)})") from None


def _unpack_chosen(
    chosen: dict[str, Member], missing: dict[str, Path], mistake: Callable[[str, Path], str | None]
) -> None:
    partials = {file: missing[file].with_name(missing[file].name + ".partial") for file in chosen}
    try:
        for file, member in chosen.items():
            source = member.open()
            assert source is not None  # a regular file
            with source, open(partials[file], "wb") as target:
                shutil.copyfileobj(source, target, PIECE)
            if wrong := mistake(file, partials[file]):
                raise Refused(f"{member.name}: {wrong}")
        for file in chosen:
            place(partials[file], missing[file])
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """The members of a tar, tar.gz or zip. A tar can hold a zip at its end, so the first bytes decide which it is."""
    with open(archive, "rb") as content:
        is_zip = content.read(4) == b"PK\x03\x04"
    if is_zip:
        with zipfile.ZipFile(archive) as opened:
            yield [_zip_member(opened, info) for info in opened.infolist()]
    else:
        with tarfile.open(archive) as tar:
            members = [_tar_member(tar, info) for info in tar]
            assert tar.fileobj is not None
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # the second of two at the end
                raise tarfile.ReadError("it ends before its end")
            yield members


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = "a symlink" if info.issym() else "a hard link" if info.islnk() else "a device or the like"
    unsafe = _unsafe_name(info.name) or (None if info.isreg() or info.isdir() else kind)
    return Member(info.name, info.size, info.isreg(), unsafe, lambda: tar.extractfile(info))


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0: the archive does not say
    unsafe = _unsafe_name(info.filename)
    if unsafe is None and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        unsafe = "a symlink" if kind == stat.S_IFLNK else "a device or the like"
    return Member(info.filename, info.file_size, not info.is_dir(), unsafe, lambda: archive.open(info))


def _unsafe_name(name: str) -> str | None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or re.match(r"[A-Za-z]:", name):
        return "an absolute path"
    return "a path with .." if ".." in path.parts else None


def _choose(members: Sequence[Member], missing: dict[str, Path]) -> dict[str, Member]:
    """File -> the member with its base name, in the order of the archive, which is the fast one to read."""
    for member in members:
        if member.unsafe:
            raise Refused(f"an archive with {member.unsafe}, not allowed: {member.name!r}; nothing was unpacked")
    files = {path.name: file for file, path in missing.items()}
    wanted = [member for member in members if member.is_file and member.base_name in files]
    chosen = {files[member.base_name]: member for member in wanted}
    if len(wanted) > len(chosen):
        raise Refused(f"an archive with two members of one name: {_names(wanted)}; nothing was unpacked")
    if lacking := sorted(missing.keys() - chosen.keys()):
        raise Refused(
            f"an archive without {', '.join(missing[file].name for file in lacking)}; its members: {_names(members)}"
        )
    return chosen


def _names(members: Sequence[Member]) -> str:
    return ", ".join(member.name for member in members) or "none"
