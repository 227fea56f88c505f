localrules:
    collect,
    table,
    figure,


rule collect:
    input:
        cards=cards("collection"),
    output:
        csv=RESULTS + "/records.csv",
        card=RESULTS + "/records.json",
    log:
        RESULTS + "/logs/collect/records.log",
    threads: 1
    params:
        settings=settings("collection"),
        key=key("collection"),
    shell:
        stage("collect")


rule table:
    input:
        cards=cards("table"),
    output:
        csv=report(
            RESULTS + "/{table}.csv", caption="../report/table.rst", category="Tables", labels={"table": "{table}"}
        ),
        markdown=RESULTS + "/{table}.md",
        latex=RESULTS + "/{table}.tex",
        card=RESULTS + "/{table}.json",
    log:
        RESULTS + "/logs/table/{table}.log",
    threads: 1
    params:
        settings=settings("table"),
        key=key("table"),
    shell:
        stage("table")


def compared_logits(wildcards):
    """Logits of the records that a figure compares image by image."""
    return files("figure")(wildcards) if PLAN.config.figures[wildcards.figure].kind == "gains" else []


rule figure:
    input:
        cards=cards("figure"),
        files=ancient(compared_logits),
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
    threads: 1
    params:
        settings=settings("figure"),
        key=key("figure"),
    shell:
        stage("figure")
