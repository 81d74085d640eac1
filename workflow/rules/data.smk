# Data sets to manifests. Inputs: what config names under datasets.<name>.source. Outputs: results/<name>/manifest/.
# Everything behind this file knows a data set by its manifest alone.


rule synthesize:
    output:
        directory(f"{RESULTS}/frames/{{dataset}}"),
    log:
        f"{LOGS}/synthesize/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/synthesize/{{dataset}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: 4
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["synthesize"],
        flags=synthesize_flags,
    shell:
        "arseg synthesize --output {output:q} {params.flags} --workers {threads} > {log:q} 2>&1"


rule write_manifest:
    input:
        unpack(manifest_source),
    output:
        manifest=f"{RESULTS}/manifest/{{dataset}}.csv",
        classes=f"{RESULTS}/manifest/{{dataset}}.classes.csv",
    log:
        f"{LOGS}/write_manifest/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/write_manifest/{{dataset}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["manifest"],
        files=files_digest,
        kind_and_flags=manifest_command,
    shell:
        "arseg manifest {params.kind_and_flags} --dataset {wildcards.dataset}"
        " --output {output.manifest:q} > {log:q} 2>&1"
