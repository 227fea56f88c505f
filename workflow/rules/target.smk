# Data are fetched, or only listed: no work for a node of a cluster, which may have no way to the internet.
localrules:
    target,


rule target:
    input:
        cards=cards("target"),
        files=ancient(files("target")),
    output:
        card=RESULTS + "/targets/{target}.json",
        index=RESULTS + "/targets/{target}.csv",
    log:
        RESULTS + "/logs/target/{target}.log",
    wildcard_constraints:
        target=targets_from(DemoSource, PaperSource),
    threads: 1
    params:
        settings=settings("target"),
        key=key("target"),
    shell:
        stage("target")


# Images of one's own: each is looked at once, before anything is computed.
use rule target as image_target with:
    wildcard_constraints:
        target=targets_from(ImageSource),
    threads: 1
