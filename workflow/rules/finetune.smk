def representation_of_run(wildcards):
    return PLAN.runs[wildcards.run].representation


# One setting: {run} names representation, target, selection rule and the numbers.
rule finetune:
    input:
        target=cards("finetuned", "targets/"),
        networks=cards("finetuned", "networks/"),
        index=ancient(files("finetuned", "targets/", ".csv")),
        weights=ancient(files("finetuned", "networks/", ".safetensors")),
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
        settings=planned("finetuned"),
        input_keys=input_keys("finetuned"),
        code_version=code_version("finetune"),
        representation=representation_of_run,
    shell:
        "{PYTHON} -m rrl.stages.finetune --target {input.target:q} --networks {input.networks:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --representation {params.representation:q} --data-root {DATA} --threads {threads} --gpus {resources.gpu}"
        " --logits {output.logits:q} --keep {output.network:q} --output {output.card:q} 2> {log:q}"


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


rule merge:
    input:
        runs=cards("record", transfer="finetune"),
        logits=ancient(files("record", "finetuned/", ".h5", transfer="finetune")),
    output:
        record=RESULTS + "/records/{target}/{representation}/finetune.json",
        run=RESULTS + "/records/{target}/{representation}/finetune.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/finetune.h5",
    log:
        RESULTS + "/logs/merge/{target}/{representation}.log",
    params:
        input_keys=input_keys("record", transfer="finetune"),
        code_version=code_version("merge"),
    shell:
        "{PYTHON} -m rrl.stages.merge --runs {input.runs:q}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --logits {output.logits:q} --output {output.record:q} 2> {log:q}"


# The mean logits of networks fine-tuned separately: rule ensemble on other records.
use rule ensemble as ensemble_finetune with:
    input:
        records=cards("record", transfer="ensemble_finetune"),
        logits=ancient(logits("record", transfer="ensemble_finetune")),
    output:
        record=RESULTS + "/records/{target}/{representation}/ensemble_finetune.json",
        run=RESULTS + "/records/{target}/{representation}/ensemble_finetune.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/ensemble_finetune.h5",
    log:
        RESULTS + "/logs/ensemble_finetune/{target}/{representation}.log",
    params:
        input_keys=input_keys("record", transfer="ensemble_finetune"),
        code_version=code_version("ensemble"),
