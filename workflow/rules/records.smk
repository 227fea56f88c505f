def rule_of_records(name, kind):
    """Records: one transfer of one representation to one target each, by a rule for each stage that makes some."""

    rule:
        name:
            name
        input:
            cards=cards("record"),
            files=ancient(files("record")),
        output:
            card=RESULTS + "/records/{target}/{representation}/{transfer}.json",
            run=RESULTS + "/records/{target}/{representation}/{transfer}.run.json",
            logits=RESULTS + "/logits/{target}/{representation}/{transfer}.h5",
        log:
            f"{RESULTS}/logs/{name}/{{target}}/{{representation}}/{{transfer}}.log",
        wildcard_constraints:
            transfer=alternatives(kind.transfers),
        threads: 1
        resources:
            gpu=int(kind.gpu),
        params:
            settings=settings("record"),
            key=key("record"),
        shell:
            stage(name)  # again when a job runs, hence the function


for name, kind in STAGES.items():
    if kind.transfers:
        rule_of_records(name, kind)


# One setting: {run} names representation, target, selection rule and the numbers.
rule finetune:
    input:
        cards=cards("finetuned"),
        files=ancient(files("finetuned")),
    output:
        card=RESULTS + "/finetuned/{run}.json",
        run=RESULTS + "/finetuned/{run}.run.json",
        logits=RESULTS + "/finetuned/{run}.h5",
        network=[],
    log:
        RESULTS + "/logs/finetune/{run}.log",
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN.gpus_of_run(wildcards.run),
    params:
        settings=settings("finetuned"),
        key=key("finetuned"),
    shell:
        stage("finetune")


# The same where two-stage fine-tuning starts from the network: its weights are kept.
use rule finetune as finetune_kept with:
    output:
        card=RESULTS + "/finetuned/{run}.json",
        run=RESULTS + "/finetuned/{run}.run.json",
        logits=RESULTS + "/finetuned/{run}.h5",
        network=RESULTS + "/networks/{run}.json",
        weights=RESULTS + "/networks/{run}.safetensors",
    wildcard_constraints:
        run=alternatives(PLAN.kept),
