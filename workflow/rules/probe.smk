rule probe:
    input:
        representation=cards("record", transfer="linear_probe"),
        virtual=ancient(expand(RESULTS + "/representations/{{target}}/{{representation}}/{split}.h5", split=SPLITS)),
        features=ancient(member_features),
    output:
        record=RESULTS + "/records/{target}/{representation}/linear_probe.json",
        run=RESULTS + "/records/{target}/{representation}/linear_probe.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/linear_probe.h5",
    log:
        RESULTS + "/logs/probe/{target}/{representation}.log",
    wildcard_constraints:
        target=alternatives([name for name in PLAN.config.targets if name not in PLAN.by_lbfgs]),
        representation=alternatives([name for name in PLAN.representations if name not in PLAN.searched]),
    threads: 1
    resources:
        gpu=1,
    params:
        settings=planned("record", transfer="linear_probe"),
        input_keys=input_keys("record", transfer="linear_probe"),
        code_version=code_version("probe"),
    shell:
        "{PYTHON} -m rrl.stages.probe --representation {input.representation:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --threads {threads} --logits {output.logits:q} --output {output.record:q} 2> {log:q}"


# The same by L-BFGS, on targets whose probe has a solver.
rule lbfgs_probe:
    input:
        representation=cards("record", transfer="linear_probe"),
        virtual=ancient(expand(RESULTS + "/representations/{{target}}/{{representation}}/{split}.h5", split=SPLITS)),
        features=ancient(member_features),
    output:
        record=RESULTS + "/records/{target}/{representation}/linear_probe.json",
        run=RESULTS + "/records/{target}/{representation}/linear_probe.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/linear_probe.h5",
    log:
        RESULTS + "/logs/lbfgs_probe/{target}/{representation}.log",
    wildcard_constraints:
        target=alternatives(PLAN.by_lbfgs),
        representation=alternatives([name for name in PLAN.representations if name not in PLAN.searched]),
    threads: 1
    resources:
        gpu=1,
    params:
        settings=planned("record", transfer="linear_probe"),
        input_keys=input_keys("record", transfer="linear_probe"),
        code_version=code_version("lbfgs_probe"),
    shell:
        "{PYTHON} -m rrl.stages.lbfgs_probe --representation {input.representation:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --threads {threads} --logits {output.logits:q} --output {output.record:q} 2> {log:q}"


# A search for the members to concatenate, in place of one probe.
rule best_subset:
    input:
        representation=cards("record", transfer="linear_probe"),
        virtual=ancient(expand(RESULTS + "/representations/{{target}}/{{representation}}/{split}.h5", split=SPLITS)),
        features=ancient(member_features),
    output:
        record=RESULTS + "/records/{target}/{representation}/linear_probe.json",
        run=RESULTS + "/records/{target}/{representation}/linear_probe.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/linear_probe.h5",
    log:
        RESULTS + "/logs/best_subset/{target}/{representation}.log",
    wildcard_constraints:
        target=alternatives([name for name in PLAN.config.targets if name not in PLAN.by_lbfgs]),
        representation=alternatives(PLAN.searched),
    threads: 1
    resources:
        gpu=1,
    params:
        settings=planned("record", transfer="linear_probe"),
        input_keys=input_keys("record", transfer="linear_probe"),
        code_version=code_version("best_subset"),
    shell:
        "{PYTHON} -m rrl.stages.best_subset --representation {input.representation:q} {params.settings}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --threads {threads} --logits {output.logits:q} --output {output.record:q} 2> {log:q}"


rule ensemble:
    input:
        records=cards("record", transfer="ensemble"),
        logits=ancient(logits("record", transfer="ensemble")),
    output:
        record=RESULTS + "/records/{target}/{representation}/ensemble.json",
        run=RESULTS + "/records/{target}/{representation}/ensemble.run.json",
        logits=RESULTS + "/logits/{target}/{representation}/ensemble.h5",
    log:
        RESULTS + "/logs/ensemble/{target}/{representation}.log",
    params:
        input_keys=input_keys("record", transfer="ensemble"),
        code_version=code_version("ensemble"),
    shell:
        "{PYTHON} -m rrl.stages.ensemble --records {input.records:q}"
        " --input-keys {params.input_keys} --code-version {params.code_version}"
        " --name {wildcards.representation:q} --logits {output.logits:q} --output {output.record:q} 2> {log:q}"
