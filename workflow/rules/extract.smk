# A small card stands for each large file: the file itself is `ancient`, its content is checked by its reader.
rule extract:
    input:
        target=RESULTS + "/targets/{target}.json",
        network=RESULTS + "/networks/{network}.json",
        index=ancient(RESULTS + "/targets/{target}.csv"),
        weights=ancient(RESULTS + "/networks/{network}.safetensors"),
    output:
        card=RESULTS + "/features/{target}/{network}.json",
        features=expand(RESULTS + "/features/{{target}}/{{network}}/{split}.h5", split=SPLITS),
    log:
        RESULTS + "/logs/extract/{target}/{network}.log",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=planned("features"),
        input_keys=input_keys("features"),
        code_version=code_version("extract"),
    shell:
        "{PYTHON} -m rrl.stages.extract --target {input.target:q} --network {input.network:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --data-root {DATA} --threads {threads} --output {output.card:q} 2> {log:q}"
