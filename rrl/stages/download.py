"""Download published networks (rrl/networks/checkpoints.yaml) and check every file against what it was when first used.

Nothing is published to check them against: the first use of a file pins its size and sha256 in
rrl/networks/checkpoint_pins.json. Files that are already there are checked and never replaced or deleted.
"""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from rrl.config.nearest import one_of
from rrl.data.archives import Refused, place, unpack
from rrl.data.downloads import discard, from_drive, from_server
from rrl.errors import UserError
from rrl.job import run
from rrl.networks.checkpoints import Checkpoint, check, checkpoints, locked, mistake, pins, url
from rrl.store.files import space_for


def download(file: str, folder: Path) -> Path:
    """Where a file of the registry lies below `folder`; downloaded if it is missing, checked, pinned if it is new.

    Two jobs may call this at once, also for two files of one archive: the second waits and finds the file there.
    Raises UserError if the file differs from its pin, lies at another place, or cannot be had.
    """
    name, checkpoint = _entry(file)
    path = folder / file
    try:
        with space_for(path):
            if not _is_there(path):
                folder.mkdir(parents=True, exist_ok=True)
                with locked(folder / name):
                    if not _is_there(path):
                        _fetch(name, checkpoint, file, folder)
            check(file, path)
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: {error.strerror or error}; needed to download and check {path}; "
            f"fix that and run again, or {_by_hand([path])}"
        ) from None
    return path


def _entry(file: str) -> tuple[str, Checkpoint]:
    for name, checkpoint in checkpoints().items():
        if file in checkpoint.files:
            return name, checkpoint
    files = [known for checkpoint in checkpoints().values() for known in checkpoint.files]
    raise UserError(f"--file: found {file!r}; {one_of(file, files)}")


def _is_there(path: Path) -> bool:
    if os.path.lexists(path) and not path.is_file():
        raise UserError(f"{path}: not a file, or a link to none; move it away, then run again")
    return path.exists()


def _by_hand(paths: Sequence[Path]) -> str:
    return f"put by hand at {', '.join(str(path) for path in paths)}"


def _fetch(name: str, checkpoint: Checkpoint, file: str, folder: Path) -> None:
    """Bring a file, or all missing files of its archive, from the first source that has them."""
    wanted = {known: folder / known for known in (checkpoint.files if checkpoint.archive else [file])}
    missing = {known: path for known, path in wanted.items() if not _is_there(path)}
    for path in missing.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    _stop_if_elsewhere(list(missing.values()), folder)
    pinned = None if checkpoint.archive else pins().get(file)
    size = pinned.size if pinned else None
    partial = folder / (f"{name}.archive.partial" if checkpoint.archive else f"{file}.partial")
    failures = []
    for source in checkpoint.sources:
        try:
            if source.startswith("drive:"):
                from_drive(source.removeprefix("drive:"), partial, size)
            else:
                from_server(source, partial, size)
            _use(partial, missing, checkpoint.archive)
            return
        except Refused as error:
            failures.append(f"{url(source)}: {error}")
    raise UserError(f"{file}: not available ({'; '.join(failures)}); {_by_hand(list(missing.values()))}")


def _use(partial: Path, missing: dict[str, Path], archive: bool) -> None:
    """Put what was downloaded in its place. Raises Refused if it is wrong, and deletes it then."""
    try:
        if archive:
            unpack(partial, missing, mistake)
        else:
            for file, path in missing.items():
                if reason := mistake(file, partial):
                    raise Refused(reason)
                place(partial, path)
    except Refused:
        discard(partial)
        raise
    discard(partial)


def _stop_if_elsewhere(missing: Sequence[Path], folder: Path) -> None:
    """Raises UserError with the commands that move files to their places, if they lie at others below `folder`."""
    places = {folder / file for checkpoint in checkpoints().values() for file in checkpoint.files}
    targets = {path.name: path for path in missing}
    elsewhere: dict[str, list[Path]] = {}
    for where, _, names in os.walk(folder):
        for name in sorted(targets.keys() & set(names)):
            if Path(where) / name not in places:
                elsewhere.setdefault(name, []).append(Path(where) / name)
    if not elsewhere:
        return
    commands = [shlex.join(["mv", str(min(paths)), str(targets[name])]) for name, paths in sorted(elsewhere.items())]
    others = sorted(str(path) for paths in elsewhere.values() for path in paths if path != min(paths))
    raise UserError(
        f"{folder}: found {', '.join(sorted(elsewhere))} at another place; "
        f"if that is what is missing, run: {' && '.join(commands)}"
        + (f" (found as well: {', '.join(others)})" if others else "")
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m rrl.stages.download", description=__doc__)
    parser.add_argument("--file", required=True, help="a file of rrl/networks/checkpoints.yaml")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of the files")
    arguments = parser.parse_args(argv)
    print(download(arguments.file, arguments.checkpoints))


if __name__ == "__main__":
    run(main)
