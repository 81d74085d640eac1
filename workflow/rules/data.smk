# Data sets to manifests. Inputs: what config names under datasets.<name>.source; what a kind needs before, its own rules
# make. Outputs: results/<name>/{labels,manifest}/.
# Everything after this file knows a data set by its manifest alone.


rule convert_labels:
    input:
        unpack(sources.ask("color_labels")),
    output:
        directory(f"{experiment.results}/labels/{{dataset}}"),
    log:
        f"{experiment.logs}/convert_labels/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/convert_labels/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=sources.with_color_labels(),
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        stage=STAGES["labels"],
        files=sources.digest,
        unknown=sources.ask("unknown_colors"),
    shell:
        "arseg labels {input.source:q}"
        " --classes {input.classes:q}"
        " --unknown {params.unknown}"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule write_manifest:
    input:
        unpack(sources.ask("manifest_inputs")),
    output:
        manifest=f"{experiment.results}/manifest/{{dataset}}.csv",
        classes=f"{experiment.results}/manifest/{{dataset}}.classes.csv",
    log:
        f"{experiment.logs}/write_manifest/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/write_manifest/{{dataset}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["manifest"],
        files=sources.digest,
        kind_and_source=sources.ask("manifest_words"),
    shell:
        "arseg manifest {params.kind_and_source:q}"
        " --dataset {wildcards.dataset}"
        " --output {output.manifest:q}"
        " > {log:q} 2>&1"
