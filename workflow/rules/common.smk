# The config as a plan, and what rules ask of it. Nothing here imports torch.
import os
import re
import shlex
import shutil
import sys
from base64 import urlsafe_b64decode
from pathlib import Path

# The rrl beside this Snakefile, here and in the jobs, whatever else is installed.
sys.path.insert(0, workflow.basedir)
os.environ["PYTHONPATH"] = workflow.basedir

import yaml

from rrl import arithmetic
from rrl.networks.checkpoints import checkpoints
from rrl.code_version import code_version
from rrl.config.load import load_config
from rrl.errors import UserError
from rrl.store.members import SPLITS
from rrl.plan import Plan
from rrl.config.schema import ImageTarget, PaperTarget, Target
from rrl.cli.why import card_path, stale
from snakemake.logging import logger
from workflow import fork_server, signals, slurm
from workflow.failures import Failures
from workflow.folders import bring_to_present, check_writable
from workflow.run import Run

try:
    PLAN = Plan(
        load_config(config, [Path(file) for file in workflow.configfiles]),
        yaml.safe_load(Path(workflow.basedir, "workflow/pins.yaml").read_text()),
    )
    check_writable([Path(".snakemake/any")])
except UserError as error:
    sys.exit(str(error))


signals.handle_in_a_thread()
FAILURES = Failures()
if workflow.exec_mode.name == "DEFAULT":
    logger.addHandler(FAILURES)


RESULTS = PLAN.config.results
DATA = shlex.quote(PLAN.config.data)
CHECKPOINTS = PLAN.config.checkpoints
# What every job runs. Portable arithmetic is set by variables, which the libraries read when they are loaded.
VARIABLES = [f"{name}={value}" for name, value in arithmetic.variables(PLAN.config.arithmetic).items()]
PYTHON = shlex.join([*(["env", *VARIABLES] if VARIABLES else []), *fork_server.python()])
if PLAN.config.arithmetic == arithmetic.PORTABLE:
    # It takes one thread, whatever a profile or --set-threads would give a job.
    workflow.resource_settings.overwrite_threads = {}
RUN = Run(workflow, Path(RESULTS))
if workflow.exec_mode.name == "DEFAULT" and not workflow.output_settings.dryrun:
    logger.addHandler(RUN)
    RUN.draw()


onstart:
    # Where Slurm was used before, or is now: jobs of a Snakemake that was killed may still run.
    command = getattr(workflow.executor_settings, "status_command", None)
    if PLAN.config.arithmetic == arithmetic.PORTABLE and not arithmetic.has_avx2():
        logger.warning(
            "arithmetic: portable: this machine is not Linux on x86-64 with AVX2 and FMA: numbers will differ from "
            "those of machines that are, and from the published ones."
        )
    try:
        check_writable(Path(file) for job in workflow.dag.needrun_jobs() for file in [*job.output, *job.log])
        if count := bring_to_present(Path(file) for job in workflow.dag.needrun_jobs() for file in job.input):
            logger.warning(f"{count} files were made later than now, as the clock was set back. Their time is now.")
        if command is not None:
            slurm.check_status_command(command)
            rules = [job.rule for job in workflow.dag.needrun_jobs() if not job.is_local]
            partitions = [rule.resources.get("slurm_partition") for rule in rules]
            slurm.check_partitions(str(of.raw) for of in partitions if of is not None)
            slurm.mend_executor()
        if command is not None or (Path(".snakemake/slurm_logs").exists() and shutil.which("squeue")):
            slurm.check_jobs(Path.cwd())
    except UserError as error:
        sys.exit(f"Error: {error}")


onsuccess:
    RUN.tell()


onerror:
    RUN.tell()
    # Snakemake says which job failed; this says why, a line each, with the log that holds the rest.
    for line in FAILURES.lines():
        print(line, file=sys.stderr)


def recorded():
    """Files that Snakemake has a record of: how it knows what made them."""
    folder = Path(".snakemake/metadata")
    for path in folder.rglob("*"):
        if path.is_file():
            yield urlsafe_b64decode("".join(part.removeprefix("@") for part in path.relative_to(folder).parts)).decode()


def stale_without_record():
    """Cards of another plan, and what differs, that Snakemake has no record of: it would take them as they are."""
    known = {Path(file) for file in recorded()}
    unknown = [job for job in PLAN.jobs if (path := card_path(RESULTS, job)).exists() and path not in known]
    return [(card_path(RESULTS, job), why) for job, why in stale(RESULTS, unknown)]


if workflow.exec_mode.name == "DEFAULT" and (refused := stale_without_record()):
    (path, why), *rest = refused
    sys.exit(
        f"Error: {path}{f' and {len(rest)} more' if rest else ''}: {why}. Snakemake has no record of what made "
        "them (results copied without .snakemake?) and would take them as they are; to rebuild them: "
        f"python -m rrl.cli.why --paths {shlex.quote(str(workflow.configfiles[-1]))} | tr '\\n' '\\0' | xargs -0 rm -f, "
        "then run the same snakemake command again"
    )


def alternatives(names):
    """A wildcard constraint: one of the names."""
    return "|".join(re.escape(name) for name in names) or "none"


def networks_of(origin):
    """A wildcard constraint: the networks of one origin."""
    names = [name for name, (family, _) in PLAN.networks.items() if PLAN.config.networks[family].origin == origin]
    return alternatives(names)


def targets_of(kind):
    """A wildcard constraint: the targets of one kind."""
    return alternatives([name for name, of in PLAN.config.targets.items() if isinstance(of, kind)])


wildcard_constraints:
    target=alternatives(PLAN.config.targets),
    network=alternatives([*PLAN.networks, *PLAN.kept]),
    representation=alternatives([*PLAN.representations, *PLAN.stage_one, *PLAN.stage_one_published]),
    run=alternatives(PLAN.runs),
    table=alternatives(PLAN.config.tables),
    figure=alternatives(PLAN.config.figures),


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


def files(kind, below, suffix, **fixed):
    """Files of those inputs of the job that lie in the folder `below`, in order."""

    def paths(wildcards):
        inputs = getattr(PLAN, kind)(**wildcards, **fixed).inputs
        return [f"{RESULTS}/{job.artifact}{suffix}" for job in inputs if job.artifact.startswith(below)]

    return paths


def cards(kind, below="", **fixed):
    """Cards of the inputs of the job, in order."""
    return files(kind, below, ".json", **fixed)


def logits(kind, **fixed):
    """Logits of the records that the job reads, in order."""

    def paths(wildcards):
        inputs = getattr(PLAN, kind)(**wildcards, **fixed).inputs
        return [f"{RESULTS}/{job.artifact}.h5".replace("/records/", "/logits/", 1) for job in inputs]

    return paths
