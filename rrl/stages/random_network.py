"""Stage `random_network`: an untrained network whose batch-norm statistics are set on source images.

A control: what the architecture gives without any training. The initialisation is that of the
pretrained network of the same architecture and seed.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from rrl.bars import Bar
from rrl.command import Command, run
from rrl.data.images import Split, load_split
from rrl.data.transforms import TRANSFORM_FLAG, Transform, parse_transform
from rrl.networks.architectures import Trunk, build_trunk
from rrl.networks.stored_networks import save_network
from rrl.training.batches import plain_batches
from rrl.training.device import batches_on_device, prepare
from rrl.training.randomness import stream


@torch.no_grad()
def set_statistics(trunk: Trunk, data: Split, transform: Transform, batch_size: int, device: torch.device) -> None:
    """Batch-norm statistics become the plain average over all batches of the split."""
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    trunk.train()
    with Bar("statistics", "image", len(data.labels)) as bar:
        batches = plain_batches(data, transform, batch_size, device=device)
        for images, _ in batches_on_device(batches, device):
            trunk(images)
            bar.add(len(images))


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("random_network", __doc__)
    command.card("--target", "card of the source target")
    command.setting("--arch", str, "architecture")
    command.setting("--seed", int, "initialisation")
    command.setting("--batch-size", int, "images of a forward pass")
    command.setting("--transform", json.loads, TRANSFORM_FLAG)
    command.place("--name", str, "name of the network")
    command.place("--data-root", Path, "folder of the data sets")
    command.place("--threads", int, "threads of each process")
    command.place("--output", Path, "card to write; the weights are written beside it")
    arguments, job = command.parse(argv)

    device = prepare(arguments.threads, arguments.arithmetic)
    transform = parse_transform(arguments.transform)
    data = load_split(arguments.target, "train", arguments.data_root)
    torch.manual_seed(stream("initialisation", arguments.seed))
    trunk = build_trunk(arguments.arch).to(device).to(memory_format=torch.channels_last)
    set_statistics(trunk, data, transform, arguments.batch_size, device)
    save_network(job, arguments.output, arguments.name, {"trunk": trunk}, arguments.arch, "random", arguments.seed, {})


if __name__ == "__main__":
    run(main)
