rule target:
    output:
        card=RESULTS + "/targets/{target}.json",
        index=RESULTS + "/targets/{target}.csv",
    log:
        RESULTS + "/logs/target/{target}.log",
    params:
        settings=planned("target"),
        code_version=code_version("target"),
    shell:
        "{PYTHON} -m rrl.target {params.settings}"
        " --input-keys --code-version {params.code_version}"
        " --name {wildcards.target} --data-root {DATA} --output {output.card} 2> {log}"
