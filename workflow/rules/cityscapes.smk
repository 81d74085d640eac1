# Cityscapes: the user's folder, or packages downloaded with the user's login, to train-id labels.
# Outputs: resources/<dataset>/{download,data,labels}/, resources/<dataset>/verified.json
#
# CITYSCAPES_USERNAME and CITYSCAPES_PASSWORD are read from the environment by the command alone. They stand in no rule,
# so that they reach no log and no metadata.
from arseg.datasets.cityscapes.kind import PACKAGES


rule download_cityscapes:
    output:
        "resources/{dataset}/download/{package}.zip",
    log:
        f"{experiment.logs}/download_cityscapes/{{dataset}}/{{package}}.log",
    benchmark:
        f"{experiment.benchmarks}/download_cityscapes/{{dataset}}/{{package}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("cityscapes"),
        package="|".join(PACKAGES),
    retries: 2
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["download"],
    shell:
        "arseg cityscapes download {wildcards.package}.zip"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule unpack_cityscapes:
    input:
        expand(
            "resources/{{dataset}}/download/{package}.zip",
            package=PACKAGES,
        ),
    output:
        directory("resources/{dataset}/data"),
    log:
        f"{experiment.logs}/unpack_cityscapes/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/unpack_cityscapes/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("cityscapes"),
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["cityscapes"],
    shell:
        "arseg cityscapes unpack {input:q} --output {output:q} > {log:q} 2>&1"


rule label_cityscapes:
    input:
        sources.ask("data"),
    output:
        directory("resources/{dataset}/labels"),
    log:
        f"{experiment.logs}/label_cityscapes/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/label_cityscapes/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("cityscapes"),
    conda:
        "../../envs/arseg.yaml"
    threads: 4
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        stage=STAGES["cityscapes"],
        files=sources.digest,
    shell:
        "arseg cityscapes labels"
        " --root {input:q}"
        " --workers {threads}"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule verify_cityscapes:
    input:
        root=sources.ask("data"),
        labels=rules.label_cityscapes.output,
    output:
        "resources/{dataset}/verified.json",
    log:
        f"{experiment.logs}/verify_cityscapes/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/verify_cityscapes/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("cityscapes"),
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        stage=STAGES["cityscapes"],
        files=sources.digest,
        gop=max(experiment.config.gops),
    shell:
        "arseg cityscapes verify"
        " --root {input.root:q}"
        " --labels {input.labels:q}"
        " --gop {params.gop}"
        " --output {output:q}"
        " > {log:q} 2>&1"
