"""The protocol on your own modules and arrays, without the workflow: extract, concatenate, probe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rrl.config.settings import HeadTraining, Step
from rrl.errors import UserError
from rrl.heads.cached import Data
from rrl.heads.picking import all_logits
from rrl.heads.training import grid_of, initial_head, train_heads
from rrl.statistics import interval

Features = npt.NDArray[np.float32]
WEIGHT_DECAYS = (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2)  # of the paper's linear probing on CIFAR
SCHEDULE = Step(name="step", milestones=[8, 16, 24], factor=0.1)


@torch.inference_mode()
def extract(network: nn.Module, images: Tensor | npt.NDArray[np.float32], *, batch_size: int = 64) -> Features:
    """Features (N, D) float32 of images (N, channels, height, width) float32, preprocessed as the network wants them.

    The network is put in evaluation mode, and computes where its parameters are.
    Raises UserError if it gives anything but a row of finite features per image.
    """
    network.eval()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    batches = torch.as_tensor(images, dtype=torch.float32).split(batch_size)
    features = torch.cat([network(batch.to(device)).float().cpu() for batch in batches])
    if features.dim() != 2:
        raise UserError(f"the network gives {tuple(features.shape)}; must be features (images, D): take off its head")
    if not features.isfinite().all():
        raise UserError(f"image {int((~features.isfinite()).any(1).nonzero()[0])}: its features are not finite")
    return features.numpy()


def concatenate(features: Sequence[Features]) -> Features:
    """Features (N, D1), (N, D2), ... of several networks on the same images side by side: (N, D1 + D2 + ...)."""
    counts = [len(part) for part in features]
    if len(set(counts)) != 1:
        raise UserError(f"features of {counts} images; must be those of the same images")
    return np.concatenate(features, axis=1)


@dataclass(frozen=True)
class Probe:
    """What `probe` found. Accuracies are fractions.

    top1 : accuracy on test.
    interval : 95 % interval of top1, from the number of test images alone.
    val_top1 : accuracy on val, by which the setting and the epoch were picked: the best of all tried, so optimistic.
    learning_rate, weight_decay, epoch : what was picked; epochs count from 1.
    logits : (N, C), of test.
    """

    top1: float
    interval: tuple[float, float]
    val_top1: float
    learning_rate: float
    weight_decay: float
    epoch: int
    logits: npt.NDArray[np.float32]


def probe(
    train: tuple[Any, Any],
    val: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    learning_rates: Sequence[float] = (0.01,),
    epochs: int = 28,
    batch_size: int = 256,
    seed: int = 0,
) -> Probe:
    """A linear head with batch norm in front, by the paper's protocol; setting and epoch are picked on val.

    train, val, test : pairs of features (N, D) and labels (N,) in 0..C-1. All weight decays and learning rates are
    trained at once; test is read once, after the pick.
    Raises UserError if the parts do not fit together or a batch of one image would be left.
    """
    data = {name: _data(name, part) for name, part in (("train", train), ("val", val), ("test", test))}
    widths = {name: part.features.shape[2] for name, part in data.items()}
    if len(set(widths.values())) != 1:
        raise UserError(f"features of {widths}; must be the same number of features everywhere")
    classes = 1 + max(int(part.labels.max()) for part in data.values())
    settings = grid_of(learning_rates, weight_decays)
    training = HeadTraining(epochs, 0, batch_size, 0.9, True, SCHEDULE, seed)
    head = initial_head(classes, widths["train"], seed)
    selections, curves = train_heads(head, data["train"], data, ["heldout"], settings, training, batch_norm=True)
    picked = selections["heldout"]
    logits = all_logits(picked.head, data)["test"]
    top1 = float((logits.argmax(1) == data["test"].labels.numpy()).mean())
    return Probe(
        top1=top1,
        interval=interval(top1, len(logits)),
        val_top1=curves["val"]["correct"][picked.epoch][picked.setting] / len(data["val"].labels),
        learning_rate=settings[picked.setting].learning_rate,
        weight_decay=settings[picked.setting].weight_decay,
        epoch=picked.epoch + 1,
        logits=logits,
    )


def _data(name: str, part: tuple[Any, Any]) -> Data:
    features, labels = (torch.as_tensor(np.asarray(values)) for values in part)
    if features.dim() != 2 or labels.dim() != 1 or len(features) != len(labels) or len(labels) == 0:
        shapes = f"{tuple(features.shape)} and {tuple(labels.shape)}"
        raise UserError(f"{name}: features and labels of shapes {shapes}; must be (N, D) and (N,), N above 0")
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise UserError(f"{name}: labels from {labels.min()}, {labels.dtype}; must be whole numbers from 0")
    return Data(features.float()[None], labels.long())
