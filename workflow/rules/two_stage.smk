def stage_one_features(wildcards):
    """Features of the fine-tuned networks, and the virtual files that join them."""
    record = PLAN.record(wildcards.target, wildcards.representation, "two_stage")
    joined = [job for job in record.inputs if job.artifact.startswith("representations/")]
    alone = [features for job in joined for features in job.inputs]
    return [f"{RESULTS}/{job.artifact}/{split}.h5" for job in joined + alone for split in SPLITS]


rule two_stage:
    input:
        representations=cards("record", "representations/", transfer="two_stage"),
        networks=cards("record", "networks/", transfer="two_stage"),
        weights=ancient(files("record", "networks/", ".safetensors", transfer="two_stage")),
        features=ancient(stage_one_features),
    output:
        record=RESULTS + "/records/{target}/{representation}/two_stage.json",
        run=RESULTS + "/records/{target}/{representation}/two_stage.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/two_stage.h5",
    log:
        RESULTS + "/logs/two_stage/{target}/{representation}.log",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=planned("record", transfer="two_stage"),
        input_keys=input_keys("record", transfer="two_stage"),
        code_version=code_version("two_stage"),
    shell:
        "{PYTHON} -m rrl.stages.two_stage --representations {input.representations:q} --networks {input.networks:q}"
        " {params.settings} --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.representation:q} --threads {threads}"
        " --logits {output.logits:q} --output {output.record:q} 2> {log:q}"


rule averaged_head:
    input:
        representations=cards("record", "representations/", transfer="averaged_head"),
        networks=cards("record", "networks/", transfer="averaged_head"),
        weights=ancient(files("record", "networks/", ".safetensors", transfer="averaged_head")),
        features=ancient(stage_one_features),
    output:
        record=RESULTS + "/records/{target}/{representation}/averaged_head.json",
        run=RESULTS + "/records/{target}/{representation}/averaged_head.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/averaged_head.h5",
    log:
        RESULTS + "/logs/averaged_head/{target}/{representation}.log",
    params:
        settings=planned("record", transfer="averaged_head"),
        input_keys=input_keys("record", transfer="averaged_head"),
        code_version=code_version("averaged_head"),
    shell:
        "{PYTHON} -m rrl.stages.averaged_head --representations {input.representations:q} --networks {input.networks:q}"
        " {params.settings} --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.representation:q} --threads {threads} --logits {output.logits:q}"
        " --output {output.record:q} 2> {log:q}"
