"""Stage `import_network`: a network that others trained, as a network of this project.

download : a checkpoint of another project, downloaded or put in place by hand. It must have the sha256 that it was
           pinned with; one that was never used before is pinned now: trust on first use.
user     : a file of the user, in any format that is known.
library  : the weights that timm or torchvision publish for a model; the library downloads and checks them.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rrl.config.settings import CheckpointFile, LibraryModel, UserFile
from rrl.errors import UserError
from rrl.job import begin, run
from rrl.networks.checkpoints import check, planned_sha256
from rrl.networks.converted import write_converted
from rrl.networks.pretrained import pretrained_trunk
from rrl.networks.stored_networks import save_network
from rrl.store.files import sha256_of_file


def verify(path: Path, file: str, planned: str) -> None:
    """Pin a checkpoint if it was never used before. Raises UserError unless it is the planned one."""
    checkpoints = str(path).removesuffix(file).rstrip("/") or "."
    try:
        check(file, path)
    except OSError as error:
        command = shlex.join(["python", "-m", "rrl.stages.download", "--file", file, "--checkpoints", checkpoints])
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); to download it: {command}; or put it there by hand"
        ) from None
    if planned_sha256(file) != planned:
        raise UserError(f"{path}: its pin changed since submission; run the same snakemake command again")


def verify_user(path: Path, planned: str) -> None:
    """Raises UserError unless a file has the sha256 of the config."""
    try:
        own = sha256_of_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if own != planned:
        raise UserError(
            f"{path}: sha256 is {own}, the config says {planned}; put the file back, or write "
            "the former into the config if you mean this file"
        )


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("import_network", argv, __doc__)
    match source := job.settings.source:
        case LibraryModel():
            trunk = pretrained_trunk(source.arch)
            save_network(job, {"trunk": trunk}, source.arch, "library", source.seed, {})
            return
        case CheckpointFile():
            verify(Path(job.file), source.file, source.sha256)
        case UserFile():
            verify_user(Path(job.file), source.sha256)
    write_converted(job, Path(job.file))


if __name__ == "__main__":
    run(main)
