localrules:
    collect,
    table,
    figure,


rule collect:
    input:
        records=[f"{RESULTS}/{job.artifact}.json" for job in PLAN.collection().inputs],
    output:
        csv=RESULTS + "/records.csv",
        card=RESULTS + "/records.json",
    log:
        RESULTS + "/logs/collect/records.log",
    params:
        settings=planned("collection"),  # a function: in a string, Snakemake takes braces for wildcards
        input_keys=PLAN.collection().input_keys,
        code_version=code_version("collect"),
    shell:
        "{PYTHON} -m rrl.stages.collect --records {input.records:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --csv {output.csv:q} --output {output.card:q} 2> {log:q}"


rule table:
    input:
        records=cards("table"),
    output:
        csv=report(
            RESULTS + "/{table}.csv", caption="../report/table.rst", category="Tables", labels={"table": "{table}"}
        ),
        markdown=RESULTS + "/{table}.md",
        latex=RESULTS + "/{table}.tex",
        card=RESULTS + "/{table}.json",
    log:
        RESULTS + "/logs/table/{table}.log",
    params:
        settings=planned("table"),
        input_keys=input_keys("table"),
        code_version=code_version("table"),
    shell:
        "{PYTHON} -m rrl.stages.table --records {input.records:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --csv {output.csv:q} --output {output.card:q} 2> {log:q}"


def compared_logits(wildcards):
    """Of the records that a figure compares image by image."""
    gains = PLAN.config.figures[wildcards.figure].kind == "gains"
    return logits("figure")(wildcards) if gains else []


rule figure:
    input:
        records=cards("figure", "records/"),
        similarities=cards("figure", "similarities/"),
        logits=ancient(compared_logits),
    output:
        svg=report(
            RESULTS + "/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png=RESULTS + "/figures/{figure}.png",
        card=RESULTS + "/figures/{figure}.json",
    log:
        RESULTS + "/logs/figure/{figure}.log",
    params:
        settings=planned("figure"),
        input_keys=input_keys("figure"),
        code_version=code_version("figure"),
    shell:
        "{PYTHON} -m rrl.stages.figure --records {input.records:q} --similarities {input.similarities:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --svg {output.svg:q} --output {output.card:q} 2> {log:q}"
