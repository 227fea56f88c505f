"""Stage `convert`: a checkpoint of another project, downloaded or put in place by hand, as a network of this one.

The file must have the sha256 that it was pinned with. One that was never used before is pinned now: trust on first use.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rrl.command import Command, run
from rrl.errors import UserError
from rrl.networks.checkpoints import FIRST_USE, check, planned_sha256
from rrl.networks.converted import write_converted


def verify(checkpoints: Path, file: str, planned: str) -> Path:
    """Where a checkpoint lies, which is pinned if it was never used before.

    Raises UserError unless it is the planned one.
    """
    path = checkpoints / file
    try:
        check(file, path)
    except OSError as error:
        command = shlex.join(["python", "-m", "rrl.stages.download", "--file", file, "--checkpoints", str(checkpoints)])
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); to download it: {command}; or put it there by hand"
        ) from None
    if planned_sha256(file) != planned:
        raise UserError(f"{path}: its pin changed since submission; run the same snakemake command again")
    return path


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("convert", __doc__)
    command.setting("--file", str, "the checkpoint, below the folder of checkpoints")
    command.setting("--sha256", str, f"that it must have; '{FIRST_USE}': that it had when it was first used")
    command.setting("--format", str, "how it holds the network")
    command.setting("--arch", str, "architecture")
    command.setting("--seed", int, "which of the networks of its kind it is")
    command.place("--checkpoints", Path, "folder of checkpoints")
    command.place("--name", str, "name of the network")
    command.place("--output", Path, "card to write; the weights are written beside it")
    arguments, job = command.parse(argv)

    path = verify(arguments.checkpoints, arguments.file, arguments.sha256)
    write_converted(job, path, arguments.output, arguments.name, "download")


if __name__ == "__main__":
    run(main)
