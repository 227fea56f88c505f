"""Stage `random_network`: an untrained network whose batch-norm statistics are set on source images.

A control: what the architecture gives without any training. The initialisation is that of the
pretrained network of the same architecture and seed.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from rrl.architectures import Trunk, build_trunk
from rrl.command import Command, run
from rrl.device import prepare
from rrl.images import Split, Transform, load_split, normalise
from rrl.randomness import stream
from rrl.stored_networks import save_network


@torch.no_grad()
def set_statistics(trunk: Trunk, data: Split, transform: Transform, batch_size: int, device: torch.device) -> None:
    """Batch-norm statistics become the plain average over all batches of the split."""
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    trunk.train()
    for start in range(0, len(data.labels), batch_size):
        images = normalise(data.images[start : start + batch_size], transform)
        trunk(torch.from_numpy(images).to(device))


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("random_network", __doc__)
    command.card("--target", "card of the source target")
    command.setting("--arch", str, "architecture")
    command.setting("--seed", int, "initialisation")
    command.setting("--batch-size", int, "images of a forward pass")
    command.setting("--mean", float, "subtracted from pixels in [0, 1]")
    command.setting("--std", float, "then divided by")
    command.place("--name", str, "name of the network")
    command.place("--data-root", Path, "folder of the data sets")
    command.place("--threads", int, "threads of torch")
    command.place("--output", Path, "card to write; the weights are written beside it")
    arguments, job = command.parse(argv)

    device = prepare(arguments.threads)
    transform = Transform(arguments.mean, arguments.std, pad=0, flip=False)
    data = load_split(arguments.target, "train", arguments.data_root)
    torch.manual_seed(stream("initialisation", arguments.seed))
    trunk = build_trunk(arguments.arch).to(device).to(memory_format=torch.channels_last)
    set_statistics(trunk, data, transform, arguments.batch_size, device)
    save_network(job, arguments.output, arguments.name, {"trunk": trunk}, arguments.arch, "random", arguments.seed, {})


if __name__ == "__main__":
    run(main)
