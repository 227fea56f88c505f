localrules:
    download,


# A file that is there is used as it is: Snakemake plans no download for it, and `update` keeps it from being deleted.
rule download:
    output:
        update(CHECKPOINTS + "/{file}"),
    log:
        RESULTS + "/logs/download/{file}.log",
    wildcard_constraints:
        file=alternatives(file for of in checkpoints().values() for file in of.files),
    shell:
        "{PYTHON} -m rrl.download --file {wildcards.file:q} --checkpoints {CHECKPOINTS:q} 2> {log:q}"


def checkpoint_of_network(wildcards):
    return f"{CHECKPOINTS}/{PLAN.network(wildcards.network).settings['file']}"


rule convert:
    input:
        checkpoint=ancient(checkpoint_of_network),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/convert/{network}.log",
    wildcard_constraints:
        network=networks_of("download"),
    threads: 1
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("convert"),
    shell:
        "{PYTHON} -m rrl.convert {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network} --checkpoints {CHECKPOINTS:q} --output {output.card} 2> {log}"
