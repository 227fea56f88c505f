"""Stage `user_network`: a file of the user, in any format that is known, as a network of this project."""

from collections.abc import Sequence
from pathlib import Path

from rrl.command import Command, run
from rrl.errors import UserError
from rrl.networks.converted import write_converted
from rrl.store.files import sha256_of_file


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("user_network", __doc__)
    command.setting("--sha256", str, "that the file must have")
    command.setting("--format", str, "how it holds the network")
    command.setting("--arch", str, "architecture")
    command.setting("--seed", int, "which of the files of its kind it is")
    command.place("--file", Path, "the file")
    command.place("--name", str, "name of the network")
    command.place("--output", Path, "card to write; the weights are written beside it")
    arguments, job = command.parse(argv)

    try:
        found = sha256_of_file(arguments.file)
    except OSError as error:
        raise UserError(f"{arguments.file}: cannot be read ({error.strerror})") from None
    if found != arguments.sha256:
        raise UserError(
            f"{arguments.file}: sha256 is {found}, the config says {arguments.sha256}; put the file back, or write "
            "the former into the config if you mean this file"
        )
    write_converted(job, arguments.file, arguments.output, arguments.name, "user")


if __name__ == "__main__":
    run(main)
