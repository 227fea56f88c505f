"""Stage `pretrain`: train one network on the source by empirical risk minimisation.

The seed changes the initialisation, the batch order and the augmentation, nothing else.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from rrl.command import Command, build, run
from rrl.data.images import load_split
from rrl.data.transforms import TRANSFORM_FLAG, parse_transform
from rrl.networks.architectures import Network, build_trunk
from rrl.networks.stored_networks import save_network
from rrl.training.batches import epoch_batches
from rrl.training.device import prepare
from rrl.training.processes import GPUS, become_torchrun, meet
from rrl.training.randomness import stream
from rrl.training.train import RECIPE_FLAGS, Recipe, train
from rrl.training.training_state import Saved


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("pretrain", __doc__)
    command.card("--target", "card of the source target")
    command.setting("--arch", str, "architecture")
    command.setting("--seed", int, "initialisation, batch order and augmentation")
    command.fields(Recipe, RECIPE_FLAGS)
    command.setting("--transform", json.loads, TRANSFORM_FLAG)
    command.place("--name", str, "name of the network")
    command.place("--data-root", Path, "folder of the data sets")
    command.place("--threads", int, "threads of each process")
    command.place("--gpus", int, GPUS)
    command.place("--output", Path, "card to write; the weights are written beside it")
    arguments, job = command.parse(argv)
    become_torchrun("pretrain", arguments.gpus, arguments.arithmetic, argv)

    processes = meet()
    device = prepare(arguments.threads, arguments.arithmetic, arguments.precision)
    recipe = build(Recipe, arguments)
    transform = parse_transform(arguments.transform)
    data = load_split(arguments.target, "train", arguments.data_root)
    torch.manual_seed(stream("initialisation", arguments.seed))
    network = Network(build_trunk(arguments.arch), arguments.target.facts["classes"])
    network.to(device).to(memory_format=torch.channels_last)
    steps = -(-len(data.labels) // recipe.batch_size)
    with Saved(job, arguments.target.root, f"networks/{arguments.name}", processes) as saved:
        train(
            network,
            lambda epoch, skipped: epoch_batches(
                data, transform, recipe.batch_size, arguments.seed, epoch, skipped, processes.share, device
            ),
            steps,
            recipe,
            device,
            after_epoch=lambda epoch: None,
            saved=saved,
        )
        modules = {"trunk": network.trunk, "head": network.head}
        if processes.first:
            save_network(job, arguments.output, arguments.name, modules, arguments.arch, "pretrain", arguments.seed, {})


if __name__ == "__main__":
    run(main)
