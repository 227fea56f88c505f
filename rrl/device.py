"""Where a stage computes."""

import os

import torch


def prepare(threads: int) -> torch.device:
    """Set the number of threads, of which processes that torchrun started get equal parts; the device to compute on.

    Deterministic algorithms are asked for on a GPU only: on the CPU the operations used here have no
    other, and asking imports a second of unrelated modules.
    """
    torch.set_num_threads(max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.use_deterministic_algorithms(True)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
