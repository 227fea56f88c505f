"""Portable arithmetic: the same bytes on every Linux machine with an x86-64 processor that has AVX2.

Each library looks at the processor when it is loaded, and chooses instructions that round as no other choice does. The
variables choose for them. What else would change a sum is left out: GPUs, several threads or processes, a compiler.
"""

import os
import platform
import shlex
from functools import cache
from pathlib import Path

from rrl.errors import UserError

PORTABLE = "portable"
NATIVE = "native"

# Read by PyTorch's own kernels, oneDNN, MKL and OpenBLAS, in this order, when they are loaded.
VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}


@cache
def has_avx2() -> bool:
    """Whether this machine is one of those whose results are the same: Linux on x86-64 with AVX2 and FMA."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {"avx2", "fma"} <= set(flags)


def variables(arithmetic: str) -> dict[str, str]:
    """What the environment of a stage must hold. Nothing without AVX2, whose instructions would end the process."""
    return VARIABLES if arithmetic == PORTABLE and has_avx2() else {}


def check(stage: str, arithmetic: str, threads: int) -> None:
    """Raises UserError unless this process computes as `arithmetic` says."""
    if arithmetic == NATIVE:
        return
    wrong = [name for name, value in variables(arithmetic).items() if os.environ.get(name) != value]
    if wrong:
        present = ", ".join(f"{name} {os.environ.get(name) or 'not set'}" for name in wrong)
        words = shlex.join(f"{name}={value}" for name, value in VARIABLES.items())
        raise UserError(
            f"rrl.stages.{stage}: found {present}; portable arithmetic needs four variables before Python starts: "
            f"put `env {words}` in front of the command"
        )
    if threads != 1 or "LOCAL_RANK" in os.environ:  # which torchrun sets
        present = f"--threads {threads}" if threads != 1 else "several processes"
        raise UserError(
            f"rrl.stages.{stage}: found {present}; portable arithmetic computes by one thread of one process: call "
            "it without torchrun, with --threads 1"
        )
