# The config as a plan, and what rules ask of it. Nothing here imports torch.
import os
import sys
import time
from pathlib import Path

# The rrl beside this Snakefile, here and in the jobs, whatever else is installed.
sys.path.insert(0, workflow.basedir)
os.environ["PYTHONPATH"] = workflow.basedir

import yaml

from rrl.code_version import code_version
from rrl.config import load_config
from rrl.datasets import PARTS
from rrl.errors import UserError
from rrl.members import SPLITS
from rrl.plan import Plan

try:
    PLAN = Plan(
        load_config(config, [Path(file) for file in workflow.configfiles]),
        yaml.safe_load(Path(workflow.basedir, "workflow/pins.yaml").read_text()),
    )
except UserError as error:
    sys.exit(str(error))


onstart:
    unreadable = sorted({of.dataset for of in PLAN.config.targets.values()} - set(PARTS))
    if unreadable:
        sys.exit(
            f"Error: data sets {', '.join(unreadable)}: this version can plan with them and not read them; "
            f"it reads {', '.join(PARTS)}. Run the demo instead: make demo"
        )


onerror:
    # Snakemake says which job failed; this says why, a line each, with the log that holds the rest.
    for path in sorted(Path(RESULTS, "logs").rglob("*.log")):
        text = path.read_text(errors="replace").strip()
        last = text.rpartition("\n")[2]
        if path.stat().st_mtime >= STARTED and (last.startswith("Error:") or "Traceback" in text):
            print(f"{path}: {last}", file=sys.stderr)


STARTED = time.time()
RESULTS = PLAN.config.results
DATA = PLAN.config.data
PYTHON = sys.executable


wildcard_constraints:
    target="|".join(PLAN.config.targets),
    network="|".join(PLAN.networks),
    representation="|".join(name.replace(".", "[.]") for name in PLAN.representations),
    table="|".join(PLAN.config.tables),


def planned(kind, **fixed):
    """Flags of the job that makes an artifact of this kind: its settings, from the config alone."""

    def settings(wildcards):
        return getattr(PLAN, kind)(**wildcards, **fixed).flags

    return settings


def input_keys(kind, **fixed):
    """Keys that the cards given to the job must have, in the order of its inputs."""

    def keys(wildcards):
        return getattr(PLAN, kind)(**wildcards, **fixed).input_keys

    return keys


def cards(kind, **fixed):
    """Cards of the inputs of the job, in order."""

    def paths(wildcards):
        return [f"{RESULTS}/{job.artifact}.json" for job in getattr(PLAN, kind)(**wildcards, **fixed).inputs]

    return paths
