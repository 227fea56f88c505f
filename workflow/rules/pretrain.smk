rule pretrain:
    input:
        target=cards("network"),
        index=ancient(files("network", "targets/", ".csv")),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/pretrain/{network}.log",
    wildcard_constraints:
        network=networks_of("pretrain"),
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN.gpus(wildcards.network),
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("pretrain"),
    shell:
        "{PYTHON} -m rrl.stages.pretrain --target {input.target:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network:q} --data-root {DATA} --threads {threads} --gpus {resources.gpu}"
        " --output {output.card:q} 2> {log:q}"


rule random_network:
    input:
        target=cards("network"),
        index=ancient(files("network", "targets/", ".csv")),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/random_network/{network}.log",
    wildcard_constraints:
        network=networks_of("random"),
    threads: 1
    resources:
        gpu=1,
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("random_network"),
    shell:
        "{PYTHON} -m rrl.stages.random_network --target {input.target:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network:q} --data-root {DATA} --threads {threads} --output {output.card:q} 2> {log:q}"


# A student of several teachers: what they say of an image is made of their cached features and their heads.
rule distill:
    input:
        target=cards("network", "targets/"),
        features=cards("network", "features/"),
        networks=cards("network", "networks/"),
        index=ancient(files("network", "targets/", ".csv")),
        train=ancient(files("network", "features/", "/train.h5")),
        weights=ancient(files("network", "networks/", ".safetensors")),
    output:
        card=RESULTS + "/networks/{network}.json",
        weights=RESULTS + "/networks/{network}.safetensors",
    log:
        RESULTS + "/logs/distill/{network}.log",
    wildcard_constraints:
        network=networks_of("distill"),
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN.gpus(wildcards.network),
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("distill"),
    shell:
        "{PYTHON} -m rrl.stages.distill --target {input.target:q} --features {input.features:q} --networks {input.networks:q}"
        " {params.settings} --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network:q} --data-root {DATA} --threads {threads} --gpus {resources.gpu}"
        " --output {output.card:q} 2> {log:q}"
