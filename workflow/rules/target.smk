# Data are fetched, or only listed: no work for a node of a cluster, which may have no way to the internet.
localrules:
    target,
    paper_target,


rule target:
    output:
        card=RESULTS + "/targets/{target}.json",
        index=RESULTS + "/targets/{target}.csv",
    log:
        RESULTS + "/logs/target/{target}.log",
    wildcard_constraints:
        target=targets_of(Target),
    params:
        settings=planned("target"),
        code_version=code_version("target"),
    shell:
        "{PYTHON} -m rrl.stages.target {params.settings}"
        " --input-keys --code-version {params.code_version}"
        " --name {wildcards.target:q} --data-root {DATA} --output {output.card:q} 2> {log:q}"


# The user's own images: each is looked at once, before anything is computed.
rule image_target:
    output:
        card=RESULTS + "/targets/{target}.json",
        index=RESULTS + "/targets/{target}.csv",
    log:
        RESULTS + "/logs/image_target/{target}.log",
    wildcard_constraints:
        target=targets_of(ImageTarget),
    threads: 1
    params:
        settings=planned("target"),
        code_version=code_version("image_target"),
    shell:
        "{PYTHON} -m rrl.stages.image_target {params.settings}"
        " --input-keys --code-version {params.code_version}"
        " --name {wildcards.target:q} --data-root {DATA} --threads {threads} --output {output.card:q} 2> {log:q}"


# A data set of the paper, as it is published.
rule paper_target:
    output:
        card=RESULTS + "/targets/{target}.json",
        index=RESULTS + "/targets/{target}.csv",
    log:
        RESULTS + "/logs/paper_target/{target}.log",
    wildcard_constraints:
        target=targets_of(PaperTarget),
    threads: 1
    params:
        settings=planned("target"),
        code_version=code_version("paper_target"),
    shell:
        "{PYTHON} -m rrl.stages.paper_target {params.settings}"
        " --input-keys --code-version {params.code_version}"
        " --name {wildcards.target:q} --data-root {DATA} --threads {threads} --output {output.card:q} 2> {log:q}"
