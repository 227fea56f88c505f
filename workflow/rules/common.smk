# The config as a plan, and what rules ask of it. Nothing here imports torch.
import json
import os
import shlex
import sys
from pathlib import Path

# The rrl beside this Snakefile, here and in the jobs, whatever else is installed.
sys.path.insert(0, workflow.basedir)
os.environ["PYTHONPATH"] = workflow.basedir

import yaml

from rrl import arithmetic
from rrl.networks.checkpoints import checkpoints
from rrl.config.load import load_config
from rrl.errors import UserError
from rrl.store.members import SPLITS
from rrl.plan import Plan
from rrl.jobs import STAGES
from rrl.config.settings import CheckpointFile, DemoSource, ImageSource, LibraryModel, PaperSource, UserFile, dump
from rrl.store.files import write_text
from rrl.cli.why import card_path, stale
from workflow import fork_server, internals
from workflow.checks import check_start, check_writable
from workflow.internals import alternatives
from workflow.run import Run

try:
    PLAN = Plan(
        load_config(config, [Path(file) for file in workflow.configfiles]),
        yaml.safe_load(Path(workflow.basedir, "workflow/pins.yaml").read_text()),
    )
    check_writable([Path(".snakemake/any")])
except UserError as error:
    sys.exit(str(error))


internals.handle_sigterm_in_thread()
RESULTS = PLAN.config.results
DATA = shlex.quote(PLAN.config.data)
CHECKPOINTS = PLAN.config.checkpoints
# What every job runs. Portable arithmetic is set by variables, which the libraries read when they are loaded.
VARIABLES = [f"{name}={value}" for name, value in arithmetic.variables(PLAN.config.arithmetic).items()]
PYTHON = shlex.join([*(["env", *VARIABLES] if VARIABLES else []), *fork_server.python()])
if PLAN.config.arithmetic == arithmetic.PORTABLE:
    # It takes one thread, whatever a profile or --set-threads would give a job.
    internals.ignore_set_threads(workflow)
RUN = Run(workflow, Path(RESULTS))
if internals.is_run(workflow):
    RUN.start()


onstart:
    try:
        for warning in check_start(workflow, PLAN.config.arithmetic == arithmetic.PORTABLE):
            internals.snakemake_logger().warning(warning)
        write_arguments({str(file) for job in internals.jobs_to_run(workflow) for file in job.output})
    except UserError as error:
        sys.exit(f"Error: {error}")


onsuccess:
    RUN.report()


onerror:
    RUN.report()


def stale_without_record():
    """Cards of another plan, and what differs, that Snakemake has no record of: it would take them as they are."""
    known = internals.recorded_outputs()
    unknown = [job for job in PLAN.jobs if (path := card_path(RESULTS, job)).exists() and path not in known]
    return [(card_path(RESULTS, job), why) for job, why in stale(RESULTS, unknown)]


if workflow.is_main_process and (refused := stale_without_record()):
    (path, why), *rest = refused
    sys.exit(
        f"Error: {path}{f' and {len(rest)} more' if rest else ''}: {why}. Snakemake has no record of what made "
        "them (results copied without .snakemake?) and would take them as they are; to rebuild them: python "
        f"-m rrl.cli why --paths {shlex.quote(str(workflow.configfiles[-1]))} | tr '\\n' '\\0' | xargs -0 rm -f, "
        "then run the same snakemake command again"
    )


def networks_by(stage):
    """A wildcard constraint: the networks that a stage makes."""
    return alternatives(name for name in PLAN.networks if PLAN.network(name).stage == stage)


def networks_from(*kinds):
    """A wildcard constraint: the networks that others trained, of these kinds of sources."""
    jobs = {name: PLAN.network(name) for name in PLAN.networks}
    return alternatives(name for name, job in jobs.items() if isinstance(getattr(job.settings, "source", None), kinds))


def targets_from(*kinds):
    """A wildcard constraint: the targets from these kinds of sources."""
    return alternatives(name for name, entry in PLAN.config.targets.items() if isinstance(entry, kinds))


wildcard_constraints:
    target=alternatives(PLAN.config.targets),
    network=alternatives([*PLAN.networks, *PLAN.kept]),
    representation=alternatives([*PLAN.representations, *PLAN.stage_one, *PLAN.stage_one_published]),
    run=alternatives(PLAN.runs),
    table=alternatives(PLAN.config.tables),
    figure=alternatives(PLAN.config.figures),


# What a rule says of the job that makes its artifact. `kind`: the method of the plan, which takes the rule's wildcards.


def cards(kind):
    """The cards that the job reads, in order."""
    return lambda wildcards: [card_path(RESULTS, job) for job in getattr(PLAN, kind)(**wildcards).inputs]


def files(kind):
    """The large files beside them. A rule takes them as `ancient`: their readers check their content."""
    return lambda wildcards: [file for job in getattr(PLAN, kind)(**wildcards).inputs for file in read_with(job)]


def read_with(job):
    """The files that are read with a card."""
    splits = [f"{RESULTS}/{job.artifact}/{split}.h5" for split in SPLITS]
    match job.artifact.partition("/")[0]:
        case "representations":
            return splits + [file for features in job.inputs for file in read_with(features)]
        case "features":
            return splits
        case "records":
            return [f"{RESULTS}/{job.artifact}.h5".replace("/records/", "/logits/", 1)]
        case folder:
            suffix = {"targets": ".csv", "networks": ".safetensors", "finetuned": ".h5"}.get(folder)
            return [f"{RESULTS}/{job.artifact}{suffix}"] if suffix else []


def settings(kind):
    """The words of --settings and --inputs; a file in their place where a command line would get too long."""
    return lambda wildcards: " ".join(shlex.quote(word) for word in arguments(getattr(PLAN, kind)(**wildcards))[0])


def key(kind):
    return lambda wildcards: getattr(PLAN, kind)(**wildcards).key


def arguments(job):
    """The words of --settings and --inputs, and the files that these name, with their content."""
    inputs = [str(card_path(RESULTS, source)) for source in job.inputs]
    words = {"settings": [dump(job.settings)], "inputs": inputs}
    held = {}
    for name, values in words.items():
        if sum(map(len, values)) > LONGEST or "".join(values).startswith("@"):
            file = f"{RESULTS}/work/arguments/{job.key}.{name}.json"
            held[file] = values[0] if name == "settings" else json.dumps(values)
            words[name] = [f"@{file}"]
    return ["--settings", *words["settings"], "--inputs", *words["inputs"]], held


def write_arguments(needed):
    """Files of arguments of the jobs that make the needed files."""
    for job in PLAN.jobs:
        if str(card_path(RESULTS, job)) in needed:
            for file, text in arguments(job)[1].items():
                write_text(Path(file), text)


LONGEST = 30_000  # characters; Linux takes 131,071 for the whole command
PLACES = {
    "data_root": "--data-root {DATA}",
    "file": "--file={input.file:q}",
    "gpus": "--gpus {resources.gpu}",
    "keep": "--keep={output.network:q}",
}


def stage(name):
    """The shell command of a stage."""
    places = "".join(f" {PLACES[place]}" for place in STAGES[name].needs)
    return (
        f"{{PYTHON}} -m rrl.stages.{name} {{params.settings}} --key {{params.key}} --output {{output.card:q}}"
        f" --threads {{threads}}{places} 2> {{log:q}}"
    )
