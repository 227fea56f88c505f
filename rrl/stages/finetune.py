"""Stage `finetune`: train a network, or several side by side as one, whole on a target with a fresh head.

One setting (learning rate, weight decay, epochs) and one selection rule (rrl.selection), which picks the epoch.
The logits are those of the picked epoch. Weights, where they are kept for two-stage fine-tuning, are those of
the last epoch: two-stage follows no selection.
"""

import copy
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rrl.config.runs import Run, setting_name
from rrl.config.settings import Transform
from rrl.data.images import Split, join, load_split
from rrl.errors import UserError
from rrl.job import Card, Job, begin, run
from rrl.networks.stored_networks import load_trunk, save_network
from rrl.networks.trunks import JointTrunk, Network
from rrl.selection import SELECTED_ON, Best, training_images
from rrl.store.logits import write_logits
from rrl.store.members import SPLITS
from rrl.store.record import Subject, entry, write_run
from rrl.training.batches import plain_batches, step_batches
from rrl.training.device import batches_on_device, on_host, prepare
from rrl.training.processes import ALONE, Processes, become_torchrun, meet
from rrl.training.randomness import stream
from rrl.training.train import train
from rrl.training.training_state import Saved


@dataclass(frozen=True)
class Evaluation:
    """How images are passed through a network that is not being trained.

    batch_size : of all processes together.
    after_batch : called after each batch.
    """

    transform: Transform
    batch_size: int
    device: torch.device
    after_batch: Callable[[], None] = lambda: None
    processes: Processes = ALONE

    @torch.inference_mode()
    def logits(self, network: nn.Module, data: Split) -> Tensor:
        """Logits (N, C) on the CPU, in all processes."""
        network.eval()
        logits = []
        batches = plain_batches(data, self.transform, self.batch_size, self.processes.share, self.device)
        outputs = (network(images) for images, _ in batches_on_device(batches, self.device))
        for batch in on_host(outputs, self.device):
            logits.append(batch)
            self.after_batch()
        shares = self.processes.gather(logits)
        return torch.cat([share for batch in zip(*shares, strict=True) for share in batch])


class BestEpoch:
    """Evaluates the network after each epoch and remembers its state at the best one."""

    def __init__(self, network: Network, data: Split, evaluation: Evaluation):
        self.network, self.data, self.evaluation = network, data, evaluation
        self.best = Best()
        self.epoch = -1
        self.tensors: dict[str, Tensor] = {}
        self.top1: list[float] = []
        self.loss: list[float] = []

    def __call__(self, epoch: int) -> None:
        labels = torch.from_numpy(self.data.labels)
        logits = self.evaluation.logits(self.network, self.data)
        correct = int((logits.argmax(1) == labels).sum())
        loss = float(nn.functional.cross_entropy(logits, labels))
        if not math.isfinite(loss):
            raise UserError(f"epoch {epoch + 1}: the loss in evaluation is {loss}; lower learning_rate")
        if self.best.offer(correct, loss):
            self.epoch = epoch
            self.tensors = copy.deepcopy(self.network.state_dict())
        self.top1.append(round(correct / len(labels), 6))
        self.loss.append(round(loss, 6))

    def state(self) -> dict[str, Any]:
        tensors = {name: tensor.cpu() for name, tensor in self.tensors.items()}
        best = self.best.correct, -self.best.loss
        return {"best": best, "epoch": self.epoch, "top1": self.top1, "loss": self.loss, "tensors": tensors}

    def restore(self, state: dict[str, Any]) -> None:
        correct, minus_loss = state["best"]
        self.best = Best(correct, -minus_loss)
        self.epoch, self.top1, self.loss = (state[name] for name in ("epoch", "top1", "loss"))
        if state["tensors"]:
            self.tensors = copy.deepcopy(self.network.state_dict())
            for name, tensor in self.tensors.items():
                tensor.copy_(state["tensors"][name])


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("finetune", argv, __doc__)
    settings, (target,), cards = job.settings, job.cards("targets"), job.cards("networks")
    become_torchrun(job)

    processes = meet()
    recipe, transform, selection = settings.recipe, settings.transform, settings.selection
    device = prepare(job.threads, settings.arithmetic, recipe.precision)
    splits = {split: load_split(target, split, job.data_root) for split in SPLITS}
    data = training_images(splits, selection, settings.shots, lambda *parts: join(parts))
    seeds = [card.facts["seed"] for card in cards]
    seed = stream("finetune", settings.seed, *seeds)
    torch.manual_seed(stream("initialisation", seed))
    trunks = [load_trunk(card, transform) for card in cards]
    network = Network(trunks[0] if len(trunks) == 1 else JointTrunk(trunks), target.facts["classes"])
    network.to(device).to(memory_format=torch.channels_last)
    steps = settings.steps_per_epoch or -(-len(data.labels) // recipe.batch_size)
    setting = setting_name(recipe.learning_rate, recipe.weight_decay, recipe.epochs)
    representation = job.name.removesuffix(Run("", target.name, selection, setting).name)
    with Saved(job, processes) as saved:
        evaluation = Evaluation(transform, settings.evaluation_batch_size, device, saved.safe_point, processes)
        best = BestEpoch(network, splits[SELECTED_ON[selection]], evaluation)
        train(
            network,
            lambda epoch, skipped: step_batches(
                data, transform, recipe.batch_size, seed, epoch, steps, skipped, processes.share, device
            ),
            steps,
            recipe,
            device,
            after_epoch=best,
            saved=saved,
        )

        if job.keep and processes.first:
            keep(job, network, cards, {"representation": representation, "n_train": len(data.labels)})
        network.load_state_dict(best.tensors)
        scores = {split: evaluation.logits(network, splits[split]).numpy() for split in ("val", "test")}
        if not processes.first:
            return
        labels = {split: splits[split].labels for split in scores}
        tried = {"learning_rate": recipe.learning_rate, "weight_decay": recipe.weight_decay, "epochs": recipe.epochs}
        grid = [{**tried, "top1": best.top1, "loss": best.loss}]
        selected = {**tried, "epoch": best.epoch + 1}
        result = entry(settings.shots, selection, len(data.labels), scores, labels, selected, grid)
        print(f"{selection}: epoch {best.epoch + 1} top1 {result['top1']:.4f}", file=sys.stderr)
        digest = write_logits(job.output.with_suffix(".h5"), {f"{settings.shots}/{selection}": scores}, labels)
        subject = Subject(
            target=target.name,
            representation=representation,
            members=[card.name for card in cards],
            seeds=seeds,
            parameters=sum(card.facts["parameters"] for card in cards),
            feature_dim=network.trunk.feature_dim,
        )
        write_run(job.output, started)
        job.write_card(digest, {"subject": asdict(subject), "result": result})


def keep(job: Job, network: Network, cards: list[Card], facts: dict[str, Any]) -> None:
    """Write the network as it is after the last epoch. Raises UserError if it is several side by side."""
    if len(cards) > 1:
        raise UserError(f"--keep: found {job.keep} for {len(cards)} networks; it must be for one")
    modules = {"trunk": network.trunk, "head": network.head}
    arch, seed = cards[0].facts["arch"], cards[0].facts["seed"]
    save_network(job, modules, arch, "finetune", seed, facts, card=Path(job.keep))


if __name__ == "__main__":
    run(main)
