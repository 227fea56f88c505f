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
        file=alternatives(file for entry in checkpoints().values() for file in entry.files),
    shell:
        "{PYTHON} -m rrl.stages.download --file {wildcards.file:q} --checkpoints {CHECKPOINTS:q} 2> {log:q}"


def file_of_network(wildcards):
    return PLAN.file(wildcards.network) or []


rule import_network:
    input:
        cards=cards("network"),
        file=ancient(file_of_network),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/import_network/{network}.log",
    wildcard_constraints:
        network=networks_from(CheckpointFile, UserFile),
    threads: 1
    params:
        settings=settings("network"),
        key=key("network"),
    shell:
        stage("import_network")


# Published weights of timm and torchvision: the library keeps what it downloads in its own cache.
use rule import_network as library_network with:
    wildcard_constraints:
        network=networks_from(LibraryModel),


rule pretrain:
    input:
        cards=cards("network"),
        files=ancient(files("network")),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/pretrain/{network}.log",
    wildcard_constraints:
        network=networks_by("pretrain"),
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN.gpus(wildcards.network),
    params:
        settings=settings("network"),
        key=key("network"),
    shell:
        stage("pretrain")


rule random_network:
    input:
        cards=cards("network"),
        files=ancient(files("network")),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/random_network/{network}.log",
    wildcard_constraints:
        network=networks_by("random_network"),
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("network"),
        key=key("network"),
    shell:
        stage("random_network")


# A student of several teachers: what they say of an image is made of their cached features and their heads.
rule distill:
    input:
        cards=cards("network"),
        files=ancient(files("network")),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/distill/{network}.log",
    wildcard_constraints:
        network=networks_by("distill"),
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN.gpus(wildcards.network),
    params:
        settings=settings("network"),
        key=key("network"),
    shell:
        stage("distill")
