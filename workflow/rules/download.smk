localrules:
    download,
    library_network,


# A file that is there is used as it is: Snakemake plans no download for it, and `update` keeps it from being deleted.
rule download:
    output:
        update(CHECKPOINTS + "/{file}"),
    log:
        RESULTS + "/logs/download/{file}.log",
    wildcard_constraints:
        file=alternatives(file for of in checkpoints().values() for file in of.files),
    shell:
        "{PYTHON} -m rrl.stages.download --file {wildcards.file:q} --checkpoints {CHECKPOINTS:q} 2> {log:q}"


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
        "{PYTHON} -m rrl.stages.convert {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network:q} --checkpoints {CHECKPOINTS:q} --output {output.card:q} 2> {log:q}"


def file_of_user(wildcards):
    family, seed = PLAN.networks[wildcards.network]
    return PLAN.config.networks[family].files[seed].path


rule user_network:
    input:
        file=ancient(file_of_user),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/user_network/{network}.log",
    wildcard_constraints:
        network=networks_of("user"),
    threads: 1
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("user_network"),
    shell:
        "{PYTHON} -m rrl.stages.user_network {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network:q} --file {input.file:q} --output {output.card:q} 2> {log:q}"


# Published weights of timm and torchvision: the library keeps what it downloads in its own cache.
rule library_network:
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/library_network/{network}.log",
    wildcard_constraints:
        network=networks_of("library"),
    threads: 1
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("library_network"),
    shell:
        "{PYTHON} -m rrl.stages.library_network {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network:q} --output {output.card:q} 2> {log:q}"
