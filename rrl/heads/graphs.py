"""Steps of a sweep as a GPU takes them: recorded once, as a CUDA graph, and replayed.

A step on small heads is some hundred kernels of a few microseconds each, which Python cannot start as fast as they are
done. A graph starts them all at once; and large heads are read and written once for the whole update.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rrl.heads.sweep import BatchNorm, Heads, Sweep, logits_of_normalised

FIRST = 3  # steps on batches of each size that are taken as they are: libraries choose and load their kernels


class FusedSweep(Sweep):
    """The same steps, without additions in any order (atomic ones), which deterministic algorithms replace by sorting,
    and with one kernel per setting for the update. rate : () in the type of the heads, on their device."""

    def _step(self, group: slice, x: Tensor, labels: Tensor, rate: Tensor | float) -> Tensor:
        weight, bias = self.heads.weight[group], self.heads.bias[group]
        scale, shift = self.heads.scale[group], self.heads.shift[group]
        settings, classes, depth = weight.shape
        scores = torch.log_softmax(logits_of_normalised(weight, bias, scale, shift, x), dim=2)
        losses = -scores.gather(2, labels[:, None, None].expand(-1, settings, 1)).squeeze(2).mean(0)
        right = labels[:, None] == torch.arange(classes, device=labels.device)
        error = scores.exp_().sub_(right[:, None].to(scores.dtype)).div_(len(x))  # dL/dlogits (B, S, C)
        d_bias = error.sum(0)
        product = (error.view(len(x), -1).T @ x).view(settings, classes, depth)
        gradients, parameters = [product, d_bias], [weight, bias]
        if self.batch_norm:
            gradients += [(product * weight).sum(1), (d_bias[:, None] @ weight).squeeze(1)]
            parameters += [scale, shift]
            product.mul_(scale[:, None]).addcmul_(d_bias[:, :, None], shift[:, None])
        rates = rate * self.factors[group]
        velocities = [velocity[group] for velocity in self.velocities]
        if weight.dtype == torch.float32:
            self._update(group, parameters, gradients, velocities, rates)
        else:  # the fused kernel takes rates in float32 only
            self._decay(group, parameters, gradients)
            self._descend(parameters, gradients, velocities, -rates)
        return losses

    def _update(
        self, group: slice, parameters: list[Tensor], gradients: list[Tensor],
        velocities: list[Tensor], rates: Tensor,
    ) -> None:  # fmt: skip
        """torch.optim.SGD's own kernel, for one setting after the other."""
        for number, decay in enumerate(self.decays[group]):
            of_norm = decay if self.batch_norm == "decayed" else 0.0
            for part, of_part in ((slice(0, 2), decay), (slice(2, None), of_norm)):
                if parameters[part]:
                    torch._fused_sgd_(
                        [parameter[number] for parameter in parameters[part]],
                        [gradient[number] for gradient in gradients[part]],
                        [velocity[number] for velocity in velocities[part]] if self.momentum else [],
                        weight_decay=of_part, momentum=self.momentum, lr=rates[number], dampening=0.0,
                        nesterov=self.nesterov, maximize=False, is_first_step=False,
                    )  # fmt: skip


@dataclass
class Recording:
    """A step on batches of one size, and where it finds what it is for and leaves its losses (S,)."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    labels: Tensor
    losses: Tensor


class GraphedSweep:
    """Steps on a GPU. `step` as that of Sweep, on features of any type."""

    def __init__(self, sweep: FusedSweep):
        self.sweep = sweep
        self.rate = sweep.factors.new_empty(())
        self.taken: dict[int, int] = {}
        self.recordings: dict[int, Recording] = {}

    def step(self, x: Tensor, labels: Tensor, rate: float) -> Tensor:
        """The losses stay what they are until the next step."""
        self.rate.fill_(rate)
        count = len(x)
        self.taken[count] = self.taken.get(count, 0) + 1
        if self.taken[count] <= FIRST:
            return self.sweep.step(x, labels, self.rate)
        if count not in self.recordings:
            self.recordings[count] = self._record(x, labels)
        recording = self.recordings[count]
        recording.x.copy_(x)
        recording.labels.copy_(labels)
        recording.graph.replay()
        return recording.losses

    def _record(self, x: Tensor, labels: Tensor) -> Recording:
        """Recording computes nothing."""
        graph = torch.cuda.CUDAGraph()
        into = torch.empty_like(x, dtype=self.sweep.heads.weight.dtype), torch.empty_like(labels)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            losses = self.sweep.step(*into, self.rate)
        return Recording(graph, *into, losses)


def sweep_of(
    heads: Heads, weight_decays: Sequence[float], factors: Sequence[float], momentum: float, nesterov: bool,
    batch_norm: BatchNorm,
) -> Sweep | GraphedSweep:  # fmt: skip
    """The sweep for where the heads lie."""
    parts = heads, weight_decays, factors, momentum, nesterov, batch_norm
    return Sweep(*parts) if heads.weight.device.type == "cpu" else GraphedSweep(FusedSweep(*parts))
