"""Stage `pretrain`: train one network on the source by empirical risk minimisation.

The seed changes the initialisation, the batch order and the augmentation, nothing else.
"""

from collections.abc import Sequence

import torch

from rrl.data.images import load_split
from rrl.job import begin, run
from rrl.networks.stored_networks import save_network
from rrl.networks.trunks import Network, build_trunk
from rrl.training.batches import epoch_batches
from rrl.training.device import prepare
from rrl.training.processes import become_torchrun, meet
from rrl.training.randomness import stream
from rrl.training.train import train
from rrl.training.training_state import Saved


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("pretrain", argv, __doc__)
    settings, (target,) = job.settings, job.inputs
    become_torchrun(job)

    processes = meet()
    recipe, transform, seed = settings.recipe, settings.transform, settings.seed
    device = prepare(job.threads, settings.arithmetic, recipe.precision)
    data = load_split(target, "train", job.data_root)
    torch.manual_seed(stream("initialisation", seed))
    network = Network(build_trunk(settings.arch), target.facts["classes"])
    network.to(device).to(memory_format=torch.channels_last)
    with Saved(job, processes) as saved:
        train(
            network,
            lambda epoch, skipped: epoch_batches(
                data, transform, recipe.batch_size, seed, epoch, skipped, processes.share, device
            ),
            -(-len(data.labels) // recipe.batch_size),
            recipe,
            device,
            after_epoch=lambda epoch: None,
            saved=saved,
        )
        modules = {"trunk": network.trunk, "head": network.head}
        if processes.first:
            save_network(job, modules, settings.arch, "pretrain", seed, {})


if __name__ == "__main__":
    run(main)
