"""Stage `library_network`: the pretrained weights that timm or torchvision publish for a model, as a network here.

The library downloads them, into its own cache, and checks what it downloaded.
"""

from collections.abc import Sequence
from pathlib import Path

from rrl.command import Command, run
from rrl.networks.pretrained import pretrained_trunk
from rrl.networks.stored_networks import save_network


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("library_network", __doc__)
    command.setting("--arch", str, "timm/<name> or torchvision/<name>")
    command.setting("--seed", int, "which of the models of its kind it is")
    command.place("--name", str, "name of the network")
    command.place("--output", Path, "card to write; the weights are written beside it")
    arguments, job = command.parse(argv)

    trunk = pretrained_trunk(arguments.arch)
    save_network(job, arguments.output, arguments.name, {"trunk": trunk}, arguments.arch, "library", arguments.seed, {})


if __name__ == "__main__":
    run(main)
