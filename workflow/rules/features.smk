localrules:
    represent,


# A small card stands for each large file: the file itself is `ancient`, its content is checked by its reader.
rule extract:
    input:
        cards=cards("features"),
        files=ancient(files("features")),
    output:
        card=RESULTS + "/features/{target}/{network}.json",
        features=expand(RESULTS + "/features/{{target}}/{{network}}/{split}.h5", split=SPLITS),
    log:
        RESULTS + "/logs/extract/{target}/{network}.log",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("features"),
        key=key("features"),
    shell:
        stage("extract")


# CAT: features of several networks side by side.
rule represent:
    input:
        cards=cards("representation"),
        files=ancient(files("representation")),
    output:
        card=RESULTS + "/representations/{target}/{representation}.json",
        virtual=expand(RESULTS + "/representations/{{target}}/{{representation}}/{split}.h5", split=SPLITS),
    log:
        RESULTS + "/logs/represent/{target}/{representation}.log",
    threads: 1
    params:
        settings=settings("representation"),
        key=key("representation"),
    shell:
        stage("represent")


rule similarity:
    input:
        cards=cards("similarity"),
        files=ancient(files("similarity")),
    output:
        card=RESULTS + "/similarities/{target}/{figure}.json",
    log:
        RESULTS + "/logs/similarity/{target}/{figure}.log",
    threads: 1
    params:
        settings=settings("similarity"),
        key=key("similarity"),
    shell:
        stage("similarity")
