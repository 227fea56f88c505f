"""The processes that share one training: one per GPU of the job, on one node, started by torchrun.

Each takes its share of every batch. Batch norm sees the whole batch, gradients and sums are those of the whole batch,
so the number of processes changes rounding and nothing else. What is said here of all processes must be called by
all of them.

Without CUDA the processes compute on the CPU: how this is tested.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rrl.arithmetic import PORTABLE
from rrl.job import Job

# Seconds that torchrun waits for its processes to save, after SIGTERM, before it kills them: a little less than
# the two minutes that Slurm is asked to give.
SHUTDOWN = 110


def given_gpus() -> int:
    """GPUs that this job may use: those that CUDA_VISIBLE_DEVICES names, or else all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return torch.cuda.device_count()
    return len([name for name in named.split(",") if name.strip()])


def become_torchrun(job: Job) -> None:
    """If the training is for several GPUs, and they are here, this process becomes torchrun, which starts the stage
    again in a process for each. Portable arithmetic uses none; fewer are used where fewer are given."""
    processes = 1 if job.settings.arithmetic == PORTABLE else min(job.gpus, given_gpus())
    if processes > 1 and "LOCAL_RANK" not in os.environ:
        flags = ["--standalone", f"--nproc-per-node={processes}", f"--shutdown-timeout={SHUTDOWN}"]
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # a stage sets its threads itself
        sys.stderr.flush()
        os.execv(
            sys.executable,
            [sys.executable, "-m", "torch.distributed.run", *flags, "-m", f"rrl.stages.{job.stage}", *job.argv],
        )


@dataclass(frozen=True)
class Processes:
    """This process among those that share the training: number `rank` of `count`."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and lines of the log."""
        return self.rank == 0

    def share(self, chosen: Tensor) -> Tensor:
        """This process's part of a batch's positions (B,); all parts together are the batch. It may be empty."""
        return chosen.tensor_split(self.count)[self.rank]

    def sums(self, *numbers: float) -> list[float]:
        """Each number, summed over all processes."""
        if self.count == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        summed: list[float] = total.tolist()
        return summed

    def any(self, *flags: bool) -> bool:
        """Whether any flag of any process is set."""
        return any(self.sums(*map(float, flags)))

    def wait(self) -> None:
        """Until all processes are here."""
        self.sums(0.0)

    def from_first(self, value: Any) -> Any:
        """What the first process gives, in all."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, in all, in order."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def shared(self, network: nn.Module) -> nn.Module:
        """The network, on its device, for a forward and backward pass whose gradients are the mean over processes."""
        if self.count == 1:
            return network
        if next(network.parameters()).is_cuda:
            # torch's own conversion loses the activations in timm's batch norm
            from timm.layers.norm_act import convert_sync_batchnorm

            convert_sync_batchnorm(network)
        else:
            for module in network.modules():
                if type(module) is nn.BatchNorm2d:
                    module.__class__ = SharedBatchNorm
        wrapped: nn.Module = DistributedDataParallel(network, forward_sync_buffers=False)
        return wrapped

    def mean_loss(self, loss: Tensor, outputs: Tensor, images: int) -> Tensor:
        """What to differentiate, so that the mean of the gradients over processes is the gradient of the mean loss
        over the whole batch.

        loss : the mean over the `images` images (B' of them, or none) of this process.
        """
        if self.count == 1:
            return loss
        (of_all,) = self.sums(images)
        return loss * (images * self.count / of_all) if images else outputs.sum() * 0.0


class SumOverProcesses(torch.autograd.Function):
    """A tensor of each process becomes the sum of all; a gradient does the same."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return SumOverProcesses.forward(context, gradient)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batch of all processes, on the CPU, which torch's SyncBatchNorm does not know."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        count = torch.tensor(float(input.numel() // input.shape[1]))
        sums = torch.cat([input.sum((0, 2, 3)), count[None]])
        *_, number = summed = SumOverProcesses.apply(sums)
        mean = summed[:-1] / number
        centred = input - mean[None, :, None, None]
        variance = SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / number
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight
        output: Tensor = centred * scale[None, :, None, None] + self.bias[None, :, None, None]
        return output


ALONE = Processes()


def meet() -> Processes:
    """Meet the other processes that torchrun started, if it started this one."""
    if "LOCAL_RANK" not in os.environ:
        return ALONE
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """End this process, if it shares a training, with the status that it is about to exit with.

    The interpreter is not taken down: a thread of the group may still hold a tensor of its last sum, and to let go of
    it while that happens aborts the process (SIGABRT, "terminate called without an active exception").
    """
    cause = sys.exc_info()[1]
    if dist.is_initialized() and (cause is None or isinstance(cause, SystemExit)):
        dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        status = None if cause is None else cause.code
        os._exit(status if isinstance(status, int) else int(status is not None))
