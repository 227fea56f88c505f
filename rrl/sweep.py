"""Linear heads for every setting of a sweep, trained together as one matrix product.

A head is BatchNorm1d (affine) and a linear layer, or the linear layer alone. All S heads see the same
batches, so they share the normalised input x (B, D). With scale g and shift b of the batch norm,

    logits = (x * g + b) W' + c = x (W * g)' + (W b + c),

so the logits of all heads are x times one (D, S C) matrix. The gradients follow by hand from
P = dL/dlogits' x, again one product. Equal to training each head by itself with torch.nn and
torch.optim.SGD (tested to 1e-5).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

EPSILON = 1e-5  # of torch.nn.BatchNorm1d
STATISTICS_MOMENTUM = 0.1  # of torch.nn.BatchNorm1d


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
    def create(weight: Tensor, bias: Tensor, settings: int, batch_norm: bool) -> "Heads":
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

    def of(self, setting: int) -> "Heads":
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


def logits(heads: Heads, x: Tensor) -> Tensor:
    """Logits (B, S, C) of inputs x (B, D), by running statistics."""
    return _logits(heads, (x - heads.mean) * torch.rsqrt(heads.variance + EPSILON))


def _logits(heads: Heads, x: Tensor) -> Tensor:
    """Logits (B, S, C) of normalised inputs x (B, D)."""
    settings, classes, depth = heads.weight.shape
    folded = (heads.weight * heads.scale[:, None]).view(settings * classes, depth)
    constant = (heads.weight @ heads.shift[:, :, None]).squeeze(2) + heads.bias
    return torch.addmm(constant.view(-1), x, folded.T).view(len(x), settings, classes)


class Sweep:
    """Stochastic gradient descent on the heads of all settings at once.

    weight_decays, factors : (S,) per setting; the learning rate of a step is its rate times the factor.
    Weight decay is on weight and bias of the linear layer, not on the batch norm (protocol of the paper).
    """

    def __init__(
        self, heads: Heads, weight_decays: Tensor, factors: Tensor, momentum: float, nesterov: bool, batch_norm: bool
    ):
        self.heads = heads
        self.weight_decays = weight_decays
        self.factors = factors
        self.momentum = momentum
        self.nesterov = nesterov
        self.batch_norm = batch_norm
        trained = [heads.weight, heads.bias] + ([heads.scale, heads.shift] if batch_norm else [])
        self.velocities = [torch.zeros_like(parameter) for parameter in trained]

    @torch.no_grad()
    def step(self, x: Tensor, labels: Tensor, rate: float) -> Tensor:
        """One step on features x (B, D) and labels (B,); returns the loss of each setting (S,), before the step."""
        heads = self.heads
        if self.batch_norm:
            x = self._normalise(x)
        settings, classes, depth = heads.weight.shape
        scores = torch.log_softmax(_logits(heads, x), dim=2)
        losses = -scores[torch.arange(len(x)), :, labels].mean(0)
        error = scores.exp_()  # dL/dlogits (B, S, C)
        error[torch.arange(len(x)), :, labels] -= 1
        error /= len(x)
        product = (error.view(len(x), -1).T @ x).view(settings, classes, depth)
        d_bias = error.sum(0)
        d_weight = product * heads.scale[:, None] + d_bias[:, :, None] * heads.shift[:, None]
        decay = self.weight_decays[:, None]
        gradients = [d_weight + decay[:, :, None] * heads.weight, d_bias + decay * heads.bias]
        parameters = [heads.weight, heads.bias]
        if self.batch_norm:
            gradients += [(product * heads.weight).sum(1), (d_bias[:, :, None] * heads.weight).sum(1)]
            parameters += [heads.scale, heads.shift]
        for parameter, gradient, velocity in zip(parameters, gradients, self.velocities, strict=True):
            velocity.mul_(self.momentum).add_(gradient)
            update = gradient.add_(velocity, alpha=self.momentum) if self.nesterov else velocity
            parameter.sub_(update * (rate * self.factors).view(-1, *[1] * (update.dim() - 1)))
        return losses

    def _normalise(self, x: Tensor) -> Tensor:
        """x (B, D) by its own statistics, which also move the running ones, as BatchNorm1d does in training."""
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        count = len(x)
        self.heads.mean.lerp_(mean, STATISTICS_MOMENTUM)
        self.heads.variance.lerp_(variance * (count / (count - 1)), STATISTICS_MOMENTUM)
        return (x - mean) * torch.rsqrt(variance + EPSILON)


def evaluate(heads: Heads, x: Tensor, labels: Tensor, rows: int = 8192) -> tuple[Tensor, Tensor]:
    """Number of correct images (S,) int64 and mean cross-entropy (S,) on x (N, D), in slices of `rows` images."""
    settings = len(heads.weight)
    correct = torch.zeros(settings, dtype=torch.int64, device=x.device)
    loss = torch.zeros(settings, dtype=torch.float64, device=x.device)
    for part, truth in zip(x.split(rows), labels.split(rows), strict=True):
        scores = logits(heads, part.to(heads.weight.dtype))
        correct += (scores.argmax(2) == truth[:, None]).sum(0)
        truths = truth[:, None].expand(-1, settings)
        loss += cross_entropy(scores.permute(0, 2, 1), truths, reduction="none").sum(0).double()
    return correct, loss / len(labels)
