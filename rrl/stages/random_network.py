"""Stage `random_network`: an untrained network whose batch-norm statistics are set on source images.

A control: what the architecture gives without any training. The initialisation is that of the
pretrained network of the same architecture and seed.
"""

from collections.abc import Sequence

import torch
from torch import nn

from rrl.bars import Bar
from rrl.config.settings import Transform
from rrl.data.images import Split, load_split
from rrl.job import begin, run
from rrl.networks.stored_networks import save_network
from rrl.networks.trunks import Trunk, build_trunk
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
    job = begin("random_network", argv, __doc__)
    settings, (target,) = job.settings, job.inputs

    device = prepare(job.threads, settings.arithmetic)
    data = load_split(target, "train", job.data_root)
    torch.manual_seed(stream("initialisation", settings.seed))
    trunk = build_trunk(settings.arch).to(device).to(memory_format=torch.channels_last)
    set_statistics(trunk, data, settings.transform, settings.batch_size, device)
    save_network(job, {"trunk": trunk}, settings.arch, "random", settings.seed, {})


if __name__ == "__main__":
    run(main)
