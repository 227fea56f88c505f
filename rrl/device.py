"""Where a stage computes."""

import os

import torch


def prepare(threads: int) -> torch.device:
    """Set the number of threads of this process; the device to compute on.

    Deterministic algorithms are asked for on a GPU only: on the CPU the operations used here have no
    other, and asking imports a second of unrelated modules.
    """
    torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.use_deterministic_algorithms(True)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
