def member_features(wildcards):
    """The files of features behind a representation."""
    job = PLAN.representation(wildcards.target, wildcards.representation)
    return [f"{RESULTS}/{features.artifact}/{split}.h5" for features in job.inputs for split in SPLITS]


localrules:
    represent,


rule represent:
    input:
        cards=cards("representation"),
        features=ancient(member_features),
    output:
        card=RESULTS + "/representations/{target}/{representation}.json",
        virtual=expand(RESULTS + "/representations/{{target}}/{{representation}}/{split}.h5", split=SPLITS),
    log:
        RESULTS + "/logs/represent/{target}/{representation}.log",
    params:
        settings=planned("representation"),
        input_keys=input_keys("representation"),
        code_version=code_version("represent"),
    shell:
        "{PYTHON} -m rrl.stages.represent --features {input.cards:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.representation:q} --output {output.card:q} 2> {log:q}"
