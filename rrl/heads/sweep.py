"""Linear heads for every setting of a sweep, trained together as one matrix product.

A head is BatchNorm1d (affine) and a linear layer, or the linear layer alone. All S heads see the same
batches, so they share the normalised input x (B, D). With scale g and shift b of the batch norm,

    logits = (x * g + b) W' + c = x (W * g)' + (W b + c),

so the logits of all heads are x times one (D, S C) matrix. The gradients follow by hand from
P = dL/dlogits' x, again one product. Equal to training each head by itself with torch.nn and
torch.optim.SGD (tested to 1e-5).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, cross_entropy

from rrl.store.features import CHUNK

BatchNorm = bool | str  # "decayed": with weight decay on it too
EPSILON = 1e-5  # of torch.nn.BatchNorm1d
STATISTICS_MOMENTUM = 0.1  # of torch.nn.BatchNorm1d
# Weights of the heads that one product is made for: what is made of them stays in the caches.
GROUP = {"cpu": 1_000_000, "cuda": 2**23}
AT_ONCE = 2**24  # numbers: features, or logits, in evaluation


@dataclass
class Heads:
    """weight (S, C, D), bias (S, C); scale and shift (S, D) of the batch norm, mean and variance (D,) of its
    running statistics. Without batch norm all four stay what makes the normalisation the identity."""

    weight: Tensor
    bias: Tensor
    scale: Tensor
    shift: Tensor
    mean: Tensor
    variance: Tensor

    @staticmethod
    def create(weight: Tensor, bias: Tensor, settings: int, batch_norm: BatchNorm) -> "Heads":
        """S copies of one initial linear layer, weight (C, D) and bias (C,), in its type and on its device."""
        depth = weight.shape[1]
        return Heads(
            weight=weight.repeat(settings, 1, 1),
            bias=bias.repeat(settings, 1),
            scale=weight.new_ones(settings, depth),
            shift=weight.new_zeros(settings, depth),
            mean=weight.new_zeros(depth),
            variance=weight.new_full((depth,), 1.0 if batch_norm else 1.0 - EPSILON),
        )

    def one(self, setting: int) -> "Heads":
        """A copy of the head of one setting, as Heads with S = 1."""
        one = slice(setting, setting + 1)
        return Heads(
            self.weight[one].clone(),
            self.bias[one].clone(),
            self.scale[one].clone(),
            self.shift[one].clone(),
            self.mean.clone(),
            self.variance.clone(),
        )

    def groups(self) -> Iterator[slice]:
        """Settings whose heads are multiplied together: all of them, or few where heads are large."""
        settings, classes, depth = self.weight.shape
        together = max(1, GROUP[self.weight.device.type] // (classes * depth))
        return (slice(start, start + together) for start in range(0, settings, together))

    def rows(self) -> int:
        """Images that are evaluated at once."""
        settings, classes, depth = self.weight.shape
        rows = min(8192, max(1, AT_ONCE // max(settings * classes, depth)))
        return rows // CHUNK * CHUNK or rows  # whole chunks of files, where that can be


def logits(heads: Heads, x: Tensor) -> Tensor:
    """Logits (B, S, C) of inputs x (B, D), by running statistics."""
    x = (x - heads.mean) * torch.rsqrt(heads.variance + EPSILON)
    parts = [
        logits_of_normalised(heads.weight[group], heads.bias[group], heads.scale[group], heads.shift[group], x)
        for group in heads.groups()
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def logits_of_normalised(weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, x: Tensor) -> Tensor:
    """Logits (B, S, C) of normalised inputs x (B, D)."""
    settings, classes, depth = weight.shape
    if settings == 1 and classes > len(x):  # a product as large as the weights is the greater work
        return torch.addmm(bias[0], torch.addcmul(shift, x, scale), weight[0].T)[:, None]
    folded = (weight * scale[:, None]).view(settings * classes, depth)
    constant = (weight @ shift[:, :, None]).squeeze(2) + bias
    return torch.addmm(constant.view(-1), x, folded.T).view(len(x), settings, classes)


class Sweep:
    """Stochastic gradient descent on the heads of all settings at once.

    weight_decays, factors : one per setting; the learning rate of a step is its rate times the factor.
    Weight decay is on weight and bias of the linear layer (protocol of the paper), with batch_norm "decayed" on scale
    and shift of the batch norm too.
    """

    def __init__(
        self, heads: Heads, weight_decays: Sequence[float], factors: Sequence[float], momentum: float, nesterov: bool,
        batch_norm: BatchNorm,
    ):  # fmt: skip
        self.heads = heads
        self.decays = list(weight_decays)
        self.weight_decays = heads.weight.new_tensor(weight_decays)
        self.factors = heads.weight.new_tensor(factors)
        self.momentum = momentum
        self.nesterov = nesterov
        self.batch_norm = batch_norm
        trained = [heads.weight, heads.bias] + ([heads.scale, heads.shift] if batch_norm else [])
        self.velocities = [torch.zeros_like(parameter) for parameter in trained]

    @torch.no_grad()
    def step(self, x: Tensor, labels: Tensor, rate: float | Tensor) -> Tensor:
        """One step on features x (B, D), of any type, and labels (B,); returns the loss of each setting (S,), before
        the step."""
        x = x.to(self.heads.weight.dtype)
        if self.batch_norm:  # without scale and shift, which each setting has its own of
            heads = self.heads
            x = batch_norm(x, heads.mean, heads.variance, training=True, momentum=STATISTICS_MOMENTUM, eps=EPSILON)
        return torch.cat([self._step(group, x, labels, rate) for group in self.heads.groups()])

    def _step(self, group: slice, x: Tensor, labels: Tensor, rate: float | Tensor) -> Tensor:
        """One step of the settings in a group, on normalised features.

        Only one array is as large as the weights: the gradient, in whose place the rest is computed.
        """
        weight, bias = self.heads.weight[group], self.heads.bias[group]
        scale, shift = self.heads.scale[group], self.heads.shift[group]
        settings, classes, depth = weight.shape
        images = torch.arange(len(x), device=x.device)
        scores = torch.log_softmax(logits_of_normalised(weight, bias, scale, shift, x), dim=2)
        losses = -scores[images, :, labels].mean(0)
        error = scores.exp_()  # dL/dlogits (B, S, C)
        error[images, :, labels] -= 1
        error /= len(x)
        d_bias = error.sum(0)
        product = (error.view(len(x), -1).T @ x).view(settings, classes, depth)
        gradients = [product, d_bias]
        parameters = [weight, bias]
        if self.batch_norm:
            gradients += [(product * weight).sum(1), (d_bias[:, None] @ weight).squeeze(1)]
            parameters += [scale, shift]
            product.mul_(scale[:, None]).addcmul_(d_bias[:, :, None], shift[:, None])
        self._decay(group, parameters, gradients)
        velocities = [velocity[group] for velocity in self.velocities]
        self._descend(parameters, gradients, velocities, -rate * self.factors[group])
        return losses

    def _decay(self, group: slice, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        decay = self.weight_decays[group, None]
        gradients[0].addcmul_(decay[:, :, None], parameters[0])
        rest = slice(1, None if self.batch_norm == "decayed" else 2)
        for parameter, gradient in zip(parameters[rest], gradients[rest], strict=True):
            gradient.addcmul_(decay, parameter)

    def _descend(
        self, parameters: list[Tensor], gradients: list[Tensor], velocities: list[Tensor], rates: Tensor
    ) -> None:
        """Update the parameters, in place of the gradients. rates : (S,), negative."""
        for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
            velocity.mul_(self.momentum).add_(gradient)
            update = gradient.add_(velocity, alpha=self.momentum) if self.nesterov else velocity
            parameter.addcmul_(update, rates.view(-1, *[1] * (update.dim() - 1)))


def evaluate(heads: Heads, slices: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Number of correct images (S,) int64 and mean cross-entropy (S,) on slices x (B, D) and labels (B,)."""
    settings, images = len(heads.weight), 0
    correct = heads.weight.new_zeros(settings, dtype=torch.int64)
    loss = heads.weight.new_zeros(settings, dtype=torch.float64)
    for part, truth in slices:
        scores = logits(heads, part.to(heads.weight.dtype))
        correct += (scores.argmax(2) == truth[:, None]).sum(0)
        truths = truth[:, None].expand(-1, settings)
        loss += cross_entropy(scores.permute(0, 2, 1), truths, reduction="none").sum(0).double()
        images += len(truth)
    return correct, loss / images
