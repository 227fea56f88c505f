rule similarity:
    input:
        features=cards("similarity"),
        test=ancient(files("similarity", "features/", "/test.h5")),
    output:
        card=RESULTS + "/similarities/{target}/{figure}.json",
    log:
        RESULTS + "/logs/similarity/{target}/{figure}.log",
    threads: 1
    params:
        settings=planned("similarity"),
        input_keys=input_keys("similarity"),
        code_version=code_version("similarity"),
    shell:
        "{PYTHON} -m rrl.stages.similarity --features {input.features:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --threads {threads} --output {output.card:q} 2> {log:q}"
