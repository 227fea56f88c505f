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
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("pretrain"),
    shell:
        "{PYTHON} -m rrl.pretrain --target {input.target} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network} --data-root {DATA} --threads {threads} --output {output.card} 2> {log}"


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
    params:
        settings=planned("network"),
        input_keys=input_keys("network"),
        code_version=code_version("random_network"),
    shell:
        "{PYTHON} -m rrl.random_network --target {input.target} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.network} --data-root {DATA} --threads {threads} --output {output.card} 2> {log}"
