"""Whether results are right on a GPU, how fast they are there against what limits them, and in what memory.

    python -m benchmarks.gpu --out FOLDER                        on a GPU: `make gpu-check`
    python -m benchmarks.gpu --out FOLDER --device cpu --small   on a CPU: the checks themselves

Needs this folder, Python and torch with torchvision, timm, h5py, pandas, safetensors and Pillow; no data, no network.
FOLDER/gpu.json and FOLDER/gpu.md are written again after every row; the table is printed at the end. The status is 1 if
anything is not right; what is slow is no error.

right: against the CPU, in float64 where the code has it; same bytes where a computation runs twice, and where a
training was stopped and went on in a new process. fast: shares of limits that are measured in the same run. memory: the
most that torch held of the GPU in a section, and in each stage.
"""

import argparse
import math
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_fast as fast
from benchmarks import gpu_right as right
from benchmarks.gpu_made_up import SMALL, Machine, Size
from benchmarks.gpu_report import Report
from rrl.data.reading import stop_all


def environment(machine: Machine) -> dict[str, Any]:
    facts = {
        "time": time.strftime("%Y-%m-%d %H:%M %Z"), "python": platform.python_version(), "torch": torch.__version__,
        "cores": machine.cores,
    }  # fmt: skip
    if machine.cuda:
        card = torch.cuda.get_device_properties(machine.device)
        facts |= {"card": f"{card.name}, {card.total_memory / 1e9:.0f} GB", "cuda": torch.version.cuda}
        facts |= {"cudnn": torch.backends.cudnn.version(), "driver": driver()}
    return facts


def driver() -> str:
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def everything(report: Report, machine: Machine, stages: right.Stages) -> None:
    size = machine.size
    report.environment = environment(machine)
    cores, machine.cores = machine.cores, max(1, machine.cores // 4)  # beside the stages
    machine.prepare("float32")
    report.run("right: inputs", partial(right.made_inputs, machine), 20)
    report.run("right: probes", partial(right.probes, machine), 40)
    report.run("right: sweep", partial(fast.sweeps, machine, errors=True), 20)
    for arch in size.extracted:
        report.run(f"right: extraction, {arch}", partial(right.extraction, machine, arch), 25)
    for protocol in ("pretrain", "finetune", "distill"):
        report.run(f"right: {protocol}", partial(right.training, machine, protocol), 45)
    report.run("right: L-BFGS", partial(right.lbfgs, machine), 25)
    report.run("right: architectures", partial(right.architectures, machine), 30)
    report.run("right: all stages", stages.rows, 60)
    machine.cores = cores
    machine.prepare("float32")
    report.run("fast: limits", partial(fast.limits, machine), 20)
    report.run("fast: probe", partial(fast.probe_epoch, machine, size.epoch), 25)
    report.run("fast: large probe", partial(fast.probe_epoch, machine, size.large), 25)
    for precision in ("tf32", "bfloat16"):
        small = partial(fast.training, machine, *size.small, size.steps, precision)
        report.run(f"fast: small training, {precision}", small, 20)
        large = partial(fast.training, machine, size.arch, size.pixels, max(2, size.steps // 2), precision)
        report.run(f"fast: training, {precision}", large, 30)
    report.run("fast: waits", partial(fast.waits, machine), 20)
    for precision in ("bfloat16", "tf32"):
        report.run(f"fast: forward, {precision}", partial(fast.forward, machine, precision), 50)
    report.run("fast: extraction", partial(fast.extraction, machine), 60)
    report.run("fast: training from files", partial(fast.training_from_files, machine), 30)
    report.run("fast: sweep", partial(fast.sweeps, machine, errors=False), 20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--seconds", type=float, default=330, help="that all of it may take, on a GPU")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", default="", help="sections whose names begin so: right, fast, 'fast: probe'")
    parser.add_argument("--small", action="store_true", help="so small that a CPU is done in a minute or two")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        parser.error("there is no CUDA here; --device cpu --small tries the checks themselves")
    arguments.out.mkdir(parents=True, exist_ok=True)
    # On a CPU this is a trial run, beside other work: threads would wait for each other.
    cores = 1 if arguments.device == "cpu" else len(os.sched_getaffinity(0))
    size = SMALL if arguments.small else Size()
    seconds = math.inf if arguments.device == "cpu" else arguments.seconds
    report = Report(arguments.out, seconds, torch.device(arguments.device), arguments.only)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        machine = Machine(torch.device(arguments.device), size, Path(folder), cores)
        stages = right.Stages(machine, wanted="right: all stages".startswith(arguments.only))

        def give_up() -> None:
            """Whatever hangs: a process that is stuck in the driver gets no signal."""
            print(report.table(), flush=True)
            for child in list(stages.children.values()):
                child.kill()
            os._exit(3)

        watchdog = threading.Timer(min(seconds, 3600) + 15, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            everything(report, machine, stages)
        finally:
            stages.stop()
            stop_all()
            watchdog.cancel()
    print(report.table(), flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
