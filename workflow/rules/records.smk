# Records: one transfer of one representation to one target each.
rule probe:
    input:
        cards=cards("record"),
        files=ancient(files("record")),
    output:
        card=RESULTS + "/records/{target}/{representation}/{transfer}.json",
        run=RESULTS + "/records/{target}/{representation}/{transfer}.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/{transfer}.h5",
    log:
        RESULTS + "/logs/{transfer}/{target}/{representation}.log",
    wildcard_constraints:
        transfer="linear_probe",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("record"),
        key=key("record"),
    shell:
        stage("probe")


# Mean logits of heads, or of whole networks, that were trained separately.
rule ensemble:
    input:
        cards=cards("record"),
        files=ancient(files("record")),
    output:
        card=RESULTS + "/records/{target}/{representation}/{transfer}.json",
        run=RESULTS + "/records/{target}/{representation}/{transfer}.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/{transfer}.h5",
    log:
        RESULTS + "/logs/{transfer}/{target}/{representation}.log",
    wildcard_constraints:
        transfer="ensemble|ensemble_finetune",
    threads: 1
    params:
        settings=settings("record"),
        key=key("record"),
    shell:
        stage("ensemble")


rule two_stage:
    input:
        cards=cards("record"),
        files=ancient(files("record")),
    output:
        card=RESULTS + "/records/{target}/{representation}/{transfer}.json",
        run=RESULTS + "/records/{target}/{representation}/{transfer}.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/{transfer}.h5",
    log:
        RESULTS + "/logs/{transfer}/{target}/{representation}.log",
    wildcard_constraints:
        transfer="two_stage",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("record"),
        key=key("record"),
    shell:
        stage("two_stage")


rule averaged_head:
    input:
        cards=cards("record"),
        files=ancient(files("record")),
    output:
        card=RESULTS + "/records/{target}/{representation}/{transfer}.json",
        run=RESULTS + "/records/{target}/{representation}/{transfer}.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/{transfer}.h5",
    log:
        RESULTS + "/logs/{transfer}/{target}/{representation}.log",
    wildcard_constraints:
        transfer="averaged_head",
    threads: 1
    params:
        settings=settings("record"),
        key=key("record"),
    shell:
        stage("averaged_head")


# All settings of fine-tuning as one record.
rule merge:
    input:
        cards=cards("record"),
        files=ancient(files("record")),
    output:
        card=RESULTS + "/records/{target}/{representation}/{transfer}.json",
        run=RESULTS + "/records/{target}/{representation}/{transfer}.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/{transfer}.h5",
    log:
        RESULTS + "/logs/{transfer}/{target}/{representation}.log",
    wildcard_constraints:
        transfer="finetune",
    threads: 1
    params:
        settings=settings("record"),
        key=key("record"),
    shell:
        stage("merge")


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
