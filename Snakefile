# Run with a config, or none for the paper (config.yaml):
#   snakemake --cores all --configfile workflow/config/demo.yaml
if "networks" not in config:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/target.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/tables.smk"


ruleorder: finetune_kept > finetune


# Records and similarities too: a table or figure that is newer than a deleted one would hide that it is gone.
rule all:
    default_target: True
    input:
        expand(RESULTS + "/{table}.{suffix}", table=PLAN.config.tables, suffix=["csv", "md", "tex"]),
        expand(RESULTS + "/figures/{figure}.{suffix}", figure=PLAN.config.figures, suffix=["svg", "png"]),
        RESULTS + "/records.csv",
        [f"{RESULTS}/{job.artifact}.json" for job in [*PLAN.collection().inputs, *PLAN.similarities]],
